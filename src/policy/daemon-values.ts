import { parseSizeBinary } from '../base/bytes.ts';
import { invalidArgument } from '../base/errors.ts';
import { badFlagValue, type FlagWords } from './daemon-flags.ts';
import type { DaemonOption, OptionKind } from './daemon-options.ts';

/**
 * Values of options: flags and the file each give their own spelling, and both end as the same
 * {@link OptionValue}.
 */

/** A limit as Docker's JSON spells it. */
export type Ulimit = { readonly Name: string; readonly Soft: number; readonly Hard: number };
export type Runtime = { readonly path: string; readonly args: readonly string[] };
export type Pool = { readonly base: string; readonly size: number };

/** The type of each kind's value. */
export type OptionValue = {
  bool: boolean;
  int: number;
  string: string;
  list: readonly string[];
  map: Readonly<Record<string, string>>;
  bytes: number;
  runtimes: Readonly<Record<string, Runtime>>;
  ulimits: Readonly<Record<string, Ulimit>>;
  pools: readonly Pool[];
  json: unknown;
};

/** What was said, by key (or flag name where there is no key). */
export type Values = Readonly<Record<string, OptionValue[OptionKind]>>;

/** Where an option's value is kept in {@link Values}. */
export function valueName(option: DaemonOption): string {
  return option.key ?? option.flag ?? '';
}

/** The values that the flags give. @throws invalidArgument in pflag's words */
export function valuesOfFlags(flags: FlagWords): Values {
  const values: Record<string, OptionValue[OptionKind]> = {};
  for (const [option, words] of flags) values[valueName(option)] = fromWords(option, words);
  return values;
}

function fromWords(option: DaemonOption, words: readonly string[]): OptionValue[OptionKind] {
  const last = words.at(-1) ?? '';
  const fail = (word: string, cause: string): never => {
    throw badFlagValue(option, word, cause);
  };
  switch (option.kind) {
    case 'bool':
      return last === 'true';
    case 'string':
    case 'json':
      return last;
    case 'int':
      return parseInt64(last) ?? fail(last, `strconv.ParseInt: parsing "${last}": invalid syntax`);
    case 'list':
      return words;
    case 'bytes':
      return parseSizeBinary(last) ?? fail(last, `invalid size: '${last}'`);
    case 'map':
      return Object.fromEntries(words.map((word) => splitPair(word) ?? [word, '']));
    case 'runtimes':
      return Object.fromEntries(
        words.map((word) => {
          const pair = splitPair(word);
          if (pair === undefined || pair[0] === '' || pair[1] === '') {
            return fail(word, 'invalid runtime, must be formatted name=path');
          }
          return [pair[0], { path: pair[1], args: [] }];
        }),
      );
    case 'ulimits':
      return Object.fromEntries(
        words.map((word) => {
          const limit = parseUlimit(word);
          return typeof limit === 'string' ? fail(word, limit) : [limit.Name, limit];
        }),
      );
    case 'pools':
      return words.map((word) => {
        const pool = parsePool(word);
        return typeof pool === 'string' ? fail(word, pool) : pool;
      });
  }
}

function parseInt64(text: string): number | undefined {
  return /^[+-]?\d{1,15}$/.test(text) ? Number(text) : undefined;
}

function splitPair(word: string): [string, string] | undefined {
  const equals = word.indexOf('=');
  return equals < 0 ? undefined : [word.slice(0, equals), word.slice(equals + 1)];
}

function parseUlimit(word: string): Ulimit | string {
  const m = /^([a-z]+)=(-?\d+)(?::(-?\d+))?$/.exec(word);
  if (m === null) return `invalid ulimit argument: ${word}`;
  const Soft = Number(m[2]);
  const Hard = m[3] === undefined ? Soft : Number(m[3]);
  if (Hard !== -1 && (Soft === -1 || Soft > Hard)) {
    return `ulimit soft limit must be less than or equal to hard limit: ${Soft} > ${Hard}`;
  }
  return { Name: m[1] ?? '', Soft, Hard };
}

function parsePool(word: string): Pool | string {
  const fields = new Map(word.split(',').map((part) => splitPair(part.trim()) ?? [part, '']));
  const base = fields.get('base');
  const size = parseInt64(fields.get('size') ?? '');
  if (fields.size !== 2 || base === undefined || size === undefined) {
    return `invalid pool "${word}", must be formatted base=CIDR,size=BITS`;
  }
  return { base, size };
}

/** The value that the file gives for an option. @throws invalidArgument in encoding/json's words */
export function valueOfJson(option: DaemonOption, value: unknown): OptionValue[OptionKind] {
  const name = option.key ?? '';
  switch (option.kind) {
    case 'json':
      return value;
    case 'bool':
      return typeof value === 'boolean' ? value : mismatch(name, value, 'bool');
    case 'string':
      return typeof value === 'string' ? value : mismatch(name, value, 'string');
    case 'int':
      return typeof value === 'number' && Number.isSafeInteger(value)
        ? value
        : mismatch(name, value, 'int');
    case 'list':
      return listOf(name, value);
    case 'map':
      return objectOf(name, value, (field, of) =>
        typeof field === 'string' ? field : mismatch(of, field, 'string'),
      );
    case 'bytes':
      return bytesOf(name, value);
    case 'runtimes':
      return objectOf(name, value, runtimeOf);
    case 'ulimits':
      return objectOf(name, value, ulimitOf);
    case 'pools':
      return Array.isArray(value) ? value.map((p) => poolOf(name, p)) : mismatch(name, value, '[]');
  }
}

function kindOf(value: unknown): string {
  if (value === null) return 'null';
  if (Array.isArray(value)) return 'array';
  return typeof value === 'boolean' ? 'bool' : typeof value;
}

function mismatch(name: string, value: unknown, type: string): never {
  throw invalidArgument(
    `json: cannot unmarshal ${kindOf(value)} into Go struct field Config.${name} of type ${type}`,
  );
}

function listOf(name: string, value: unknown): readonly string[] {
  // One word is taken where a list is expected by `host-gateway-ip`, which was a string once.
  if (typeof value === 'string' && name === 'host-gateway-ip') return [value];
  if (!Array.isArray(value)) return mismatch(name, value, '[]string');
  return value.map((item: unknown) =>
    typeof item === 'string' ? item : mismatch(name, item, 'string'),
  );
}

function objectOf<T>(
  name: string,
  value: unknown,
  each: (field: unknown, name: string) => T,
): Readonly<Record<string, T>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    return mismatch(name, value, 'map[string]');
  }
  return Object.fromEntries(
    Object.entries(value).map(([key, field]) => [key, each(field, `${name}.${key}`)]),
  );
}

function bytesOf(name: string, value: unknown): number {
  if (typeof value === 'number' && Number.isSafeInteger(value) && value >= 0) return value;
  const bytes = typeof value === 'string' ? parseSizeBinary(value) : undefined;
  if (bytes === undefined) throw invalidArgument(`${name}: invalid size: '${String(value)}'`);
  return bytes;
}

function runtimeOf(value: unknown, name: string): Runtime {
  const fields = objectOf(name, value, (field) => field);
  const path = fields['path'] ?? fields['runtimeType'];
  if (typeof path !== 'string' || path === '') {
    throw invalidArgument(`${name}: either a runtimeType or a path must be configured`);
  }
  if (fields['path'] === undefined) {
    throw invalidArgument(`${name}: runtimeType is containerd's. Give the path of an OCI runtime`);
  }
  const args = fields['runtimeArgs'] ?? [];
  return { path, args: listOf(`${name}.runtimeArgs`, args) };
}

function ulimitOf(value: unknown, name: string): Ulimit {
  const fields = objectOf(name, value, (field) => field);
  const int = (key: string): number => {
    const field = fields[key];
    return Number.isSafeInteger(field)
      ? (field as number)
      : mismatch(`${name}.${key}`, field, 'int64');
  };
  return { Name: name.slice(name.lastIndexOf('.') + 1), Soft: int('Soft'), Hard: int('Hard') };
}

function poolOf(name: string, value: unknown): Pool {
  const fields = objectOf(name, value, (field) => field);
  const { base, size } = fields;
  if (typeof base !== 'string') return mismatch(`${name}.base`, base, 'string');
  return Number.isSafeInteger(size)
    ? { base, size: size as number }
    : mismatch(`${name}.size`, size, 'int');
}
