import {
  type ClientRequest,
  Agent as HttpAgent,
  request as httpRequest,
  type IncomingHttpHeaders,
  type IncomingMessage,
  type RequestOptions,
} from 'node:http';
import { type Duplex, Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { type EngineError, errnoOf, unavailable } from '../base/errors.ts';
import { formatHost, type Host, type TlsMaterial } from './host.ts';

/** One request as the transport sends it. */
export type TransportRequest = {
  readonly method: string;
  /** With query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array | Readable | undefined;
  /** Ask for the connection itself. */
  readonly upgrade: boolean;
  readonly signal: AbortSignal | undefined;
};

/** An answer whose body was not read yet; or the connection, when it was upgraded. */
export type TransportResponse = {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Duplex | Readable;
  readonly upgraded: boolean;
};

/** HTTP to one daemon. */
export type Transport = {
  readonly send: (request: TransportRequest) => Promise<TransportResponse>;
  /** Ends idle connections. */
  readonly close: () => void;
};

/** A transport over a unix socket, TCP or, with `tls`, TLS. Nothing is connected yet. */
export async function createTransport(host: Host, tls?: TlsMaterial): Promise<Transport> {
  const target: RequestOptions =
    host.kind === 'unix'
      ? { socketPath: host.path, host: 'coracle' }
      : { host: host.hostname, port: host.port };
  if (tls === undefined) {
    const agent = new HttpAgent({ keepAlive: true });
    return transport(host, agent, (options) => httpRequest({ ...target, ...options, agent }));
  }
  const https = await import('node:https');
  const agent = new https.Agent({
    keepAlive: true,
    rejectUnauthorized: tls.verify,
    ...(tls.ca === undefined ? {} : { ca: tls.ca }),
    ...(tls.cert === undefined ? {} : { cert: tls.cert }),
    ...(tls.key === undefined ? {} : { key: tls.key }),
  });
  return transport(host, agent, (options) => https.request({ ...target, ...options, agent }));
}

function transport(
  host: Host,
  agent: { destroy: () => void },
  open: (options: RequestOptions) => ClientRequest,
): Transport {
  const send = async (request: TransportRequest): Promise<TransportResponse> => {
    const headers: Record<string, string> = { ...request.headers };
    if (request.upgrade) {
      headers['Connection'] = 'Upgrade';
      headers['Upgrade'] = 'tcp';
    }
    if (request.body instanceof Uint8Array) headers['Content-Length'] = `${request.body.length}`;
    else if (request.body === undefined && request.method !== 'GET')
      headers['Content-Length'] = '0';
    const outgoing = open({
      method: request.method,
      path: request.path,
      headers,
      ...(request.signal === undefined ? {} : { signal: request.signal }),
    });
    try {
      const response = await exchange(outgoing, request.body);
      if (!response.upgraded) tellOfLoss(response.body, host);
      return response;
    } catch (error) {
      if (request.signal?.aborted === true) throw request.signal.reason;
      throw connectionError(host, error);
    }
  };
  return { send, close: () => agent.destroy() };
}

function exchange(
  outgoing: ClientRequest,
  body: TransportRequest['body'],
): Promise<TransportResponse> {
  return new Promise((resolve, reject) => {
    outgoing.on('error', reject);
    outgoing.on('response', (response: IncomingMessage) => {
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: response,
        upgraded: false,
      });
    });
    outgoing.on('upgrade', (response: IncomingMessage, socket: Duplex, head: Buffer) => {
      if (head.length > 0) socket.unshift(head);
      resolve({
        status: response.statusCode ?? 0,
        headers: response.headers,
        body: socket,
        upgraded: true,
      });
    });
    if (body instanceof Readable) {
      // An early answer (an error) ends the upload: the answer tells why, not the broken pipe.
      pipeline(body, outgoing).catch(reject);
    } else outgoing.end(body);
  });
}

/** Has a daemon that ends in the middle of a body fail its reader with what that means. */
function tellOfLoss(body: Readable, host: Host): void {
  const destroy = body.destroy.bind(body);
  body.destroy = (error) => destroy(error && (connectionError(host, error) as Error));
}

const UNREACHABLE = new Set([
  'ENOENT',
  'ECONNREFUSED',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ENOTFOUND',
]);

/** What a failed connection means to a user, in the words of Docker's client. */
function connectionError(host: Host, cause: unknown): unknown {
  const errno = errnoOf(cause) ?? '';
  const where = formatHost(host);
  const made = (message: string): EngineError => unavailable(message, { cause, detail: { errno } });
  if (UNREACHABLE.has(errno)) {
    return made(`Cannot connect to the Docker daemon at ${where}. Is the docker daemon running?`);
  }
  if (errno === 'EACCES' || errno === 'EPERM') {
    return made(
      `permission denied while trying to connect to the Docker daemon socket at ${where}. Run as root, or as a member of the socket's group`,
    );
  }
  if (errno === 'ECONNRESET' || errno === 'EPIPE') {
    return made(`the daemon at ${where} closed the connection`);
  }
  return cause;
}
