import { invalidArgument } from '../base/errors.ts';
import { formatIp, type Ip, isUnspecified, parseIp, sameIp } from '../base/ip.ts';

/** Published ports: what was asked for, what was taken, and how Docker words it. */

export const PROTOCOLS = ['tcp', 'udp', 'sctp'] as const;
export type Protocol = (typeof PROTOCOLS)[number];

/** One binding of `PortBindings`, read. */
export type PortWish = {
  readonly protocol: Protocol;
  readonly containerPort: number;
  /** Undefined: the default address, of both families. */
  readonly hostIp: Ip | undefined;
  /** Undefined: any free port of the ephemeral range. */
  readonly hostPorts: { readonly first: number; readonly last: number } | undefined;
};

/** One published port of one family. */
export type PublishedPort = {
  readonly protocol: Protocol;
  readonly containerPort: number;
  /** The unspecified address means every address of the host. */
  readonly hostIp: Ip;
  readonly hostPort: number;
};

type Bindings = Readonly<
  Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[]>
>;

function portNumber(text: string, what: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (!(port <= 65_535)) throw invalidArgument(`invalid ${what}: ${text}`);
  return port;
}

function hostPorts(text: string): PortWish['hostPorts'] {
  if (text === '') return undefined;
  const [from = '', to] = text.split('-', 2);
  const first = portNumber(from, 'hostPort');
  const last = to === undefined ? first : portNumber(to, 'hostPort');
  if (last < first) throw invalidArgument(`invalid hostPort: ${text}`);
  return last === 0 ? undefined : { first, last };
}

/** Reads `PortBindings`. @throws invalidArgument */
export function parsePortBindings(bindings: Bindings): PortWish[] {
  const wishes: PortWish[] = [];
  for (const [key, list] of Object.entries(bindings)) {
    const [port = '', word = 'tcp'] = key.split('/', 2);
    const protocol = PROTOCOLS.find((each) => each === word.toLowerCase());
    if (protocol === undefined) throw invalidArgument(`invalid proto: ${word}`);
    const containerPort = portNumber(port, 'containerPort');
    if (containerPort === 0) throw invalidArgument(`invalid containerPort: ${port}`);
    for (const { HostIp, HostPort } of list.length > 0 ? list : [{ HostIp: '', HostPort: '' }]) {
      const hostIp = HostIp === '' ? undefined : parseIp(HostIp.replace(/^\[(.*)\]$/, '$1'));
      if (HostIp !== '' && hostIp === undefined) {
        throw invalidArgument(`invalid IP address: ${HostIp}`);
      }
      wishes.push({ protocol, containerPort, hostIp, hostPorts: hostPorts(HostPort) });
    }
  }
  return wishes;
}

/** `0.0.0.0:80`, `[::]:80`. */
export function formatEndpoint(ip: Ip, port: number): string {
  return ip.family === 4 ? `${formatIp(ip)}:${port}` : `[${formatIp(ip)}]:${port}`;
}

/** True when both cannot be had: same protocol and port, and addresses that include each other. */
export function collides(
  a: Omit<PublishedPort, 'containerPort'>,
  b: Omit<PublishedPort, 'containerPort'>,
): boolean {
  if (a.protocol !== b.protocol || a.hostPort !== b.hostPort) return false;
  if (a.hostIp.family !== b.hostIp.family) return false;
  return isUnspecified(a.hostIp) || isUnspecified(b.hostIp) || sameIp(a.hostIp, b.hostIp);
}

/**
 * Host ports to try for a wish, in order. Ephemeral ones go round the range from behind the last
 * that was given out, so that a port is not used again at once.
 */
export function* candidates(
  wish: PortWish,
  ephemeral: { readonly first: number; readonly last: number; readonly previous: number },
): Generator<number> {
  const { first, last } = wish.hostPorts ?? ephemeral;
  const count = last - first + 1;
  const start =
    wish.hostPorts === undefined && ephemeral.previous >= first && ephemeral.previous < last
      ? ephemeral.previous + 1
      : first;
  for (let i = 0; i < count; i += 1) yield first + ((start - first + i) % count);
}

/** `NetworkSettings.Ports` of the ports that were taken. */
export function portMapOf(
  ports: readonly PublishedPort[],
): Record<string, { HostIp: string; HostPort: string }[]> {
  const map: Record<string, { HostIp: string; HostPort: string }[]> = {};
  for (const port of ports) {
    const key = `${port.containerPort}/${port.protocol}`;
    const binding = { HostIp: formatIp(port.hostIp), HostPort: String(port.hostPort) };
    map[key] = [...(map[key] ?? []), binding];
  }
  return map;
}
