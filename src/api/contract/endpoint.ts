import type { Readable } from 'node:stream';
import type { Decoder } from '../../spec/decode.ts';

/**
 * The words the contract is written in. One endpoint is one value of type {@link EndpointSpec};
 * the router, the server, the types of the engine's functions and the client all derive from it,
 * so that no second place can disagree. Nothing here does I/O.
 *
 *   imageTag: {
 *     method: 'POST',
 *     path: '/images/{name...}/tag',
 *     query: { repo: text, tag: text },
 *     answer: empty(201),
 *   }
 *
 * In a path `{id}` stands for one segment and `{name...}` for one or more, for image names hold
 * slashes. A literal segment wins over a parameter.
 */

export type Method = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'DELETE';

/** `[1, 41]` for v1.41. */
export type ApiVersion = readonly [major: number, minor: number];

/** One query parameter, both ways. `encode` gives nothing for what may as well be absent. */
export type QueryField<T> = {
  /** `values` in the order given; empty when the parameter is absent. @throws invalidArgument */
  decode(name: string, values: readonly string[]): T;
  encode(value: T): readonly string[];
};

/** One request header, both ways; `name` as it is written on the wire. */
export type HeaderField<T> = {
  readonly name: string;
  /** @throws invalidArgument */
  decode(value: string | undefined): T;
  encode(value: T): string | undefined;
};

/** What a request carries: JSON that a decoder reads, or bytes that the engine streams. */
export type BodySpec<T> =
  | { readonly kind: 'json'; readonly decoder: Decoder<T>; readonly required: boolean }
  | { readonly kind: 'raw' };

/**
 * How an endpoint answers.
 *
 *   value      JSON, or nothing for `empty`
 *   later      JSON whose headers go out as soon as the request is known to be good
 *   progress   JSON lines while the work goes on
 *   bytes      a stream of bytes
 *   lines      a stream of JSON values, one a line
 *   hijack     the connection itself
 *   websocket  the connection as RFC 6455 frames
 */
export type AnswerKind =
  | 'value'
  | 'later'
  | 'progress'
  | 'bytes'
  | 'lines'
  | 'hijack'
  | 'websocket';

/** `type` is only there for the compiler. */
export type AnswerSpec<K extends AnswerKind, T> = {
  readonly kind: K;
  readonly status: number;
  readonly type?: T;
};

export type EndpointSpec = {
  readonly method: Method;
  readonly path: string;
  /** Further paths that older clients use. */
  readonly aliases?: readonly string[];
  /** Two operations may share method and path: the one that has this parameter goes first. */
  readonly when?: string;
  readonly query?: Readonly<Record<string, QueryField<unknown>>>;
  readonly headers?: Readonly<Record<string, HeaderField<unknown>>>;
  readonly body?: BodySpec<unknown>;
  readonly answer: AnswerSpec<AnswerKind, unknown>;
  /** First version that has it; older clients get 404. */
  readonly since?: ApiVersion;
};

/** A JSON answer. */
export function value<T>(status = 200): AnswerSpec<'value', T> {
  return { kind: 'value', status };
}
/** No body. */
export function empty(status = 204): AnswerSpec<'value', void> {
  return { kind: 'value', status };
}
export function later<T>(): AnswerSpec<'later', T> {
  return { kind: 'later', status: 200 };
}
export function progress(): AnswerSpec<'progress', void> {
  return { kind: 'progress', status: 200 };
}
export function bytes(): AnswerSpec<'bytes', void> {
  return { kind: 'bytes', status: 200 };
}
export function lines<T>(): AnswerSpec<'lines', T> {
  return { kind: 'lines', status: 200 };
}
/** `status` is what a call answers that does not take the connection. */
export function hijack(): AnswerSpec<'hijack', void> {
  return { kind: 'hijack', status: 200 };
}
export function websocket(): AnswerSpec<'websocket', void> {
  return { kind: 'websocket', status: 101 };
}

/** A JSON body; a missing one gives the decoder's zero value unless it is required. */
export function jsonBody<T>(
  decoder: Decoder<T>,
  options?: { required: boolean },
): BodySpec<T> & { kind: 'json' } {
  return { kind: 'json', decoder, required: options?.required ?? false };
}

/** A body of bytes, however long. */
export const rawBody: { readonly kind: 'raw' } = { kind: 'raw' };

type ParamName<Segment extends string> = Segment extends `{${infer Name}...}`
  ? Name
  : Segment extends `{${infer Name}}`
    ? Name
    : never;
type ParamNames<Path extends string> = Path extends `${infer Head}/${infer Tail}`
  ? ParamName<Head> | ParamNames<Tail>
  : ParamName<Path>;

/** `{ id: string }` of `/containers/{id}/json`. */
export type ParamsOf<E extends EndpointSpec> = { readonly [K in ParamNames<E['path']>]: string };

type FieldType<F> = F extends QueryField<infer T> ? T : F extends HeaderField<infer T> ? T : never;
type FieldTypes<F> = { readonly [K in keyof F]: FieldType<F[K]> };

export type QueryOf<E extends EndpointSpec> = E extends { query: infer Q } ? FieldTypes<Q> : object;
export type HeadersOf<E extends EndpointSpec> = E extends { headers: infer H }
  ? FieldTypes<H>
  : object;
export type BodyOf<E extends EndpointSpec> = E extends { body: infer B }
  ? B extends { kind: 'json'; decoder: Decoder<infer T> }
    ? T
    : Readable
  : undefined;
export type AnswerOf<E extends EndpointSpec> =
  E['answer'] extends AnswerSpec<AnswerKind, infer T> ? T : never;

/** What an engine function is given. */
export type ArgsOf<E extends EndpointSpec> = {
  readonly params: ParamsOf<E>;
  readonly query: QueryOf<E>;
  readonly headers: HeadersOf<E>;
  readonly body: BodyOf<E>;
};
