import { humanDuration } from '../base/duration.ts';

/** How tables show things. */

/** `text` cut to `max` characters, the last one an ellipsis. Docker counts by characters. */
export function ellipsis(text: string, max: number): string {
  const characters = Array.from(text);
  if (characters.length <= max) return text;
  return max < 2 ? characters.slice(0, max).join('') : `${characters.slice(0, max - 1).join('')}…`;
}

/** `3 hours ago`; '' for no time. */
export function ago(seconds: number, nowMs: number): string {
  if (seconds <= 0) return 'N/A';
  return `${humanDuration(nowMs - seconds * 1000)} ago`;
}

const two = (value: number): string => String(value).padStart(2, '0');

/** Go's `Time.String()` in local time, whole seconds: `2026-01-02 15:04:05 +0100 CET`. */
export function goTime(seconds: number): string {
  const { day, time, zone, name } = localParts(new Date(seconds * 1000));
  return `${day} ${time} ${zone} ${name}`;
}

/** Go's `Time.String()` of an RFC 3339 time, in its own zone: `… 15:04:05.5 +0000 UTC`. */
export function goTimestamp(text: string): string {
  const m = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d(?:\.\d+)?)(?:Z|([+-]\d\d):(\d\d))$/.exec(text);
  if (m === null) return text;
  const zone = m[3] === undefined ? '+0000 UTC' : `${m[3]}${m[4]} ${m[3]}${m[4]}`;
  return `${m[1]} ${m[2]} ${zone}`;
}

type LocalParts = { day: string; time: string; zone: string; name: string };

function localParts(date: Date): LocalParts {
  const offset = -date.getTimezoneOffset();
  const minutes = Math.abs(offset);
  return {
    day: `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`,
    time: `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`,
    zone: `${offset < 0 ? '-' : '+'}${two(Math.trunc(minutes / 60))}${two(minutes % 60)}`,
    name: zoneName(date),
  };
}

/** `2026-01-02T15:04:05+01:00`, Go's RFC3339 in local time. */
export function rfc3339(seconds: number): string {
  const date = new Date(seconds * 1000);
  const offset = -date.getTimezoneOffset();
  if (offset === 0) return `${date.toISOString().slice(0, 19)}Z`;
  const shifted = new Date(date.getTime() + offset * 60_000).toISOString().slice(0, 19);
  const sign = offset < 0 ? '-' : '+';
  return `${shifted}${sign}${two(Math.trunc(Math.abs(offset) / 60))}:${two(Math.abs(offset) % 60)}`;
}

function zoneName(date: Date): string {
  if (date.getTimezoneOffset() === 0) return 'UTC';
  const parts = new Intl.DateTimeFormat('en', { timeZoneName: 'short' }).formatToParts(date);
  return parts.find((part) => part.type === 'timeZoneName')?.value ?? '';
}

/** Labels as a list shows them: `a=1,b=2`. */
export function labelText(labels: Readonly<Record<string, string>> | null): string {
  return Object.entries(labels ?? {})
    .map(([key, value]) => `${key}=${value}`)
    .toSorted()
    .join(',');
}

/** A Go string literal with what is not ASCII left alone. */
export function quoted(text: string): string {
  return JSON.stringify(text).replace(/\\u00([0-9a-f]{2})/g, '\\x$1');
}
