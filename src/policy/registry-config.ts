import { invalidArgument } from '../base/errors.ts';

/**
 * Which URLs stand for a registry's name, whether they are trusted without TLS, and which proxy
 * leads there. Values in, values out.
 */

/** How to reach registries; a part of the daemon's configuration. */
export type RegistryConfig = {
  /** `host[:port]` or CIDR. */
  readonly insecureRegistries: readonly string[];
  /** URLs, tried in order before docker.io. */
  readonly registryMirrors: readonly string[];
  readonly httpProxy: string;
  readonly httpsProxy: string;
  /** Comma-separated, as `NO_PROXY`. */
  readonly noProxy: string;
};

/** One way to reach a registry. */
export type Endpoint = {
  /** Without a path beyond what a mirror has; no slash at the end. */
  readonly url: string;
  /** False: any certificate is taken. */
  readonly verify: boolean;
  readonly isMirror: boolean;
};

const DOCKER_HUB = 'https://registry-1.docker.io';

/** Host without its port and brackets. */
export function hostWithoutPort(domain: string): string {
  const withPort = /^(\[.*\]|[^:]*):\d+$/.exec(domain);
  return (withPort?.[1] ?? domain).replace(/^\[|\]$/g, '');
}

/** Bits of an address, IPv4 as 32 and IPv6 as 128; undefined when it is none. */
function addressBits(text: string): { bits: bigint; width: 32 | 128 } | undefined {
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(text)) {
    const bytes = text.split('.').map(Number);
    if (bytes.some((byte) => byte > 255)) return undefined;
    return { bits: bytes.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n), width: 32 };
  }
  const embedded = /^(.*:)(\d{1,3}(?:\.\d{1,3}){3})$/.exec(text);
  if (embedded !== null) {
    const v4 = addressBits(embedded[2] ?? '');
    if (v4 === undefined) return undefined;
    const low = v4.bits.toString(16).padStart(8, '0');
    return addressBits(`${embedded[1]}${low.slice(0, 4)}:${low.slice(4)}`);
  }
  if (!/^[0-9a-fA-F:]+$/.test(text) || !text.includes(':')) return undefined;
  const [left = '', right, ...more] = text.split('::');
  if (more.length > 0) return undefined;
  const groups = (part: string): string[] => (part === '' ? [] : part.split(':'));
  const head = groups(left);
  const tail = right === undefined ? [] : groups(right);
  const missing = 8 - head.length - tail.length;
  if (missing < 0 || (right === undefined && missing !== 0)) return undefined;
  const all = [...head, ...Array<string>(missing).fill('0'), ...tail];
  if (!all.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return undefined;
  return { bits: all.reduce((sum, g) => (sum << 16n) | BigInt(`0x${g}`), 0n), width: 128 };
}

/** True when `address` lies in `cidr` (`10.0.0.0/8`, `fd00::/8`). */
export function cidrContains(cidr: string, address: string): boolean {
  const slash = cidr.indexOf('/');
  const net = addressBits(slash < 0 ? cidr : cidr.slice(0, slash));
  const it = addressBits(address);
  if (net === undefined || it === undefined || net.width !== it.width) return false;
  const prefix = slash < 0 ? net.width : Number(cidr.slice(slash + 1));
  if (!Number.isInteger(prefix) || prefix < 0 || prefix > net.width) return false;
  const shift = BigInt(net.width - prefix);
  return net.bits >> shift === it.bits >> shift;
}

/** True for 127.0.0.0/8, ::1 and localhost: what stays on this machine. */
export function isLoopback(domain: string, addresses: readonly string[]): boolean {
  const host = hostWithoutPort(domain);
  return [host, ...addresses].some(
    (each) => each === 'localhost' || cidrContains('127.0.0.0/8', each) || each === '::1',
  );
}

/** True when the registry may be reached without TLS. `addresses` are what its name resolves to. */
export function isInsecure(
  domain: string,
  addresses: readonly string[],
  insecureRegistries: readonly string[],
): boolean {
  if (isLoopback(domain, addresses)) return true;
  const host = hostWithoutPort(domain);
  return insecureRegistries.some((entry) =>
    entry.includes('/')
      ? [host, ...addresses].some((address) => cidrContains(entry, address))
      : entry === domain,
  );
}

/**
 * The endpoints of a registry in the order to try them: mirrors first (docker.io only), then the
 * registry. An insecure one is tried with TLS and without; on loopback, without first, since
 * nothing can listen in there.
 */
export function endpointsOf(
  domain: string,
  addresses: readonly string[],
  config: Pick<RegistryConfig, 'insecureRegistries' | 'registryMirrors'>,
): Endpoint[] {
  if (domain === 'docker.io') {
    const mirrors = config.registryMirrors.map((mirror) => ({
      url: mirror.replace(/\/+$/, ''),
      verify: !isInsecure(mirrorHost(mirror), [], config.insecureRegistries),
      isMirror: true,
    }));
    return [...mirrors, { url: DOCKER_HUB, verify: true, isMirror: false }];
  }
  const https = { url: `https://${domain}`, verify: true, isMirror: false };
  if (!isInsecure(domain, addresses, config.insecureRegistries)) return [https];
  const open = { ...https, verify: false };
  const http = { url: `http://${domain}`, verify: false, isMirror: false };
  return isLoopback(domain, addresses) ? [http, open] : [open, http];
}

function mirrorHost(mirror: string): string {
  return URL.canParse(mirror) ? new URL(mirror).host : mirror;
}

/**
 * Checks a `--registry-mirror`.
 * @throws invalidArgument with Docker's texts
 */
export function parseMirror(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined) {
    throw invalidArgument(`invalid mirror: "${text}" is not a valid URI`);
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw invalidArgument(
      `invalid mirror: unsupported scheme "${url.protocol.slice(0, -1)}" in "${text}"`,
    );
  }
  if (url.search !== '' || url.hash !== '') {
    throw invalidArgument(`invalid mirror: query or fragment at end of the URI "${text}"`);
  }
  if (url.username !== '' || url.password !== '') {
    throw invalidArgument(`invalid mirror: username/password not allowed in URI "${url.origin}"`);
  }
  return `${text.replace(/\/+$/, '')}/`;
}

/**
 * The proxy for a URL, if any, by the rules of Go's `golang.org/x/net/http/httpproxy`: loopback
 * never; `no_proxy` holds `*`, host names (which also stand for their subdomains; with a leading
 * dot only for those), addresses and CIDRs, each with an optional port.
 * @throws invalidArgument for a proxy that is none, or is spoken to in another way than HTTP
 */
export function proxyFor(
  url: URL,
  config: Pick<RegistryConfig, 'httpProxy' | 'httpsProxy' | 'noProxy'>,
): URL | undefined {
  const text = url.protocol === 'https:' ? config.httpsProxy : config.httpProxy;
  if (text === '') return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, '').toLowerCase();
  if (isLoopback(host, [])) return undefined;
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  for (const raw of config.noProxy.split(',')) {
    const entry = raw.trim().toLowerCase();
    if (entry === '') continue;
    if (entry === '*' || bypasses(entry, host, port)) return undefined;
  }
  const full = text.includes('://') ? text : `http://${text}`;
  const proxy = URL.canParse(full) ? new URL(full) : undefined;
  // What cannot be used is not gone around: whoever set it wants no direct connections.
  if (proxy?.protocol !== 'http:' || proxy.hostname === '') {
    const name = url.protocol === 'https:' ? 'https-proxy' : 'http-proxy';
    throw invalidArgument(`cannot use the ${name}: it must be http://[USER:PASSWORD@]HOST[:PORT]`);
  }
  return proxy;
}

function bypasses(entry: string, host: string, port: string): boolean {
  if (entry.includes('/')) return cidrContains(entry, host);
  const withPort = /^(.*[^:]):(\d+)$/.exec(entry);
  if (withPort !== null && withPort[2] !== port) return false;
  const name = (withPort?.[1] ?? entry).replace(/^\[|\]$/g, '').replace(/^\*(?=\.)/, '');
  if (name.startsWith('.')) return host.endsWith(name);
  return host === name || host.endsWith(`.${name}`);
}
