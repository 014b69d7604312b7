import { isLoopback, parseIp } from '../base/ip.ts';

/** resolv.conf(5): the host's is read, a container's is made from it. */
export type ResolvConf = {
  readonly nameservers: readonly string[];
  readonly search: readonly string[];
  readonly options: readonly string[];
};

/** The address that the embedded DNS server answers on, inside each container. */
export const EMBEDDED_DNS = '127.0.0.11';

/** What Docker falls back to when the host names no server that a container can reach. */
const PUBLIC_NAMESERVERS = ['8.8.8.8', '8.8.4.4'];

/** Reads a resolv.conf; what it does not know is left out. The last `search` or `domain` counts. */
export function parseResolvConf(text: string): ResolvConf {
  const nameservers: string[] = [];
  let search: string[] = [];
  const options: string[] = [];
  for (const line of text.split('\n')) {
    const [word, ...rest] = line
      .replace(/[#;].*$/, '')
      .trim()
      .split(/\s+/);
    if (word === 'nameserver' && rest[0] !== undefined) {
      if (parseIp(rest[0].replace(/%.*$/, '')) !== undefined) nameservers.push(rest[0]);
    } else if (word === 'search') search = rest;
    else if (word === 'domain') search = rest.slice(0, 1);
    else if (word === 'options') options.push(...rest);
  }
  return { nameservers, search, options };
}

/** True when every nameserver is on the host's loopback, as with systemd-resolved or dnsmasq. */
export function onlyLoopback({ nameservers }: ResolvConf): boolean {
  return nameservers.length > 0 && nameservers.every(isLoopbackServer);
}

export function isLoopbackServer(server: string): boolean {
  const ip = parseIp(server);
  return ip !== undefined && isLoopback(ip);
}

/** What `--dns`, `--dns-search` and `--dns-option` ask for; an empty list leaves the host's. */
export type DnsWishes = {
  readonly dns: readonly string[];
  readonly dnsSearch: readonly string[];
  readonly dnsOptions: readonly string[];
};

/** The host's settings with the user's in their place. A search list of `.` is an empty one. */
export function withWishes(host: ResolvConf, wishes: DnsWishes): ResolvConf {
  const search = wishes.dnsSearch.length > 0 ? wishes.dnsSearch : host.search;
  return {
    nameservers: wishes.dns.length > 0 ? wishes.dns : host.nameservers,
    search: search.length === 1 && search[0] === '.' ? [] : search,
    options: wishes.dnsOptions.length > 0 ? wishes.dnsOptions : host.options,
  };
}

/** Servers that a container on the default bridge can reach: none on the host's loopback. */
export function forBridge(conf: ResolvConf): ResolvConf {
  const nameservers = conf.nameservers.filter((server) => !isLoopbackServer(server));
  return { ...conf, nameservers: nameservers.length > 0 ? nameservers : PUBLIC_NAMESERVERS };
}

/** For a container that asks the embedded server. `ndots:0`: names of containers have no dots. */
export function forEmbeddedDns(conf: ResolvConf): ResolvConf {
  const ndots = conf.options.some((option) => option.startsWith('ndots:'));
  return {
    ...conf,
    nameservers: [EMBEDDED_DNS],
    options: ndots ? conf.options : [...conf.options, 'ndots:0'],
  };
}

export function formatResolvConf({ nameservers, search, options }: ResolvConf): string {
  let text = '';
  if (search.length > 0) text += `search ${search.join(' ')}\n`;
  for (const server of nameservers) text += `nameserver ${server}\n`;
  if (options.length > 0) text += `options ${options.join(' ')}\n`;
  return text;
}
