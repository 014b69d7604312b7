import type { SecureContext } from 'node:tls';
import { LIMITS } from '../base/limits.ts';
import { type Connection, connect, connectThrough } from './http-connection.ts';
import { httpError, type ResponseHead, ResponseParser } from './http-parser.ts';

/**
 * HTTP/1.1 requests on kept-alive connections. Knows nothing of registries: no redirects, no
 * authentication, no retries.
 */
export type HttpClient = AsyncDisposable & {
  /**
   * Sends a request and resolves with the head of its response.
   * @throws what the connection failed with; `signal` ends it at any time
   */
  readonly request: (request: HttpRequest) => Promise<HttpResponse>;
};

export type HttpRequest = {
  readonly method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  readonly url: URL;
  readonly headers: Readonly<Record<string, string>>;
  /** With a length, so that nothing is sent in chunks, which some registries refuse. */
  readonly body?: HttpBody;
  readonly signal: AbortSignal;
};

export type HttpBody = {
  readonly sizeBytes: number;
  readonly chunks: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** Told of bytes that the kernel has taken. */
  readonly onSent?: (bytes: number) => void;
};

export type HttpResponse = ResponseHead & {
  /**
   * The body's pieces. Each is valid until the next is asked for. Leaving the loop early closes the
   * connection.
   * @throws `unavailable` with detail.http `truncated`, or the connection's error
   */
  readonly body: AsyncIterable<Buffer>;
  /** Reads at most `max` bytes of the body, then lets go of it. */
  readonly text: (max: number) => Promise<string>;
  /** Lets go of the body: reads a short rest so that the connection can be used again. */
  readonly discard: () => Promise<void>;
};

/** How to reach a URL. */
export type Route = {
  /** URL of an HTTP proxy. */
  readonly proxy: URL | undefined;
  readonly secureContext: SecureContext | undefined;
  /** Whether the server's certificate is verified. */
  readonly verify: boolean;
};

export type HttpClientOptions = {
  readonly route: (url: URL) => Route;
  /** `User-Agent`. */
  readonly agent: string;
  readonly connectMs?: number;
  /** Without a byte for so long, a request fails with ETIMEDOUT. */
  readonly stallMs?: number;
};

const DISCARD_BYTES_MAX = 64 << 10;
const IDLE_PER_ORIGIN_MAX = 8;

type Live = { readonly connection: Connection; readonly reused: boolean };

/** Makes a client. Disposing it closes all connections. */
export function createHttpClient(options: HttpClientOptions): HttpClient {
  const idle = new Map<string, Connection[]>();
  const open = new Set<Connection>();
  const connectMs = options.connectMs ?? LIMITS.registryConnectMs;
  const stallMs = options.stallMs ?? LIMITS.registryStallMs;

  const obtain = async (url: URL, signal: AbortSignal, fresh: boolean): Promise<Live> => {
    const kept = fresh ? undefined : idle.get(url.origin)?.pop();
    if (kept?.isOpen()) return { connection: kept, reused: true };
    const connection = await dial(url, options.route(url), connectMs, signal);
    open.add(connection);
    return { connection, reused: false };
  };
  const giveBack = (url: URL, connection: Connection): void => {
    const list = idle.get(url.origin) ?? [];
    idle.set(url.origin, list);
    if (connection.isOpen() && list.length < IDLE_PER_ORIGIN_MAX) list.push(connection);
    else drop(connection);
  };
  const drop = (connection: Connection): void => {
    open.delete(connection);
    connection.destroy();
  };

  const exchange = async (request: HttpRequest, live: Live): Promise<HttpResponse> => {
    const { connection } = live;
    const sending: Sending = { isDone: false, progressMs: performance.now() };
    const stop = (): void => connection.destroy(request.signal.reason as Error);
    request.signal.addEventListener('abort', stop, { once: true });
    const parser = new ResponseParser(request.method);
    let isOver = false;
    const over = (reusable: boolean): void => {
      if (isOver) return;
      isOver = true;
      request.signal.removeEventListener('abort', stop);
      if (reusable && sending.isDone) giveBack(request.url, connection);
      else drop(connection);
    };
    try {
      // A server may answer before it has read the body, e.g. to refuse it: read meanwhile.
      const requestText = requestHead(request, options.agent, options.route(request.url));
      const sent = send(connection, requestText, request.body, sending);
      sent.catch(() => undefined);
      const head = await readHead(connection, parser, stallMs, { sent, sending });
      return response(head, parser, connection, stallMs, over);
    } catch (error) {
      over(false);
      request.signal.throwIfAborted();
      throw error;
    }
  };

  return {
    request: async (request) => {
      const live = await obtain(request.url, request.signal, false);
      const repeatable = request.body === undefined && request.method !== 'POST';
      if (!live.reused || !repeatable) return await exchange(request, live);
      try {
        const answer = await exchange(request, live);
        // "Request Timeout" is what some servers leave behind on a connection that was idle.
        if (answer.status !== 408) return answer;
        await answer.discard();
      } catch (error) {
        // A kept connection may have been closed by the server just now: that is no failure yet.
        if (request.signal.aborted) throw error;
      }
      return await exchange(request, await obtain(request.url, request.signal, true));
    },
    [Symbol.asyncDispose]: async () => {
      for (const connection of open) connection.destroy();
    },
  };
}

async function dial(
  url: URL,
  route: Route,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Connection> {
  const isTls = url.protocol === 'https:';
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const port = Number(url.port === '' ? (isTls ? 443 : 80) : url.port);
  const secure =
    isTls && route.secureContext !== undefined
      ? { secureContext: route.secureContext, verify: route.verify }
      : undefined;
  const target = { host, port, tls: secure, timeoutMs };
  if (route.proxy === undefined) return await connect(target, signal);
  const proxy = {
    host: route.proxy.hostname.replace(/^\[|\]$/g, ''),
    port: Number(route.proxy.port === '' ? 80 : route.proxy.port),
    authorization: proxyAuthorization(route.proxy),
  };
  if (isTls) return await connectThrough(proxy, target, signal);
  return await connect({ ...target, host: proxy.host, port: proxy.port }, signal);
}

/** `Basic …` for the user and password in a proxy's URL. */
export function proxyAuthorization(proxy: URL): string | undefined {
  if (proxy.username === '') return undefined;
  const pair = `${decodeURIComponent(proxy.username)}:${decodeURIComponent(proxy.password)}`;
  return `Basic ${Buffer.from(pair).toString('base64')}`;
}

/** How far a request is sent; times of `performance.now()`. */
type Sending = { isDone: boolean; progressMs: number };

function requestHead(request: HttpRequest, agent: string, route: Route): string {
  const { url, body, method } = request;
  const isProxied = route.proxy !== undefined && url.protocol === 'http:';
  const target = isProxied ? `${url.origin}${url.pathname}` : url.pathname;
  let head = `${method} ${target}${url.search} HTTP/1.1\r\nHost: ${url.host}\r\n`;
  const headers: Record<string, string> = { 'User-Agent': agent, ...request.headers };
  const authorization = isProxied && route.proxy ? proxyAuthorization(route.proxy) : undefined;
  if (authorization !== undefined) headers['Proxy-Authorization'] = authorization;
  if (body !== undefined) headers['Content-Length'] = String(body.sizeBytes);
  else if (method !== 'GET' && method !== 'HEAD') headers['Content-Length'] = '0';
  for (const [name, value] of Object.entries(headers)) {
    if (/[\r\n\0]/.test(value)) throw httpError(`bad value of the header ${name}`, 'malformed');
    head += `${name}: ${value}\r\n`;
  }
  return `${head}\r\n`;
}

async function send(
  connection: Connection,
  head: string,
  body: HttpBody | undefined,
  sending: Sending,
): Promise<void> {
  await connection.write(head);
  let bytes = 0;
  for await (const chunk of body?.chunks ?? []) {
    await connection.write(chunk);
    bytes += chunk.length;
    sending.progressMs = performance.now();
    body?.onSent?.(chunk.length);
  }
  if (bytes !== (body?.sizeBytes ?? 0)) {
    connection.destroy();
    throw new Error(`a request body of ${body?.sizeBytes ?? 0} bytes turned out to have ${bytes}`);
  }
  sending.isDone = true;
  sending.progressMs = performance.now();
}

async function readHead(
  connection: Connection,
  parser: ResponseParser,
  stallMs: number,
  request: { sent: Promise<void>; sending: Sending },
): Promise<ResponseHead> {
  const { sent, sending } = request;
  for (;;) {
    const part = parser.next();
    if (part.kind === 'head') return part.head;
    try {
      const bytes = await connection.read(stallMs);
      if (bytes === undefined) parser.end();
      else parser.push(bytes);
    } catch (error) {
      // While the request is still on its way, silence of the server is no stall.
      const isTimeout = error instanceof Error && 'code' in error && error.code === 'ETIMEDOUT';
      if (isTimeout && performance.now() - sending.progressMs < stallMs) continue;
      connection.destroy(error instanceof Error ? error : undefined);
      // If sending failed, that is the cause and the reading only its consequence.
      await sent;
      throw error;
    }
  }
}

function response(
  head: ResponseHead,
  parser: ResponseParser,
  connection: Connection,
  stallMs: number,
  over: (reusable: boolean) => void,
): HttpResponse {
  async function* body(): AsyncGenerator<Buffer> {
    let isWhole = false;
    try {
      for (;;) {
        const part = parser.next();
        if (part.kind === 'data') yield part.data;
        else if (part.kind === 'end') break;
        else {
          const bytes = await connection.read(stallMs);
          if (bytes === undefined) parser.end();
          else parser.push(bytes);
        }
      }
      isWhole = true;
    } finally {
      over(isWhole && head.keepAlive && parser.leftover === 0);
    }
  }
  const text = async (max: number): Promise<string> => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    for await (const piece of body()) {
      pieces.push(Buffer.from(piece.subarray(0, max - bytes)));
      bytes += piece.length;
      if (bytes >= max) break;
    }
    return Buffer.concat(pieces).toString('utf8');
  };
  const discard = async (): Promise<void> => {
    let bytes = 0;
    for await (const piece of body()) {
      bytes += piece.length;
      if (bytes > DISCARD_BYTES_MAX) break;
    }
  };
  return { ...head, body: body(), text, discard };
}
