import type { IncomingMessage, ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { type EngineError, messageOf, statusOf, toEngineError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { ByteStream, Later } from '../engine/call.ts';
import type { ProgressMessage } from '../spec/docker/progress.ts';

/** How each kind of answer goes out on an ordinary HTTP response. */

const JSON_TYPE = 'application/json';

/** JSON with its length, or nothing for undefined. */
export function sendValue(response: ServerResponse, status: number, value: unknown): void {
  if (value === undefined) {
    response.writeHead(status, status === 204 ? {} : { 'Content-Length': '0' });
    response.end();
    return;
  }
  const body = Buffer.from(`${JSON.stringify(value)}\n`);
  response.writeHead(status, { 'Content-Type': JSON_TYPE, 'Content-Length': body.length });
  response.end(body);
}

/** Docker's shape of an error. 304 has no body. */
export function errorBody(error: EngineError): { status: number; body: Buffer } {
  const status = statusOf(error.kind);
  return {
    status,
    body:
      status === 304
        ? Buffer.alloc(0)
        : Buffer.from(`${JSON.stringify({ message: shortened(error.message) })}\n`),
  };
}

/** A message that repeats a value without end keeps its two ends. */
function shortened(message: string): string {
  const max = LIMITS.errorMessageCharsMax;
  if (message.length <= max) return message;
  return `${message.slice(0, max / 2)} … ${message.slice(-max / 2)}`;
}

/** An error, when nothing was sent yet; a cut connection tells of it otherwise. */
export function sendError(
  response: ServerResponse,
  thrown: unknown,
  headers: Readonly<Record<string, string>> = {},
): void {
  if (response.headersSent || response.destroyed) {
    response.destroy();
    return;
  }
  const { status, body } = errorBody(toEngineError(thrown));
  response.writeHead(
    status,
    status === 304
      ? { ...headers }
      : { ...headers, 'Content-Type': JSON_TYPE, 'Content-Length': body.length },
  );
  if (hasBodyOnItsWay(response.req)) {
    response.flushHeaders();
    if (body.length > 0) response.write(body);
    dropBody(response.req, () => response.end());
  } else response.end(response.req.method === 'HEAD' ? undefined : body);
}

function hasBodyOnItsWay({ complete, headers }: IncomingMessage): boolean {
  if (complete) return false;
  return (headers['content-length'] ?? '0') !== '0' || headers['transfer-encoding'] !== undefined;
}

/**
 * Reads and drops what comes of a body for a moment. A connection that is closed while some of it
 * is unread is reset, and the client, which is still writing, sees that in place of the answer.
 */
function dropBody(request: IncomingMessage, then: () => void): void {
  let bytes = 0;
  const timer = setTimeout(done, LIMITS.refusedBodyMs);
  function done(): void {
    clearTimeout(timer);
    request.off('data', drop);
    request.off('end', done);
    request.off('close', done);
    then();
  }
  function drop(chunk: Buffer): void {
    bytes += chunk.length;
    if (bytes > LIMITS.refusedBodyBytesMax) done();
  }
  request.on('data', drop);
  request.once('end', done);
  request.once('close', done);
}

/** The headers now, the value when it is there. */
export async function sendLater(response: ServerResponse, later: Later<unknown>): Promise<void> {
  response.writeHead(200, { 'Content-Type': JSON_TYPE });
  response.flushHeaders();
  response.end(`${JSON.stringify(await later.answer)}\n`);
}

/** Bytes with backpressure; whichever side ends first ends the other. */
export async function sendStream(
  response: ServerResponse,
  status: number,
  stream: ByteStream,
): Promise<void> {
  response.writeHead(status, { 'Content-Type': stream.contentType, ...stream.headers });
  response.flushHeaders();
  if (response.req.method === 'HEAD') {
    stream.body.destroy();
    response.end();
    return;
  }
  await pipeline(stream.body, response);
}

/** Lines of progress; created with the first line, so that an early failure can have a status. */
export class ProgressWriter {
  readonly #response: ServerResponse;
  /** Another machine's clock may be another. */
  readonly #isSameClock: boolean;

  constructor(response: ServerResponse) {
    this.#response = response;
    this.#isSameClock = response.socket?.remoteAddress === undefined;
  }

  /**
   * Sends a line at once. A client that reads too slowly misses bars that are out of date by the
   * time it looks; one that does not read at all is cut off.
   */
  write(message: ProgressMessage): void {
    const response = this.#response;
    if (response.destroyed || response.writableEnded) return;
    if (!response.headersSent) response.writeHead(200, { 'Content-Type': JSON_TYPE });
    const backlog = response.writableLength;
    if (message.progressDetail?.current !== undefined && backlog > LIMITS.progressBacklogBytesMax) {
      return;
    }
    if (backlog > LIMITS.streamBacklogBytesMax) {
      response.destroy();
      return;
    }
    const sent = this.#isSameClock ? message : withoutStart(message);
    response.write(`${JSON.stringify(sent)}\r\n`);
  }

  /** Waits for a client that has much unread, until it is gone. */
  async ready(): Promise<void> {
    const response = this.#response;
    while (!response.destroyed && response.writableLength > LIMITS.progressBacklogBytesMax) {
      const { promise, resolve } = Promise.withResolvers<void>();
      response.once('drain', resolve);
      response.once('close', resolve);
      await promise;
      response.off('drain', resolve);
      response.off('close', resolve);
    }
  }

  end(): void {
    if (!this.#response.headersSent) this.#response.writeHead(200, { 'Content-Type': JSON_TYPE });
    this.#response.end();
  }

  /** The failure as a status, or as the last line when lines were sent. */
  fail(thrown: unknown): void {
    if (!this.#response.headersSent) {
      sendError(this.#response, thrown);
      return;
    }
    const message = messageOf(thrown);
    const code = toEngineError(thrown).detail['code'];
    this.write({
      errorDetail: typeof code === 'number' ? { code, message } : { message },
      error: message,
    });
    this.#response.end();
  }
}

/** Without the time from which clients reckon how long the rest takes. */
function withoutStart(message: ProgressMessage): ProgressMessage {
  if (message.progressDetail?.start === undefined) return message;
  const { start: _start, ...progressDetail } = message.progressDetail;
  return { ...message, progressDetail };
}
