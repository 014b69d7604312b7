/** Contents of a container's /etc/hosts, as Docker writes it. */

const DEFAULTS = `127.0.0.1\tlocalhost
::1\tlocalhost ip6-localhost ip6-loopback
fe00::\tip6-localnet
ff00::\tip6-mcastprefix
ff02::1\tip6-allnodes
ff02::2\tip6-allrouters
`;

/** One line: an address and its names. */
export type HostsEntry = { readonly ip: string; readonly names: readonly string[] };

/** `name:address` of ExtraHosts (`name=address` too, as newer clients send it), or undefined. */
export function parseExtraHost(text: string): { name: string; address: string } | undefined {
  const m = /^([^:=]+)[:=](.+)$/.exec(text);
  if (m?.[1] === undefined || m[2] === undefined) return undefined;
  return { name: m[1], address: m[2].replace(/^\[(.*)\]$/, '$1') };
}

/** The file: localhost, what the user added, links, then the container's own names. */
export function hostsFile(entries: readonly HostsEntry[]): string {
  return DEFAULTS + entries.map(({ ip, names }) => `${ip}\t${names.join(' ')}\n`).join('');
}

/** The host's own file with the user's lines behind it, for containers in the host's network. */
export function hostsFileOfHost(hostFile: string, entries: readonly HostsEntry[]): string {
  const base = hostFile === '' || hostFile.endsWith('\n') ? hostFile : `${hostFile}\n`;
  return base + entries.map(({ ip, names }) => `${ip}\t${names.join(' ')}\n`).join('');
}

/** The container's own names: `web.example.org web`. */
export function ownNames(hostname: string, domainname: string): string[] {
  if (domainname !== '') return [`${hostname}.${domainname}`, hostname];
  const dot = hostname.indexOf('.');
  return dot > 0 ? [hostname, hostname.slice(0, dot)] : [hostname];
}
