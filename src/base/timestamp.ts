import { parseTimeNs } from './clock.ts';
import { parseDurationNs } from './duration.ts';
import { invalidArgument } from './errors.ts';

/**
 * Points in time as filters and parameters give them. Source: moby `api/types/time/timestamp.go`.
 *
 *   10m, 1h30m                            that long ago
 *   1136073845, 1136073845.000000001      seconds since the epoch, with nanoseconds
 *   2006-01-02T15:04:05.999999999Z07:00   RFC 3339, and its beginnings without zone in local time
 */

const LOCAL_FORMS =
  /^(\d{4})-(\d\d)-(\d\d)(?:T(\d\d)(?::(\d\d)(?::(\d\d)(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d\d:\d\d)?$/;

/**
 * Nanoseconds since the epoch.
 * @throws invalidArgument
 */
export function parseTimestampNs(text: string, nowNs: bigint): bigint {
  const duration = text === '0' ? undefined : parseDurationNs(text);
  if (duration !== undefined) return nowNs - BigInt(duration);
  return parseUnixNs(text) ?? parseTimeNs(text) ?? parseLocal(text);
}

/** `seconds[.fraction]` in nanoseconds; undefined when it is not that. */
export function parseUnixNs(text: string): bigint | undefined {
  const m = /^(-?\d{1,15})(?:\.(\d{1,9}))?$/.exec(text);
  if (m === null) return undefined;
  const seconds = BigInt(m[1] ?? '0') * 1_000_000_000n;
  const fraction = BigInt((m[2] ?? '').padEnd(9, '0'));
  return text.startsWith('-') ? seconds - fraction : seconds + fraction;
}

function parseLocal(text: string): bigint {
  const m = LOCAL_FORMS.exec(text);
  if (m === null) {
    throw invalidArgument(`failed to parse value as time or duration: ${JSON.stringify(text)}`);
  }
  const [, year, month, day, hour, minute, second, fraction, zone] = m;
  const whole = `${year}-${month}-${day}T${hour ?? '00'}:${minute ?? '00'}:${second ?? '00'}`;
  const ms = Date.parse(`${whole}${zone ?? ''}`);
  if (Number.isNaN(ms)) {
    throw invalidArgument(`failed to parse value as time or duration: ${JSON.stringify(text)}`);
  }
  return BigInt(ms) * 1_000_000n + BigInt((fraction ?? '').padEnd(9, '0'));
}
