import { invalidArgument } from '../../base/errors.ts';
import { type Decoder, decodeJson, map } from '../../spec/decode.ts';
import { type AuthConfig, authConfig } from '../../spec/docker/auth.ts';
import { type Filters, parseFilters } from '../../spec/filters.ts';
import type { HeaderField, QueryField } from './endpoint.ts';

/**
 * Decoders of query parameters and headers with the manners of Docker's daemon (`api/server/
 * httputils/form.go`): of a repeated parameter the first counts, a boolean is anything but
 * '', 0, no, false and none.
 */

const FALSE = new Set(['', '0', 'no', 'false', 'none']);

function isTrue(value: string): boolean {
  return !FALSE.has(value.trim().toLowerCase());
}

function booleanField(absent: boolean): QueryField<boolean> {
  return {
    decode: (_name, values) => (values[0] === undefined ? absent : isTrue(values[0])),
    encode: (value) => (value === absent ? [] : [value ? '1' : '0']),
  };
}

/** A boolean, false when absent. */
export const flag = booleanField(false);
/** A boolean, true when absent. */
export const flagTrue = booleanField(true);

/** A string, '' when absent. */
export const text: QueryField<string> = {
  decode: (_name, values) => values[0] ?? '',
  encode: (value) => (value === '' ? [] : [value]),
};

/** Every value of a parameter that may be given several times. */
export const texts: QueryField<readonly string[]> = {
  decode: (_name, values) => values,
  encode: (value) => value,
};

/** An integer within ±2^53; undefined when absent or empty. */
export const integer: QueryField<number | undefined> = {
  decode: (_name, values) => {
    const given = values[0];
    if (given === undefined || given === '') return undefined;
    if (!/^[+-]?\d+$/.test(given)) {
      throw invalidArgument(`strconv.Atoi: parsing ${JSON.stringify(given)}: invalid syntax`);
    }
    const number = Number(given);
    if (!Number.isSafeInteger(number)) {
      throw invalidArgument(`strconv.Atoi: parsing ${JSON.stringify(given)}: value out of range`);
    }
    return number;
  },
  encode: (value) => (value === undefined ? [] : [String(value)]),
};

/** `filters={"label":["a=b"]}`. */
export const filters: QueryField<Filters> = {
  decode: (_name, values) => parseFilters(values[0] ?? ''),
  encode: (value) => (Object.keys(value).length === 0 ? [] : [JSON.stringify(value)]),
};

/** A parameter that holds JSON; absent gives the decoder's zero value. */
export function jsonText<T>(decoder: Decoder<T>): QueryField<T> {
  return {
    decode: (name, values) => {
      const given = values[0] ?? '';
      if (given === '') return decoder.zero();
      try {
        return decodeJson(decoder, given);
      } catch (cause) {
        throw invalidArgument(`invalid value of parameter ${name}: not what is expected`, {
          cause,
        });
      }
    },
    encode: (value) => [JSON.stringify(value)],
  };
}

function jsonHeader<T>(name: string, decoder: Decoder<T>): HeaderField<T | undefined> {
  return {
    name,
    decode: (value) => {
      if (value === undefined || value === '') return undefined;
      try {
        return decodeJson(decoder, Buffer.from(value, 'base64url').toString());
      } catch (cause) {
        throw invalidArgument(`invalid ${name} header: want JSON in base64url`, { cause });
      }
    },
    encode: (value) =>
      value === undefined ? undefined : Buffer.from(JSON.stringify(value)).toString('base64url'),
  };
}

/** Credentials for the one registry that a call talks to. */
export const registryAuth: HeaderField<AuthConfig | undefined> = jsonHeader(
  'X-Registry-Auth',
  authConfig,
);
/** Credentials by registry, for a build. */
export const registryConfig: HeaderField<Record<string, AuthConfig> | undefined> = jsonHeader(
  'X-Registry-Config',
  map(authConfig),
);
/** The request's content type, for archives; '' when absent. */
export const contentType: HeaderField<string> = {
  name: 'Content-Type',
  decode: (value) => value ?? '',
  encode: (value) => (value === '' ? undefined : value),
};
/** What program asks, by its own account; '' when it does not say. */
export const userAgent: HeaderField<string> = {
  name: 'User-Agent',
  decode: (value) => value ?? '',
  encode: (value) => (value === '' ? undefined : value),
};
