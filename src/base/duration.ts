/**
 * Go's `time.Duration` text, as flags and filters take it and status lines show it.
 * Source: Go `time` package, ParseDuration; docker/go-units, HumanDuration.
 */

const UNIT_NS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  µs: 1e3,
  μs: 1e3,
  ms: 1e6,
  s: 1e9,
  m: 60e9,
  h: 3600e9,
};

/** Nanoseconds of `1h15m30.918273645s`, `-1.5h`, `0`; undefined when it is not a duration. */
export function parseDurationNs(text: string): number | undefined {
  const m = /^([+-]?)(.*)$/s.exec(text);
  if (m === null) return undefined;
  let rest = m[2] ?? '';
  if (rest === '0') return 0;
  if (rest === '') return undefined;
  let total = 0;
  while (rest !== '') {
    const part = /^(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)/.exec(rest);
    if (part === null) return undefined;
    total += Number(part[1]) * (UNIT_NS[part[2] ?? ''] ?? Number.NaN);
    rest = rest.slice(part[0].length);
  }
  return Math.round(m[1] === '-' ? -total : total);
}

/** Go's `Duration.String()`: `1h0m0s`, `1.5s`, `100ms`, `0s`. */
export function formatDurationNs(ns: number): string {
  if (ns === 0) return '0s';
  const sign = ns < 0 ? '-' : '';
  const abs = Math.abs(ns);
  if (abs < 1e3) return `${sign}${abs}ns`;
  if (abs < 1e6) return `${sign}${abs / 1e3}µs`;
  if (abs < 1e9) return `${sign}${abs / 1e6}ms`;
  const hours = Math.floor(abs / 3600e9);
  const minutes = Math.floor((abs % 3600e9) / 60e9);
  const seconds = (abs % 60e9) / 1e9;
  const head = hours > 0 ? `${hours}h${minutes}m` : minutes > 0 ? `${minutes}m` : '';
  return `${sign}${head}${seconds}s`;
}

/** "Less than a second", "5 seconds", "About a minute", "3 weeks": go-units' HumanDuration. */
export function humanDuration(ms: number): string {
  const seconds = Math.trunc(ms / 1000);
  if (seconds < 1) return 'Less than a second';
  if (seconds === 1) return '1 second';
  if (seconds < 60) return `${seconds} seconds`;
  const minutes = Math.trunc(ms / 60_000);
  if (minutes === 1) return 'About a minute';
  if (minutes < 60) return `${minutes} minutes`;
  const hours = Math.trunc(ms / 3_600_000 + 0.5);
  if (hours === 1) return 'About an hour';
  if (hours < 48) return `${hours} hours`;
  if (hours < 24 * 7 * 2) return `${Math.trunc(hours / 24)} days`;
  if (hours < 24 * 30 * 2) return `${Math.trunc(hours / 24 / 7)} weeks`;
  if (hours < 24 * 365 * 2) return `${Math.trunc(hours / 24 / 30)} months`;
  return `${Math.trunc(ms / 3_600_000 / 24 / 365)} years`;
}

/** Why a text is no duration, in the words of Go's time.ParseDuration. */
export function durationFault(text: string): string {
  const shown = JSON.stringify(text);
  const parts = /^[-+]?((?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))*/.exec(text)?.[0] ?? '';
  const rest = /^[-+]?(?:\d+\.?\d*|\.\d+)([^\d.]*)/.exec(
    parts === '' ? text : text.slice(parts.length),
  );
  if (rest === null) return `time: invalid duration ${shown}`;
  const unit = rest[1] ?? '';
  return unit === ''
    ? `time: missing unit in duration ${shown}`
    : `time: unknown unit ${JSON.stringify(unit)} in duration ${shown}`;
}
