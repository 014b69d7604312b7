import type { IncomingMessage } from 'node:http';
import type { Readable } from 'node:stream';
import { invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { decodeJson } from '../spec/decode.ts';
import type { EndpointSpec } from './contract/endpoint.ts';
import type { Route } from './router.ts';

/** What an engine function is called with; the contract gives each field its type. */
export type Args = {
  readonly params: Readonly<Record<string, string>>;
  readonly query: Readonly<Record<string, unknown>>;
  readonly headers: Readonly<Record<string, unknown>>;
  readonly body: unknown;
};

/**
 * Decodes what a request carries; a raw body is passed on unread.
 * @throws invalidArgument with the words of Docker's daemon
 */
export async function readArgs(
  route: Route,
  request: IncomingMessage,
  body: Readable = request,
): Promise<Args> {
  const { endpoint, params, query } = route;
  const decoded: Record<string, unknown> = {};
  for (const [name, field] of Object.entries(endpoint.query ?? {})) {
    decoded[name] = field.decode(name, query.getAll(name));
  }
  const headers: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(endpoint.headers ?? {})) {
    const value = request.headers[field.name.toLowerCase()];
    headers[key] = field.decode(Array.isArray(value) ? value[0] : value);
  }
  return { params, query: decoded, headers, body: await readBody(endpoint, request, body) };
}

async function readBody(
  endpoint: EndpointSpec,
  request: IncomingMessage,
  body: Readable,
): Promise<unknown> {
  if (endpoint.body === undefined) return undefined;
  if (endpoint.body.kind === 'raw') return body;
  const { decoder, required } = endpoint.body;
  const announced = announcedBytes(request);
  if (announced > 0) checkContentType(request.headers['content-type'] ?? '');
  const text = announced === 0 ? '' : await readText(body, announced);
  if (text.trim() === '') {
    if (required) throw invalidArgument('invalid JSON: got EOF while reading request body');
    return decoder.zero();
  }
  return decodeJson(decoder, text);
}

/** Bytes of the body; infinite when it comes in chunks. */
export function announcedBytes(request: IncomingMessage): number {
  if (request.headers['transfer-encoding'] !== undefined) return Number.POSITIVE_INFINITY;
  return Number(request.headers['content-length'] ?? 0);
}

function checkContentType(given: string): void {
  const type = (given.split(';', 1)[0] ?? '').trim().toLowerCase();
  if (type === 'application/json') return;
  if (!/^[\w!#$&^.+-]+\/[\w!#$&^.+-]+$/.test(type)) {
    const why = type === '' ? 'mime: no media type' : 'mime: expected slash after first token';
    throw invalidArgument(`malformed Content-Type header (${given}): ${why}`);
  }
  throw invalidArgument(`unsupported Content-Type header (${given}): must be 'application/json'`);
}

function readText(body: Readable, announced: number): Promise<string> {
  const tooLong = (): Error =>
    invalidArgument(`the request body is larger than ${LIMITS.jsonBodyBytesMax} bytes`);
  if (announced !== Number.POSITIVE_INFINITY && announced > LIMITS.jsonBodyBytesMax) {
    return Promise.reject(tooLong());
  }
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let bytes = 0;
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      body.off('data', onData).off('end', settle).off('error', settle).off('close', onClose);
      if (error === undefined) resolve(Buffer.concat(chunks).toString());
      else reject(error);
    };
    const onData = (chunk: Buffer): void => {
      bytes += chunk.length;
      if (bytes > LIMITS.jsonBodyBytesMax) settle(tooLong());
      else chunks.push(chunk);
    };
    const onClose = (): void => settle(invalidArgument('the request body ended too early'));
    const timer = setTimeout(
      () => settle(invalidArgument('the request body took too long to arrive')),
      LIMITS.requestBodyMs,
    );
    body.on('data', onData).on('end', settle).on('error', settle).on('close', onClose);
  });
}
