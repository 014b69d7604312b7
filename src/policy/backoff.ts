/** How long to wait before trying again. */
export type BackoffOptions = {
  /** 1 for the wait after the first failure. */
  readonly attempt: number;
  /** What the server asked for (Retry-After), in milliseconds. */
  readonly retryAfterMs?: number | undefined;
  /** In [0, 1): spreads the devices of a fleet that lost the same server at the same time. */
  readonly random: number;
  /** Wait of the first attempt before jitter. */
  readonly baseMs: number;
  readonly maxMs: number;
};

/**
 * Exponential back-off with half of it jitter, in milliseconds: between 50 % and 100 % of
 * `base · 2^(attempt-1)`, at most `maxMs`. A server's wish is obeyed up to `maxMs`, and then never
 * undercut.
 */
export function backoffMs(options: BackoffOptions): number {
  const { attempt, retryAfterMs, random, baseMs, maxMs } = options;
  const full = Math.min(maxMs, baseMs * 2 ** Math.min(attempt - 1, 30));
  const wait = full * (0.5 + random / 2);
  return Math.round(Math.max(wait, Math.min(retryAfterMs ?? 0, maxMs)));
}

/**
 * Milliseconds of a Retry-After header (RFC 9110, 10.2.3): seconds or an HTTP date. Undefined when
 * it is neither; a date in the past gives 0.
 */
export function parseRetryAfterMs(text: string | undefined, nowMs: number): number | undefined {
  if (text === undefined) return undefined;
  const trimmed = text.trim();
  if (/^\d{1,9}$/.test(trimmed)) return Number(trimmed) * 1000;
  const date = /^[A-Za-z]{3,9}, /.test(trimmed) ? Date.parse(trimmed) : Number.NaN;
  return Number.isNaN(date) ? undefined : Math.max(0, date - nowMs);
}
