import { Duplex, Readable } from 'node:stream';
import type { ApiVersion, EndpointSpec } from '../api/contract/endpoint.ts';
import { compareApiVersions, formatApiVersion, parseApiVersion } from '../api/contract/versions.ts';
import { EngineError, type ErrorKind, internal } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import type { ProgressMessage } from '../spec/docker/progress.ts';
import { jsonLines } from './lines.ts';
import type { Transport, TransportResponse } from './transport.ts';

/** What every method's input may hold; `client.ts` gives each its exact type. */
type Input = {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, unknown>>;
  readonly headers?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
};

export type Caller = {
  readonly call: (endpoint: EndpointSpec, input: Input) => Promise<unknown>;
  readonly apiVersion: () => ApiVersion;
};

/** The path of a call without its version, query included. Segments of a name stay segments. */
export function pathOf(endpoint: EndpointSpec, input: Pick<Input, 'params' | 'query'>): string {
  const path = endpoint.path.replace(/\{(\w+)(\.\.\.)?\}/g, (_all, name: string, rest?: string) => {
    const value = input.params?.[name] ?? '';
    if (rest === undefined) return encodeURIComponent(value);
    return value.split('/').map(encodeURIComponent).join('/');
  });
  const query = new URLSearchParams();
  for (const [name, field] of Object.entries(endpoint.query ?? {})) {
    const value = input.query?.[name];
    if (value === undefined) continue;
    for (const each of field.encode(value)) query.append(name, each);
  }
  const text = query.toString();
  return text === '' ? path : `${path}?${text}`;
}

function headersOf(endpoint: EndpointSpec, input: Input): Record<string, string> {
  const headers: Record<string, string> = {};
  for (const [key, field] of Object.entries(endpoint.headers ?? {})) {
    const value = input.headers?.[key];
    const encoded = value === undefined ? undefined : field.encode(value);
    if (encoded !== undefined) headers[field.name] = encoded;
  }
  return headers;
}

function bodyOf(
  endpoint: EndpointSpec,
  input: Input,
  headers: Record<string, string>,
): Uint8Array | Readable | undefined {
  if (endpoint.body === undefined) return undefined;
  if (endpoint.body.kind === 'json') {
    if (input.body === undefined && !endpoint.body.required) return undefined;
    headers['Content-Type'] = 'application/json';
    return Buffer.from(JSON.stringify(input.body ?? {}));
  }
  headers['Content-Type'] ??= 'application/x-tar';
  return input.body instanceof Readable || input.body instanceof Uint8Array
    ? input.body
    : undefined;
}

/** Calls operations over a transport and agrees on a version with the daemon. */
export function createCaller(
  transport: Transport,
  options: { version: ApiVersion; negotiate: boolean; userAgent: string },
): Caller {
  let version = options.version;
  let agreed = !options.negotiate;

  const lowerTo = (theirs: string | string[] | undefined): boolean => {
    const max = parseApiVersion(typeof theirs === 'string' ? theirs : '');
    if (agreed || max === undefined || compareApiVersions(max, version) >= 0) return false;
    version = max;
    return true;
  };

  const send = async (endpoint: EndpointSpec, input: Input): Promise<TransportResponse> => {
    const headers: Record<string, string> = {
      'User-Agent': options.userAgent,
      ...headersOf(endpoint, input),
    };
    const body = bodyOf(endpoint, input, headers);
    const attempt = (): Promise<TransportResponse> =>
      transport.send({
        method: endpoint.method,
        path: `/v${formatApiVersion(version)}${pathOf(endpoint, input)}`,
        headers,
        body,
        upgrade: endpoint.answer.kind === 'hijack',
        signal: input.signal,
      });
    // A stream cannot be sent twice, so the version is asked for first; else the daemon is trusted
    // to know ours, and says so when it does not.
    if (!agreed && body instanceof Readable) {
      const ping = await transport.send({ ...PING, signal: input.signal });
      ping.body.resume();
      lowerTo(ping.headers['api-version']);
      agreed = true;
    }
    let response = await attempt();
    if (response.status === 400 && lowerTo(response.headers['api-version'])) {
      response.body.resume();
      response = await attempt();
    }
    agreed = true;
    return response;
  };

  const call = async (endpoint: EndpointSpec, input: Input): Promise<unknown> => {
    const response = await send(endpoint, input);
    // 304 (started already, stopped already) counts as done, as in Docker's client.
    if (!response.upgraded && (response.status < 200 || response.status >= 400)) {
      throw await errorOf(response);
    }
    return answerOf(endpoint, response);
  };
  return { call, apiVersion: () => version };
}

const PING = {
  method: 'GET',
  path: '/_ping',
  headers: {},
  body: undefined,
  upgrade: false,
} as const;

async function answerOf(endpoint: EndpointSpec, response: TransportResponse): Promise<unknown> {
  const { body, headers } = response;
  const contentType = headers['content-type'] ?? '';
  switch (endpoint.answer.kind) {
    case 'value':
      return parse(await readAll(body));
    case 'later': {
      const answer = readAll(body).then(parse);
      // Whoever asked may never look at it.
      answer.catch(() => undefined);
      return { answer };
    }
    case 'progress':
      return progressLines(body);
    case 'lines':
      return jsonLines(body);
    case 'bytes':
      return { contentType, headers, body };
    case 'hijack':
      if (!response.upgraded) body.resume();
      return { contentType, stream: body instanceof Duplex ? body : undefined };
    case 'websocket':
      throw new Error('the client does not speak websocket');
  }
}

async function* progressLines(body: Readable): AsyncGenerator<ProgressMessage, void, undefined> {
  for await (const message of jsonLines<ProgressMessage>(body)) {
    const text = message.errorDetail?.message ?? message.error;
    if (text !== undefined && text !== '') {
      const code = message.errorDetail?.code;
      throw internal(text, code === undefined ? {} : { detail: { code } });
    }
    yield message;
  }
}

async function readAll(body: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > LIMITS.answerBytesMax) throw internal('cannot read the answer: it is too long');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

function parse(text: string): unknown {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw internal('cannot read the answer: it is not JSON', { cause });
  }
}

const KIND: Readonly<Record<number, ErrorKind>> = {
  304: 'notModified',
  400: 'invalidArgument',
  401: 'unauthorized',
  403: 'forbidden',
  404: 'notFound',
  409: 'conflict',
  501: 'notImplemented',
  503: 'unavailable',
};

async function errorOf(response: TransportResponse): Promise<EngineError> {
  const text = await readAll(response.body);
  let message = text.trim();
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === 'object' && parsed !== null && 'message' in parsed) {
      message = String(parsed.message);
    }
  } catch {
    // Not JSON (a proxy's answer): its text is shown as it is.
  }
  const { status } = response;
  if (message === '') message = `the daemon answered with status ${status}`;
  return new EngineError(KIND[status] ?? 'internal', message, { detail: { status } });
}
