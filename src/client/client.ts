import type { Duplex, Readable } from 'node:stream';
import { CONTRACT, type Contract, type OperationName } from '../api/contract/contract.ts';
import type {
  AnswerOf,
  ApiVersion,
  EndpointSpec,
  HeadersOf,
  ParamsOf,
  QueryOf,
} from '../api/contract/endpoint.ts';
import { API_VERSION_MAX } from '../api/contract/versions.ts';
import type { Decoder } from '../spec/decode.ts';
import type { ProgressMessage } from '../spec/docker/progress.ts';
import { createCaller } from './call.ts';
import { parseHost, type TlsMaterial } from './host.ts';
import { createTransport } from './transport.ts';

/**
 * A typed client of the Engine API: one method for each operation of the contract.
 *
 *   const client = await connect({ host: 'unix:///run/coracle.sock' });
 *   const { Id } = await client.containerCreate({ query: { name: 'web' }, body: { Image: 'nginx' } });
 *   await client.containerStart({ params: { id: Id } });
 *   for await (const line of await client.imagePull({ query: { fromImage: 'debian' } })) …
 *
 * What a method gives follows from the kind of its operation:
 *
 *   value      Promise<answer>
 *   later      Promise<{ answer: Promise<answer> }>, once the daemon has taken the request
 *   progress   Promise<AsyncIterable<ProgressMessage>>; a line with an error is thrown
 *   lines      Promise<AsyncIterable<item>>
 *   bytes      Promise<BytesAnswer>
 *   hijack     Promise<HijackAnswer>
 *
 * A failure that the daemon tells of is an `EngineError` with the daemon's words and the kind
 * of its status; a daemon that cannot be reached is `unavailable`.
 */
export type Client = {
  readonly [N in Exclude<OperationName, WebsocketName>]: Method<Contract[N]>;
} & {
  /** What was agreed upon; the highest known until the first call. */
  readonly apiVersion: () => ApiVersion;
  /** Lets go of idle connections. */
  readonly close: () => void;
};

type WebsocketName = {
  [N in OperationName]: Contract[N]['answer']['kind'] extends 'websocket' ? N : never;
}[OperationName];

/** A stream of bytes. Destroy `body` to stop early. */
export type BytesAnswer = {
  readonly contentType: string;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly body: Readable;
};

/**
 * The connection to a process. `stream.end()` ends its input and leaves its output open. When the
 * daemon did not hand the connection over (a detached exec) `stream` is undefined.
 */
export type HijackAnswer = {
  readonly stream: Duplex | undefined;
  /** `application/vnd.docker.multiplexed-stream` says that stdout and stderr are framed; before v1.42 it does not tell. */
  readonly contentType: string;
};

/** JSON to send: what is left out is zero. */
export type Loose<T> = T extends readonly (infer U)[]
  ? readonly Loose<U>[]
  : T extends object
    ? { readonly [K in keyof T]?: Loose<T[K]> | undefined }
    : T;

type RequestBody<E extends EndpointSpec> = E extends { body: infer B }
  ? B extends { kind: 'json'; decoder: Decoder<infer T> }
    ? { readonly body?: Loose<T> }
    : { readonly body?: Readable | Uint8Array }
  : object;

type Optional<T> = { readonly [K in keyof T]?: T[K] | undefined };

/** What a method takes. */
export type InputOf<E extends EndpointSpec> = RequestBody<E> & {
  readonly query?: Optional<QueryOf<E>>;
  readonly headers?: Optional<HeadersOf<E>>;
  readonly signal?: AbortSignal | undefined;
} & (keyof ParamsOf<E> extends never ? object : { readonly params: ParamsOf<E> });

type ResultOf<E extends EndpointSpec> = {
  value: AnswerOf<E>;
  later: { readonly answer: Promise<AnswerOf<E>> };
  progress: AsyncIterable<ProgressMessage>;
  lines: AsyncIterable<AnswerOf<E>>;
  bytes: BytesAnswer;
  hijack: HijackAnswer;
  websocket: never;
}[E['answer']['kind']];

type Method<E extends EndpointSpec> = keyof ParamsOf<E> extends never
  ? (input?: InputOf<E>) => Promise<ResultOf<E>>
  : (input: InputOf<E>) => Promise<ResultOf<E>>;

export type ConnectOptions = {
  /** `unix:///path`, `tcp://host:port`. */
  readonly host: string;
  readonly tls?: TlsMaterial;
  /** Fixes the version; without it the highest that both sides know is found. */
  readonly apiVersion?: ApiVersion;
  /** `coracle/0.1.0 (linux)` */
  readonly userAgent?: string;
};

/**
 * A client of the daemon at `host`. Connects with the first call.
 * @throws invalidArgument for a host that cannot be used
 */
export async function connect(options: ConnectOptions): Promise<Client> {
  const host = parseHost(options.host, { tls: options.tls !== undefined });
  const transport = await createTransport(host, options.tls);
  const caller = createCaller(transport, {
    version: options.apiVersion ?? API_VERSION_MAX,
    negotiate: options.apiVersion === undefined,
    userAgent: options.userAgent ?? 'coracle',
  });
  const methods = Object.fromEntries(
    Object.entries<EndpointSpec>(CONTRACT).map(([name, endpoint]) => [
      name,
      (input: object = {}) => caller.call(endpoint, input),
    ]),
  );
  return {
    ...(methods as unknown as Client),
    apiVersion: caller.apiVersion,
    close: transport.close,
  };
}
