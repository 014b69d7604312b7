import { invalidArgument } from '../base/errors.ts';

/**
 * Decoders of outside JSON into typed values, with the manners of Go's `encoding/json`, which
 * Docker's clients rely on: a missing field and `null` give the zero value, unknown fields are
 * ignored, keys match without regard to case, and a value of the wrong type is one error that
 * names the field. (Exact key first, then case-insensitively, as Go does.)
 *
 * A decoder carries its zero value, so `struct` can fill in what is missing and a decoded value
 * never has holes.
 */
export type Decoder<T> = {
  /** A fresh zero value. */
  readonly zero: () => T;
  /** @throws invalidArgument naming `path` */
  readonly decode: (value: unknown, path: string) => T;
};

/** The type that a decoder gives. */
export type Decoded<D> = D extends Decoder<infer T> ? T : never;

const DEPTH_NAME: Readonly<Record<string, string>> = { boolean: 'bool', object: 'object' };

function goKind(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return DEPTH_NAME[typeof value] ?? typeof value;
}

function mismatch(value: unknown, path: string, goType: string): Error {
  const field = path === '' ? '' : ` field ${path}`;
  return invalidArgument(
    `json: cannot unmarshal ${goKind(value)} into Go ${field === '' ? 'value' : `struct${field}`} of type ${goType}`,
  );
}

function scalar<T>(goType: string, zero: T, accepts: (value: unknown) => value is T): Decoder<T> {
  return {
    zero: () => zero,
    decode: (value, path) => {
      if (value === null || value === undefined) return zero;
      if (!accepts(value)) throw mismatch(value, path, goType);
      return value;
    },
  };
}

export const string: Decoder<string> = scalar('string', '', (v) => typeof v === 'string');
export const bool: Decoder<boolean> = scalar('bool', false, (v) => typeof v === 'boolean');
/** The largest double that an int64 holds. */
const INT64_MAX = 2 ** 63 - 1024;

/**
 * `int64` of Go, with the precision of a double: its ends, which clients write for "no limit",
 * become the nearest double within.
 */
export const int: Decoder<number> = {
  zero: () => 0,
  decode: (value, path) => {
    if (value === null || value === undefined) return 0;
    if (typeof value !== 'number') throw mismatch(value, path, 'int64');
    if (!Number.isInteger(value) || Math.abs(value) > 2 ** 63) {
      throw invalidArgument(
        `json: cannot unmarshal number ${value} into Go struct field ${path} of type int64`,
      );
    }
    return Math.max(-INT64_MAX, Math.min(value, INT64_MAX));
  },
};
/** An integer that fits an unsigned 16-bit field. */
export const uint16: Decoder<number> = bounded(int, 0, 65_535, 'uint16');
/** `os.FileMode` and other integers of unsigned 32 bits. */
export const uint32: Decoder<number> = bounded(int, 0, 2 ** 32 - 1, 'uint32');
/** `uint64` of Go, as far as an int64 goes. */
export const uint: Decoder<number> = bounded(int, 0, INT64_MAX, 'uint64');
export const float: Decoder<number> = scalar('float64', 0, (v) => typeof v === 'number');
/** Any JSON value, untouched. */
export const json: Decoder<unknown> = { zero: () => null, decode: (value) => value ?? null };

function bounded(base: Decoder<number>, min: number, max: number, goType: string): Decoder<number> {
  return {
    zero: base.zero,
    decode: (value, path) => {
      const number = base.decode(value, path);
      if (number < min || number > max) {
        throw invalidArgument(
          `json: cannot unmarshal number ${number} into Go struct field ${path} of type ${goType}`,
        );
      }
      return number;
    },
  };
}

/** A list; missing and null give an empty one. */
export function array<T>(item: Decoder<T>): Decoder<T[]> {
  return {
    zero: () => [],
    decode: (value, path) => {
      if (value === null || value === undefined) return [];
      if (!Array.isArray(value)) throw mismatch(value, path, '[]');
      return value.map((each) => item.decode(each, path));
    },
  };
}

/** An object with free keys; missing and null give an empty one. Keys named `__proto__` are kept as data. */
export function map<T>(item: Decoder<T>): Decoder<Record<string, T>> {
  return {
    zero: () => ({}),
    decode: (value, path) => {
      if (value === null || value === undefined) return {};
      if (typeof value !== 'object' || Array.isArray(value)) throw mismatch(value, path, 'map');
      return Object.fromEntries(
        Object.entries(value).map(([key, each]) => [key, item.decode(each, path)]),
      );
    },
  };
}

/** Missing and null give null: a Go pointer, or a slice whose nil and empty differ. */
export function nullable<T>(inner: Decoder<T>): Decoder<T | null> {
  return {
    zero: () => null,
    decode: (value, path) =>
      value === null || value === undefined ? null : inner.decode(value, path),
  };
}

/** The decoder with another value for missing and null. */
export function withDefault<T>(inner: Decoder<T>, zero: () => T): Decoder<T> {
  return {
    zero,
    decode: (value, path) =>
      value === null || value === undefined ? zero() : inner.decode(value, path),
  };
}

/** A string or a list of strings, as `Cmd` and `Entrypoint` may be written (strslice.StrSlice). */
export const strings: Decoder<string[]> = {
  zero: () => [],
  decode: (value, path) =>
    typeof value === 'string' ? [value] : array(string).decode(value, path),
};

type Fields = Readonly<Record<string, Decoder<unknown>>>;
type Struct<F extends Fields> = { readonly [K in keyof F]: Decoded<F[K]> };

/** An object with known fields, every one of them present in what it gives. */
export function struct<F extends Fields>(name: string, fields: F): Decoder<Struct<F>> {
  const byLowerCase = new Map(Object.keys(fields).map((key) => [key.toLowerCase(), key]));
  return {
    zero: () =>
      Object.fromEntries(Object.entries(fields).map(([k, d]) => [k, d.zero()])) as Struct<F>,
    decode: (value, path) => {
      if (value !== null && value !== undefined) {
        if (typeof value !== 'object' || Array.isArray(value)) throw mismatch(value, path, name);
      }
      const given = new Map<string, unknown>();
      for (const [key, each] of Object.entries(value ?? {})) {
        const exact = Object.hasOwn(fields, key) ? key : byLowerCase.get(key.toLowerCase());
        if (exact !== undefined && (exact === key || !given.has(exact))) given.set(exact, each);
      }
      const out: Record<string, unknown> = {};
      for (const [key, decoder] of Object.entries(fields)) {
        out[key] = given.has(key)
          ? decoder.decode(given.get(key), `${path === '' ? name : path}.${key}`)
          : decoder.zero();
      }
      return out as Struct<F>;
    },
  };
}

/** Two structs as one flat object (Go's embedding). */
export function embed<A extends object, B extends object>(
  a: Decoder<A>,
  b: Decoder<B>,
): Decoder<A & B> {
  return {
    zero: () => ({ ...a.zero(), ...b.zero() }),
    decode: (value, path) => ({ ...a.decode(value, path), ...b.decode(value, path) }),
  };
}

/**
 * Decodes JSON text.
 * @throws invalidArgument for text that is not JSON or does not fit
 */
export function decodeJson<T>(decoder: Decoder<T>, text: string): T {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (cause) {
    throw invalidArgument(
      text.trim() === '' ? 'EOF' : `invalid JSON: ${cause instanceof Error ? cause.message : ''}`,
      { cause },
    );
  }
  return decoder.decode(value, '');
}
