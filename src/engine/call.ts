import type { Duplex, Readable } from 'node:stream';
import { invalidArgument, isEngineError } from '../base/errors.ts';
import type { ProgressMessage } from '../spec/docker/progress.ts';

/**
 * How the API calls the engine. An engine function takes `(engine, args, call)`, where `args` is
 * `{ params, query, body }` as the contract decoded them, and is of one of these kinds:
 *
 *   value     returns a promise of what is answered as JSON (or nothing)
 *   later     resolves when the request is known to be good (the answer's headers go out then) to
 *             a {@link Later} with the promise of what is answered as JSON; `wait` is of this kind
 *   progress  reports lines through `call.progress`, then resolves
 *   stream    resolves to a {@link ByteStream} that is piped to the client (the contract's `bytes`
 *             and `lines`)
 *   hijack    checks everything first, then takes the connection with `call.hijack`; from then on
 *             it is the function's to end, and an error thrown then is written into it. A call
 *             that never takes it (a detached exec) is answered with an empty 200
 *
 * Throwing before the first byte of an answer gives an HTTP error status.
 */
export type Call = {
  /** Aborted when the client goes away or the daemon stops. */
  readonly signal: AbortSignal;
  /** The version the client asked for, `1.41` as [1, 41]. */
  readonly apiVersion: readonly [number, number];
};

export type ProgressCall = Call & {
  readonly progress: (message: ProgressMessage) => void;
  /** Resolves when the client has taken so much that more may be sent, or is gone. */
  readonly ready?: () => Promise<void>;
};

/** An answer that is still to come. A rejection after the headers cuts the connection. */
export type Later<T> = { readonly answer: Promise<T> };

export type HijackCall = Call & {
  /**
   * Answers 101 (or 200 for clients that did not ask for an upgrade) and hands over the
   * connection. The duplex allows half-open: the client may end its input first.
   */
  readonly hijack: (options: { multiplexed: boolean }) => Promise<Duplex>;
};

/** Bytes for the client. Destroying the readable (client gone) must free what is behind it. */
export type ByteStream = {
  readonly contentType: string;
  readonly body: Readable;
  /** Further headers. */
  readonly headers?: Readonly<Record<string, string>>;
};

/** What a job says of a body that it read: damage in what a client sent is the client's to mend. */
export function faultOfBody(error: unknown): unknown {
  if (!isEngineError(error, 'dataLoss')) return error;
  return invalidArgument(error.message, { cause: error, detail: error.detail });
}

/** True when the call's version is at least `major.minor`. */
export function atLeast(call: Call, major: number, minor: number): boolean {
  const [a, b] = call.apiVersion;
  return a > major || (a === major && b >= minor);
}
