/**
 * The one error type of the project. Kinds are what a caller can act on; `api/` maps each to an
 * HTTP status with {@link statusOf}, the CLI to an exit code.
 */

/** What kind of failure it is, independent of any transport. */
export type ErrorKind =
  | 'notModified'
  | 'invalidArgument'
  | 'unauthorized'
  | 'forbidden'
  | 'notFound'
  | 'conflict'
  | 'notImplemented'
  | 'unavailable'
  | 'canceled'
  | 'dataLoss'
  | 'internal';

/** Facts about a failure that are not part of its sentence: errno, syscall, path, HTTP status … */
export type ErrorDetail = Readonly<Record<string, string | number | boolean>>;

/** An expected failure, with a sentence for the user. Programmer errors are plain `Error`s. */
export class EngineError extends Error {
  readonly kind: ErrorKind;
  readonly detail: ErrorDetail;

  constructor(
    kind: ErrorKind,
    message: string,
    options?: { cause?: unknown; detail?: ErrorDetail },
  ) {
    super(message, options?.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'EngineError';
    this.kind = kind;
    this.detail = options?.detail ?? {};
  }
}

type Maker = (message: string, options?: { cause?: unknown; detail?: ErrorDetail }) => EngineError;

const maker =
  (kind: ErrorKind): Maker =>
  (message, options) =>
    new EngineError(kind, message, options);

/** Makers, one for each kind: `throw notFound('No such container: x')`. */
export const notModified = maker('notModified');
export const invalidArgument = maker('invalidArgument');
export const unauthorized = maker('unauthorized');
export const forbidden = maker('forbidden');
export const notFound = maker('notFound');
export const conflict = maker('conflict');
export const notImplemented = maker('notImplemented');
export const unavailable = maker('unavailable');
export const canceled = maker('canceled');
export const dataLoss = maker('dataLoss');
export const internal = maker('internal');

const STATUS: Readonly<Record<ErrorKind, number>> = {
  notModified: 304,
  invalidArgument: 400,
  unauthorized: 401,
  forbidden: 403,
  notFound: 404,
  conflict: 409,
  notImplemented: 501,
  unavailable: 503,
  canceled: 500,
  dataLoss: 500,
  internal: 500,
};

/** HTTP status of a kind, as Docker's API answers it. */
export function statusOf(kind: ErrorKind): number {
  return STATUS[kind];
}

/** True for an {@link EngineError} of one of the kinds (any kind when none is given). */
export function isEngineError(error: unknown, ...kinds: ErrorKind[]): error is EngineError {
  return error instanceof EngineError && (kinds.length === 0 || kinds.includes(error.kind));
}

/** The errno name (`ENOENT`) that an error of the kernel room or of Node carries, if any. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof EngineError) {
    const name = error.detail['errno'];
    return typeof name === 'string' ? name : undefined;
  }
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') {
    return error.code;
  }
  return undefined;
}

/** The sentence of anything thrown. */
export function messageOf(error: unknown): string {
  const first = firstError(error);
  return first instanceof Error ? first.message : String(first);
}

/** Why a file that was named cannot be had, in Docker's words; Node's sentence would name it again. */
export function fileFault(error: unknown): string {
  return errnoOf(error) === 'ENOENT' ? 'no such file or directory' : messageOf(error);
}

/** What went wrong first, where putting things away after it went wrong too (SuppressedError). */
function firstError(error: unknown): unknown {
  let first = error;
  while (first instanceof Error && first.name === 'SuppressedError' && 'suppressed' in first) {
    first = first.suppressed;
  }
  return first;
}

/** Any thrown value as an EngineError; what is not one already becomes `internal`. */
export function toEngineError(error: unknown): EngineError {
  const first = firstError(error);
  if (first instanceof EngineError) return first;
  const isFull = ['ENOSPC', 'EDQUOT'].includes(errnoOf(first) ?? '') || isFullDatabase(first);
  const wayOut = isFull ? '. Make room, as with "container prune" or "image prune"' : '';
  return new EngineError('internal', `${messageOf(error)}${wayOut}`, { cause: error });
}

/** SQLITE_FULL, as node:sqlite tells it. */
function isFullDatabase(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === 13;
}

/** Throws a plain Error when a programmer's assumption does not hold. Never catch it. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new Error(`assertion failed: ${message}`);
}
