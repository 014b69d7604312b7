import { isEngineError } from '../../src/base/errors.ts';
import type { Decoder } from '../../src/spec/decode.ts';

/** The kinds of JSON that a place of a document may hold. */
export type Kind = 'number' | 'string' | 'boolean' | 'list' | 'object';

/** One of each kind, the emptiest there is. */
export const SAMPLES: Readonly<Record<Kind, unknown>> = {
  number: 7,
  string: 'x',
  boolean: true,
  list: [],
  object: {},
};
const KINDS = Object.keys(SAMPLES) as Kind[];

/** A place of a document: which kinds it takes, and the document that holds a value there. */
export type Place = {
  /** `Mounts[].BindOptions.Propagation`; `{}` for the values of free keys. */
  readonly path: string;
  readonly kinds: readonly Kind[];
  readonly document: (value: unknown) => unknown;
};

function accepts<T>(decoder: Decoder<T>, document: unknown): boolean {
  try {
    decoder.decode(document, '');
    return true;
  } catch (error) {
    if (isEngineError(error, 'invalidArgument')) return false;
    throw error;
  }
}

/**
 * Every place that a decoder looks at, found by asking it: what it refuses there tells the kind,
 * what it makes of an empty object tells the fields.
 */
export function placesOf<T>(decoder: Decoder<T>): Place[] {
  const found: Place[] = [];
  type Reach = {
    readonly path: string;
    readonly document: Place['document'];
    readonly value: (decoded: unknown) => unknown;
  };
  const walk = ({ path, document, value }: Reach): void => {
    const kinds = KINDS.filter((kind) => accepts(decoder, document(SAMPLES[kind])));
    if (path !== '') found.push({ path, kinds, document });
    if (kinds.includes('list')) {
      walk({
        path: `${path}[]`,
        document: (item) => document([item]),
        value: (decoded) => (value(decoded) as unknown[])[0],
      });
    }
    if (!kinds.includes('object')) return;
    const isMap = KINDS.some((kind) => !accepts(decoder, document({ k: SAMPLES[kind] })));
    const keys = isMap ? ['k'] : Object.keys(value(decoder.decode(document({}), '')) as object);
    for (const key of keys) {
      walk({
        path: isMap ? `${path}{}` : `${path}${path === '' ? '' : '.'}${key}`,
        document: (inner) => document({ [key]: inner }),
        value: (decoded) => (value(decoded) as Record<string, unknown>)[key],
      });
    }
  };
  walk({ path: '', document: (value) => value, value: (decoded) => decoded });
  return found;
}
