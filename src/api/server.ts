import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { TlsOptions } from 'node:tls';
import {
  errnoOf,
  invalidArgument,
  isEngineError,
  messageOf,
  toEngineError,
} from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { ByteStream, Later } from '../engine/call.ts';
import type { Engine } from '../engine/engine.ts';
import { ProgressWriter, sendError, sendLater, sendStream, sendValue } from './answer.ts';
import { CONTRACT, type OperationName } from './contract/contract.ts';
import type { EndpointSpec } from './contract/endpoint.ts';
import { API_VERSION_MAX, formatApiVersion } from './contract/versions.ts';
import type { AnyHandler } from './handler.ts';
import { answerUpgrade, type Exchange, rawExchange, releaseSocket, upgradeBody } from './hijack.ts';
import { readArgs } from './request.ts';
import { createRouter, type Route, shownTarget } from './router.ts';
import { websocketExchange } from './websocket.ts';

/** The HTTP server of the Engine API: it owns connections and running calls, nothing else. */
export type ApiServer = {
  /**
   * A server that answers the API and does not listen yet; `listen` it on a path, a port or an
   * inherited descriptor. With `tls` it speaks HTTPS.
   */
  readonly createListener: (tls?: TlsOptions) => Promise<Server>;
  /** Answers the API on a server that someone else made. */
  readonly handle: (server: Server) => void;
  /**
   * Takes no more connections, ends streams and idle connections at once, and lets other calls
   * finish for up to `graceMs`; then cuts what is left.
   */
  readonly close: (graceMs: number) => Promise<void>;
  /** Calls that began so far: unchanged for a while means that nobody asks anything. */
  readonly activity: number;
};

export type ApiServerOptions = {
  /** Version of the engine, for the `Server` header. */
  readonly version: string;
};

/** Kinds whose calls may last for ever, so a shutdown does not wait for them. */
const ENDLESS: ReadonlySet<EndpointSpec['answer']['kind']> = new Set([
  'later',
  'progress',
  'bytes',
  'lines',
  'hijack',
  'websocket',
]);

/** One call while it runs; its signal is made when it is first looked at. */
class RunningCall {
  readonly apiVersion: readonly [number, number];
  readonly endless: boolean;
  #controller: AbortController | undefined;
  #aborted = false;

  constructor(route: Route) {
    this.apiVersion = route.version;
    this.endless = ENDLESS.has(route.endpoint.answer.kind);
  }

  get signal(): AbortSignal {
    this.#controller ??= new AbortController();
    if (this.#aborted) this.#controller.abort();
    return this.#controller.signal;
  }

  abort(): void {
    this.#aborted = true;
    this.#controller?.abort();
  }
}

/**
 * A server that calls `handlers`. Operations without a handler answer 404.
 * Nothing here holds a request longer than {@link LIMITS} says before its handler runs.
 */
export function createApiServer(
  engine: Engine,
  handlers: Readonly<Partial<Record<OperationName, unknown>>>,
  options: ApiServerOptions,
): ApiServer {
  return new HttpApi(engine, handlers as Partial<Record<OperationName, AnyHandler>>, options);
}

class HttpApi implements ApiServer {
  readonly #engine: Engine;
  readonly #handlers: Partial<Record<OperationName, AnyHandler>>;
  readonly #router;
  readonly #headers: Readonly<Record<string, string>>;
  readonly #servers = new Set<Server>();
  readonly #calls = new Set<RunningCall>();
  /** Sockets that left HTTP. */
  readonly #taken = new Set<Duplex>();
  #idle: (() => void) | undefined;
  #closing = false;
  #begun = 0;

  constructor(
    engine: Engine,
    handlers: Partial<Record<OperationName, AnyHandler>>,
    options: ApiServerOptions,
  ) {
    this.#engine = engine;
    this.#handlers = handlers;
    const served = Object.entries<EndpointSpec>(CONTRACT).filter(([name]) => name in handlers);
    this.#router = createRouter(Object.fromEntries(served) as Record<OperationName, EndpointSpec>);
    this.#headers = {
      'Api-Version': formatApiVersion(API_VERSION_MAX),
      'Docker-Experimental': 'false',
      Ostype: 'linux',
      Server: `Coracle/${options.version} (linux)`,
    };
  }

  get activity(): number {
    return this.#begun;
  }

  async createListener(tls?: TlsOptions): Promise<Server> {
    const limits = {
      maxHeaderSize: LIMITS.headerBytesMax,
      headersTimeout: LIMITS.requestHeadersMs,
      // Uploads may take hours; JSON bodies have a limit of their own.
      requestTimeout: 0,
      keepAliveTimeout: LIMITS.keepAliveMs,
      shouldUpgradeCallback: (request: IncomingMessage) => this.#mayUpgrade(request),
    };
    const server: Server =
      tls === undefined
        ? createServer(limits)
        : (await import('node:https')).createServer({ ...limits, ...tls });
    this.handle(server);
    return server;
  }

  handle(server: Server): void {
    server.maxConnections = LIMITS.apiConnectionsMax;
    this.#servers.add(server);
    server.on('request', (request, response) => void this.#onRequest(request, response));
    server.on('upgrade', (request, socket, head) => void this.#onUpgrade(request, socket, head));
    server.on('clientError', (error, socket) => this.#onClientError(error, socket));
  }

  async close(graceMs: number): Promise<void> {
    this.#closing = true;
    for (const server of this.#servers) {
      server.close();
      server.closeIdleConnections();
    }
    for (const call of this.#calls) if (call.endless) call.abort();
    const idle = new Promise<void>((resolve) => {
      this.#idle = resolve;
      this.#noteIdle();
    });
    const timer = new Promise<void>((resolve) => void setTimeout(resolve, graceMs).unref());
    await Promise.race([idle, timer]);
    for (const call of this.#calls) call.abort();
    for (const socket of this.#taken) socket.destroy();
    for (const server of this.#servers) server.closeAllConnections();
  }

  /** Resolves `close` when only calls without end are left. */
  #noteIdle(): void {
    if (this.#idle === undefined) return;
    for (const call of this.#calls) if (!call.endless) return;
    this.#idle();
  }

  #mayUpgrade(request: IncomingMessage): boolean {
    try {
      const found = this.#router.find(request.method ?? '', request.url ?? '');
      if ('allow' in found) return false;
      const { kind } = found.endpoint.answer;
      return kind === 'hijack' || kind === 'websocket';
    } catch {
      return false; // the ordinary way answers with what is wrong
    }
  }

  async #onRequest(request: IncomingMessage, response: ServerResponse): Promise<void> {
    for (const name in this.#headers) response.setHeader(name, this.#headers[name] ?? '');
    if (this.#closing) response.setHeader('Connection', 'close');
    let call: RunningCall | undefined;
    try {
      const found = this.#router.find(request.method ?? '', request.url ?? '');
      if ('allow' in found) {
        response.writeHead(405, {
          Allow: found.allow.join(', '),
          'Content-Type': 'application/json',
        });
        response.end(`{"message":"method ${request.method} is not allowed here"}\n`);
        return;
      }
      call = this.#begin(found, request);
      const running = call;
      response.on('close', () => running.abort());
      await this.#answer(found, call, request, response);
    } catch (error) {
      this.#report(request, error);
      sendError(response, error);
    } finally {
      if (call !== undefined) this.#end(call);
    }
  }

  #begin(route: Route, request: IncomingMessage): RunningCall {
    const { log } = this.#engine;
    if (log.level === 'debug') {
      log.debug(`Calling ${request.method} ${shownTarget(request.url ?? '')}`);
    }
    const call = new RunningCall(route);
    this.#calls.add(call);
    this.#begun += 1;
    return call;
  }

  #end(call: RunningCall): void {
    this.#calls.delete(call);
    if (this.#closing) this.#noteIdle();
  }

  async #answer(
    route: Route<OperationName>,
    call: RunningCall,
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<void> {
    const { answer } = route.endpoint;
    if (answer.kind === 'websocket') throw invalidArgument('not websocket protocol');
    const args = await readArgs(route, request);
    const run = (given: object): Promise<unknown> => this.#run(route.name, args, given);
    switch (answer.kind) {
      case 'value':
        sendValue(response, answer.status, await run(call));
        return;
      case 'later':
        await sendLater(response, (await run(call)) as Later<unknown>);
        return;
      case 'bytes':
      case 'lines':
        await sendStream(response, answer.status, (await run(call)) as ByteStream);
        return;
      case 'progress':
        await this.#answerProgress(call, request, response, run);
        return;
      case 'hijack':
        await this.#answerHijack(call, request, response, run);
        return;
    }
  }

  async #answerProgress(
    call: RunningCall,
    request: IncomingMessage,
    response: ServerResponse,
    run: (given: object) => Promise<unknown>,
  ): Promise<void> {
    const writer = new ProgressWriter(response);
    try {
      const progress = (message: never): void => writer.write(message);
      await run(callWith(call, { progress, ready: () => writer.ready() }));
      writer.end();
    } catch (error) {
      this.#report(request, error);
      writer.fail(error);
    }
  }

  /** A client that wants the connection and did not ask for an upgrade. */
  async #answerHijack(
    call: RunningCall,
    request: IncomingMessage,
    response: ServerResponse,
    run: (given: object) => Promise<unknown>,
  ): Promise<void> {
    const { socket } = request;
    const exchange = rawExchange({
      socket,
      asked: false,
      headers: this.#headers,
      release: () => {
        releaseSocket(response);
        this.#take(socket, call);
      },
    });
    try {
      await run(callWith(call, { hijack: hijackOf(call, exchange) }));
      if (!exchange.taken()) sendValue(response, 200, undefined);
    } catch (error) {
      if (!exchange.taken()) throw error;
      this.#report(request, error);
      exchange.failTaken(error);
    }
  }

  async #onUpgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    let call: RunningCall | undefined;
    let exchange: Exchange | undefined;
    socket.on('error', (error) => this.#engine.log.debug(`connection: ${error.message}`));
    try {
      const found = this.#router.find(request.method ?? '', request.url ?? '');
      if ('allow' in found || !this.#mayUpgrade(request)) {
        throw invalidArgument('this call does not hand over its connection');
      }
      call = this.#begin(found, request);
      this.#take(socket, call);
      const hasTaker = found.endpoint.body !== undefined;
      const body = await upgradeBody(request, socket, head, hasTaker);
      const args = await readArgs(found, request, body);
      exchange =
        found.endpoint.answer.kind === 'websocket'
          ? websocketExchange(request, socket)
          : rawExchange({ socket, asked: true, headers: this.#headers, release: () => undefined });
      await this.#run(found.name, args, callWith(call, { hijack: hijackOf(call, exchange) }));
      if (!exchange.taken()) answerUpgrade(request, this.#headers);
    } catch (error) {
      this.#report(request, error);
      if (exchange?.taken() === true) exchange.failTaken(error);
      else answerUpgrade(request, this.#headers, error);
    } finally {
      if (call !== undefined) this.#end(call);
    }
  }

  #run(name: OperationName, args: unknown, call: unknown): Promise<unknown> {
    const handler = this.#handlers[name];
    if (handler === undefined) throw new Error(`no handler for ${name}`);
    return handler(this.#engine, args, call);
  }

  /** Keeps account of a socket that left HTTP; its end is the end of its call. */
  #take(socket: Duplex, call: RunningCall): void {
    this.#taken.add(socket);
    socket.on('close', () => {
      this.#taken.delete(socket);
      call.abort();
    });
  }

  #onClientError(error: Error & { code?: string }, socket: Duplex): void {
    if (error.code === 'ECONNRESET' || !socket.writable) {
      socket.destroy();
      return;
    }
    const tooLarge = error.code === 'HPE_HEADER_OVERFLOW';
    const slow = error.code === 'ERR_HTTP_REQUEST_TIMEOUT';
    const status = tooLarge
      ? '431 Request Header Fields Too Large'
      : slow
        ? '408 Request Timeout'
        : '400 Bad Request';
    const body = `${JSON.stringify({ message: `cannot read the request: ${error.message}` })}\n`;
    socket.end(
      `HTTP/1.1 ${status}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\nConnection: close\r\n\r\n${body}`,
    );
  }

  #report(request: IncomingMessage, thrown: unknown): void {
    const { log } = this.#engine;
    const error = toEngineError(thrown);
    const text = `Handler for ${request.method} ${shownTarget(request.url ?? '')} returned error: ${error.message}`;
    if (isEngineError(thrown) && error.kind !== 'internal' && error.kind !== 'dataLoss') {
      log.debug(text);
      return;
    }
    if (isAborted(thrown)) log.debug(text);
    else log.error(text, isEngineError(thrown) ? {} : { stack: stackOf(thrown) });
  }
}

function stackOf(thrown: unknown): string {
  return thrown instanceof Error ? (thrown.stack ?? messageOf(thrown)) : messageOf(thrown);
}

const GONE = new Set(['ECONNRESET', 'EPIPE', 'ERR_STREAM_PREMATURE_CLOSE', 'ABORT_ERR']);

/** True for what a client that went away leaves behind. */
function isAborted(thrown: unknown): boolean {
  return (
    GONE.has(errnoOf(thrown) ?? '') || (thrown instanceof Error && thrown.name === 'AbortError')
  );
}

/** The call with what its kind needs; the signal stays lazy. */
function callWith(call: RunningCall, more: object): object {
  return Object.defineProperties(
    { apiVersion: call.apiVersion, ...more },
    { signal: { get: () => call.signal } },
  );
}

function hijackOf(call: RunningCall, exchange: Exchange) {
  return (wish: { multiplexed: boolean }): Promise<Duplex> =>
    new Promise((resolve) => resolve(exchange.take(call.apiVersion, wish)));
}
