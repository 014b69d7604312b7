import { parseDurationNs } from '../base/duration.ts';
import { invalidArgument } from '../base/errors.ts';

/**
 * A time as flags take it (`42m` ago, a date, a date and time, Unix seconds) in the API's form:
 * seconds since the epoch, with nanoseconds where there are some. '' stays ''. `flag` is named in
 * the error when it is given.
 *
 * A date without a zone is in local time.
 * @throws invalidArgument
 */
export function apiTime(text: string, nowMs: number, flag = ''): string {
  if (text === '') return '';
  const ns = parseDurationNs(text);
  if (ns !== undefined) return seconds(BigInt(Math.trunc(nowMs)) * 1_000_000n - BigInt(ns));
  const m = DATE.exec(text);
  if (m !== null) {
    const [, day = '', hour = '00', minute = '00', second = '00', fraction = '', zone = ''] = m;
    const ms = Date.parse(`${day}T${hour}:${minute}:${second}${zone}`);
    if (!Number.isNaN(ms)) {
      return seconds(BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0').slice(0, 9)));
    }
  }
  if (/^\d+(?:\.\d{1,9})?$/.test(text)) return text;
  const where = flag === '' ? '' : `invalid value for "${flag}": `;
  throw invalidArgument(
    `${where}failed to parse value as time or duration: ${JSON.stringify(text)}`,
  );
}

const DATE =
  /^(\d{4}-\d{2}-\d{2})(?:T(\d{2})(?::(\d{2})(?::(\d{2})(?:\.(\d{1,9}))?)?)?)?(Z|[+-]\d{2}:\d{2})?$/;

function seconds(ns: bigint): string {
  const whole = ns / 1_000_000_000n;
  return `${whole}.${(ns % 1_000_000_000n).toString().padStart(9, '0')}`;
}
