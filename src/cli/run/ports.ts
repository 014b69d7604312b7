import { isIP } from 'node:net';
import { invalidArgument } from '../../base/errors.ts';
import type { PortBinding } from '../../spec/docker/container.ts';
import { splitCsv, splitPair } from '../flags.ts';

/**
 * `-p` and `--expose`:
 *
 *   [ip:][hostPort[-hostPort]:]port[-port][/tcp|udp|sctp]
 *   target=80,published=8080,protocol=tcp,mode=host
 */
export type Ports = {
  readonly exposed: Record<string, object>;
  readonly bindings: Record<string, PortBinding[]>;
};

type Range = { readonly first: number; readonly last: number };

function parseRange(text: string, what: string): Range {
  const [from = '', to = from, ...rest] = text.split('-');
  const [first, last] = [from, to].map((each) => (/^\d{1,5}$/.test(each) ? Number(each) : 70_000));
  if (first === undefined || last === undefined || rest.length > 0) {
    throw invalidArgument(`invalid ${what}: ${text}`);
  }
  if (first > 65_535 || last > 65_535 || last < first) {
    throw invalidArgument(`invalid ${what}: ${text}`);
  }
  return { first, last };
}

function protocolOf(text: string): string {
  const protocol = text.toLowerCase();
  if (!['tcp', 'udp', 'sctp'].includes(protocol)) throw invalidArgument(`invalid proto: ${text}`);
  return protocol;
}

/** `80/udp` in its parts; tcp when no protocol is said. */
function splitProtocol(spec: string): [port: string, protocol: string] {
  const slash = spec.indexOf('/');
  if (slash < 0) return [spec, 'tcp'];
  return [spec.slice(0, slash), protocolOf(spec.slice(slash + 1) || 'tcp')];
}

/** `127.0.0.1:8080:80`: from the right, for an IPv6 address has colons of its own. */
function splitParts(spec: string): { ip: string; host: string; port: string } {
  const parts = spec.split(':');
  const port = parts.pop() ?? '';
  const host = parts.pop() ?? '';
  const raw = parts.join(':');
  const ip = raw.replace(/^\[(.*)\]$/, '$1');
  if (ip !== '' && isIP(ip.split('%')[0] ?? '') === 0) {
    throw invalidArgument(`invalid IP address: ${ip}`);
  }
  return { ip, host, port };
}

function addPublished(spec: string, ports: Ports): void {
  const [address, protocol] = splitProtocol(spec);
  const { ip, host, port } = splitParts(address);
  if (port === '') throw invalidArgument(`no port specified: ${spec}<empty>`);
  const inside = parseRange(port, 'containerPort');
  const outside = host === '' ? undefined : parseRange(host, 'hostPort');
  const count = inside.last - inside.first;
  const single = count === 0 && outside !== undefined && outside.last > outside.first;
  if (outside !== undefined && !single && outside.last - outside.first !== count) {
    throw invalidArgument(
      `invalid ranges specified for container and host Ports: ${port} and ${host}`,
    );
  }
  for (let i = 0; i <= count; i += 1) {
    const key = `${inside.first + i}/${protocol}`;
    let hostPort = '';
    if (outside !== undefined) {
      hostPort = single ? `${outside.first}-${outside.last}` : `${outside.first + i}`;
    }
    ports.exposed[key] = {};
    const bindings = ports.bindings[key] ?? [];
    bindings.push({ HostIp: ip, HostPort: hostPort });
    ports.bindings[key] = bindings;
  }
}

/** The long form of `-p` in the short one. */
function shortForm(value: string): string {
  if (!value.includes('=')) return value;
  const fields: Record<string, string> = { target: '', published: '', protocol: 'tcp', mode: '' };
  for (const field of splitCsv(value)) {
    const [key, each] = splitPair(field);
    if (key === '' || each === '') {
      throw invalidArgument(
        `invalid publish opts format (should be name=value but got '${field}')`,
      );
    }
    if (!Object.hasOwn(fields, key)) throw invalidArgument(`invalid field key ${key}`);
    fields[key] = each;
  }
  if (fields['mode'] !== '' && fields['mode'] !== 'ingress' && fields['mode'] !== 'host') {
    throw invalidArgument(
      `invalid publish mode value (${fields['mode']}): must be either 'ingress' or 'host'`,
    );
  }
  const published = fields['published'] === '' ? '' : `${fields['published']}:`;
  return `${published}${fields['target']}/${fields['protocol']}`;
}

function exposedRange(value: string, port: string): Range {
  const [from = '', to = from, ...rest] = port.split('-');
  const wrong = [from, to, ...rest].find((each) => !/^\d{1,5}$/.test(each));
  const range = { first: Number(from), last: Number(to) };
  let cause = '';
  if (wrong !== undefined)
    cause = `strconv.ParseUint: parsing ${JSON.stringify(wrong)}: invalid syntax`;
  else if (range.last < range.first) cause = `invalid range specified for port: ${port}`;
  else if (range.last > 65_535) cause = `strconv.ParseUint: parsing "${to}": value out of range`;
  if (cause === '') return range;
  throw invalidArgument(`invalid range format for --expose: ${value}, error: ${cause}`);
}

/** Ports of all `-p` and `--expose`. @throws invalidArgument with Docker's texts */
export function parsePorts(published: readonly string[], exposed: readonly string[]): Ports {
  const ports: Ports = { exposed: {}, bindings: {} };
  for (const value of published) addPublished(shortForm(value), ports);
  for (const value of exposed) {
    if (value.includes(':')) {
      throw invalidArgument(`invalid port format for --expose: ${value}`);
    }
    const [port, protocol] = splitProtocol(value);
    const range = exposedRange(value, port);
    for (let each = range.first; each <= range.last; each += 1) {
      ports.exposed[`${each}/${protocol}`] = {};
    }
  }
  return ports;
}
