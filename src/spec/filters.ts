import { invalidArgument } from '../base/errors.ts';
import { parseTimestampNs } from '../base/timestamp.ts';

/**
 * Filters of list, prune and events calls: each key with the values that were given for it.
 * On the wire `{"key":["v"]}` or, from older clients, `{"key":{"v":true}}` (Docker,
 * `api/types/filters`).
 */
export type Filters = Readonly<Record<string, readonly string[]>>;

/** Decodes the `filters` query parameter; '' gives none. @throws invalidArgument */
export function parseFilters(text: string): Filters {
  if (text === '') return {};
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalidArgument('invalid filter', { cause });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw invalidArgument('invalid filter');
  }
  const filters: [string, string[]][] = [];
  for (const [key, each] of Object.entries(value)) {
    let values: unknown[];
    if (Array.isArray(each)) values = each;
    else if (typeof each === 'object' && each !== null) {
      values = Object.entries(each).flatMap(([name, on]) => (on === true ? [name] : []));
    } else throw invalidArgument('invalid filter');
    if (!values.every((v) => typeof v === 'string')) throw invalidArgument('invalid filter');
    filters.push([key, values]);
  }
  return Object.fromEntries(filters);
}

/** @throws invalidArgument for a key that is not in `known`, with Docker's text */
export function checkFilterKeys(filters: Filters, known: readonly string[]): void {
  for (const key of Object.keys(filters)) {
    if (!known.includes(key)) throw invalidArgument(`invalid filter '${key}'`);
  }
}

/** Docker's boolean filter values (`dangling=true`). Undefined when the key is absent. @throws invalidArgument */
export function booleanFilter(filters: Filters, key: string): boolean | undefined {
  const values = filters[key];
  if (values === undefined || values.length === 0) return undefined;
  const truthy = values.every((v) => v === 'true' || v === '1');
  const falsy = values.every((v) => v === 'false' || v === '0');
  if (!truthy && !falsy) {
    throw invalidArgument(`invalid filter '${key}=[${values.join(' ')}]'`);
  }
  return truthy;
}

/**
 * The time before which things must have been made for a prune to take them; undefined for any.
 * @throws invalidArgument for what is no time, and for more than one, with Docker's text
 */
export function pruneUntilNs(filters: Filters, nowNs: bigint): bigint | undefined {
  const [until, ...more] = filters['until'] ?? [];
  if (more.length > 0) throw invalidArgument('more than one until filter specified');
  return until === undefined ? undefined : parseTimestampNs(until, nowNs);
}

/** True when `labels` hold every `key` or `key=value` of the filter's values. */
export function matchLabels(
  wanted: readonly string[] | undefined,
  labels: Readonly<Record<string, string>>,
): boolean {
  return (wanted ?? []).every((each) => {
    const at = each.indexOf('=');
    if (at < 0) return Object.hasOwn(labels, each);
    const key = each.slice(0, at);
    return Object.hasOwn(labels, key) && labels[key] === each.slice(at + 1);
  });
}
