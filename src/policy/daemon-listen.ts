import { invalidArgument } from '../base/errors.ts';
import { DEFAULT_SOCKET } from '../spec/endpoint.ts';

/** Where the daemon listens. */
export type ListenAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }
  /** Sockets that systemd hands over: all (''), or one by number or name. */
  | { readonly kind: 'fd'; readonly name: string };

const TCP_PORT = 2375;
const TLS_PORT = 2376;

/**
 * Reads one `--host` value: `unix://[path]`, `tcp://[host][:port]`, `fd://[name]`, or a bare
 * `host:port`. Without a port, TCP takes 2375, or 2376 with TLS.
 * @throws invalidArgument
 */
export function parseListenAddress(text: string, tls: boolean): ListenAddress {
  const m = /^(?:([a-z][a-z0-9+.-]*):\/\/)?(.*)$/i.exec(text.trim());
  const scheme = m?.[1]?.toLowerCase();
  const rest = m?.[2] ?? '';
  switch (scheme ?? 'tcp') {
    case 'unix':
      if (rest !== '' && !rest.startsWith('/')) throw bad(text, 'the path must be absolute');
      return { kind: 'unix', path: rest === '' ? DEFAULT_SOCKET : rest };
    case 'fd':
      return { kind: 'fd', name: rest };
    case 'tcp':
      return tcp(text, rest, tls);
    default:
      throw bad(text, 'use unix://, tcp:// or fd://');
  }
}

function bad(text: string, cause: string): Error {
  return invalidArgument(`invalid bind address (${text}): ${cause}`);
}

function tcp(text: string, rest: string, tls: boolean): ListenAddress {
  const m = /^(?:\[([0-9A-Fa-f:.%a-z]+)\]|([^[\]:/?#\s]*))(?::(\d*))?\/?$/.exec(rest);
  if (m === null) throw bad(text, 'it must be host:port');
  const port = m[3] === undefined || m[3] === '' ? (tls ? TLS_PORT : TCP_PORT) : Number(m[3]);
  if (port > 65_535) throw bad(text, `${port} is not a port`);
  const host = m[1] ?? m[2] ?? '';
  return { kind: 'tcp', host: host === '' ? 'localhost' : host, port };
}

/** True for addresses that only this machine can reach. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127(\.\d{1,3}){3}$/.test(host);
}

/** The address as `--host` writes it. */
export function formatListenAddress(address: ListenAddress): string {
  switch (address.kind) {
    case 'unix':
      return `unix://${address.path}`;
    case 'fd':
      return `fd://${address.name}`;
    case 'tcp': {
      const host = address.host.includes(':') ? `[${address.host}]` : address.host;
      return `tcp://${host}:${address.port}`;
    }
  }
}
