/** Time, passed in so that tests can move it. */
export type Clock = {
  /** Milliseconds since the epoch. */
  readonly nowMs: () => number;
  /** Nanoseconds since the epoch; resolution is the platform's. */
  readonly nowNs: () => bigint;
  /** Milliseconds of a monotonic clock with an arbitrary origin. */
  readonly monotonicMs: () => number;
  /** Resolves after `ms`, or rejects with the signal's reason. The timer does not keep a process alive when `unref` is set. */
  readonly sleep: (
    ms: number,
    options?: { signal?: AbortSignal; unref?: boolean },
  ) => Promise<void>;
};

/**
 * Tells from now on the age in milliseconds of what is `sofarMs` old now. By the clock that nobody
 * sets: a board without a battery starts in 1970, and the jump to the true year is no time that
 * passed.
 */
export function ageFrom(clock: Pick<Clock, 'monotonicMs'>, sofarMs: number): () => number {
  const beginMs = clock.monotonicMs() - sofarMs;
  return () => clock.monotonicMs() - beginMs;
}

/** RFC 3339 with nanoseconds, the way Go writes a time: trailing zeros of the fraction cut, `Z`. */
export function formatTimeNs(ns: bigint): string {
  const seconds = ns / 1_000_000_000n;
  const rest = ns % 1_000_000_000n;
  const whole = new Date(Number(seconds) * 1000).toISOString().slice(0, 19);
  if (rest === 0n) return `${whole}Z`;
  return `${whole}.${rest.toString().padStart(9, '0').replace(/0+$/, '')}Z`;
}

/** {@link formatTimeNs} for milliseconds. */
export function formatTimeMs(ms: number): string {
  return formatTimeNs(BigInt(Math.trunc(ms)) * 1_000_000n);
}

/**
 * Negative when the first of two times of {@link formatTimeNs} is the earlier one, 0 when they are
 * the same. As they stand they do not sort: `.1Z` comes after `.12Z`.
 */
export function compareTimes(a: string, b: string): number {
  const [first, second] = [a.slice(0, -1), b.slice(0, -1)];
  return first < second ? -1 : first > second ? 1 : 0;
}

/** Go's zero time, which Docker sends for "never". */
export const ZERO_TIME = '0001-01-01T00:00:00Z';

const RFC3339 =
  /^(\d{4})-(\d\d)-(\d\d)[Tt](\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:[Zz]|([+-])(\d\d):(\d\d))$/;

/** Nanoseconds since the epoch of an RFC 3339 time; undefined when it is not one. */
export function parseTimeNs(text: string): bigint | undefined {
  const m = RFC3339.exec(text);
  if (m === null) return undefined;
  const seconds = Date.parse(`${m[1]}-${m[2]}-${m[3]}T${m[4]}:${m[5]}:${m[6]}Z`);
  if (Number.isNaN(seconds)) return undefined;
  const offsetMinutes = m[8] === undefined ? 0 : Number(m[9]) * 60 + Number(m[10]);
  const shift = m[8] === '-' ? offsetMinutes : -offsetMinutes;
  const fraction = BigInt((m[7] ?? '').padEnd(9, '0'));
  return BigInt(seconds) * 1_000_000n + BigInt(shift) * 60_000_000_000n + fraction;
}
