import { invalidArgument } from '../base/errors.ts';

/** Certificates in PEM. Without `ca` the system's authorities count. */
export type TlsMaterial = {
  readonly ca?: string | Buffer;
  readonly cert?: string | Buffer;
  readonly key?: string | Buffer;
  /** False: the daemon's certificate is not checked. */
  readonly verify: boolean;
};

/** Where a daemon listens. */
export type Host =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly hostname: string; readonly port: number };

const TCP_PORT = 2375;
const TLS_PORT = 2376;

/**
 * Reads a daemon's address: `unix:///run/coracle.sock`, `tcp://10.0.0.2:2375`, `tcp://[::1]`,
 * `http://…`, `https://…`. A missing port is 2375, or 2376 with TLS.
 * @throws invalidArgument
 */
export function parseHost(text: string, options?: { tls: boolean }): Host {
  const separator = text.indexOf('://');
  const scheme = separator < 0 ? '' : text.slice(0, separator);
  const rest = separator < 0 ? text : text.slice(separator + 3);
  switch (scheme) {
    case 'unix':
      if (rest === '') throw invalidArgument(`cannot use the host "${text}": it has no path`);
      return { kind: 'unix', path: rest };
    case 'tcp':
    case 'http':
    case 'https':
      return parseTcp(text, rest, scheme === 'https' || options?.tls === true);
    case 'ssh':
      throw invalidArgument(
        `cannot use the host "${text}": ssh is not built in. Forward the socket with \`ssh -nNT -L /tmp/coracle.sock:/run/coracle.sock ${rest}\` and use unix:///tmp/coracle.sock`,
      );
    default:
      throw invalidArgument(`unable to parse docker host \`${text}\``);
  }
}

function parseTcp(text: string, rest: string, tls: boolean): Host {
  const m = /^(?:\[([0-9a-fA-F:.]+)\]|([^/:[\]]*))(?::(\d{1,5}))?\/?$/.exec(rest);
  const port = m?.[3] === undefined ? (tls ? TLS_PORT : TCP_PORT) : Number(m[3]);
  if (m === null || port > 65_535) {
    throw invalidArgument(`cannot use the host "${text}": want tcp://ADDRESS:PORT`);
  }
  return { kind: 'tcp', hostname: m[1] ?? (m[2] === '' ? '127.0.0.1' : (m[2] ?? '')), port };
}

/** The host as it is shown to people. */
export function formatHost(host: Host): string {
  if (host.kind === 'unix') return `unix://${host.path}`;
  const name = host.hostname.includes(':') ? `[${host.hostname}]` : host.hostname;
  return `tcp://${name}:${host.port}`;
}
