import { formatJson, formatValue, GoNil, goTypeOf, sprintf } from './gotemplate-print.ts';

/**
 * What a template may call: the functions of Go's `text/template`, and those that Docker adds
 * (json, split, join, title, lower, upper, pad, truncate). A function gets evaluated arguments and
 * throws an Error whose message is the cause that Go would give. `and` and `or` stop early and are
 * the executor's.
 */
export type TemplateFunction = (...args: readonly unknown[]) => unknown;

function arity(name: string, args: readonly unknown[], count: number): void {
  if (args.length !== count) {
    throw new Error(`wrong number of args for ${name}: want ${count} got ${args.length}`);
  }
}

function text(value: unknown): string {
  if (typeof value === 'string') return value;
  throw new Error(`wrong type for value; expected string; got ${goTypeOf(value)}`);
}

function count(value: unknown): number {
  if (typeof value === 'number' && Number.isInteger(value)) return value;
  throw new Error(`wrong type for value; expected int; got ${goTypeOf(value)}`);
}

/** Go's truth: false, 0, '', nil and what is empty are false. */
export function isTrue(value: unknown): boolean {
  if (value === null || value === undefined || value instanceof GoNil) return false;
  if (Array.isArray(value)) return value.length > 0;
  if (typeof value === 'object') return isStruct(value) || Object.keys(value).length > 0;
  return Boolean(value);
}

/** Marks an object as a Go struct: asking for a field that it lacks is an error that names its type. */
export const STRUCT = Symbol('name of the Go type');

/** True for an object marked with {@link STRUCT}. */
export function isStruct(value: object): value is { readonly [STRUCT]: string } {
  return STRUCT in value;
}

function indexOne(container: unknown, key: unknown): unknown {
  if (container === null || container === undefined) throw new Error('index of untyped nil');
  if (container instanceof GoNil) {
    if (container.of === 'map') return '';
    if (container.of === 'slice') throw new Error(`index out of range: ${formatValue(key)}`);
    throw new Error('index of nil pointer');
  }
  if (Array.isArray(container) || typeof container === 'string') {
    if (typeof key !== 'number' || !Number.isInteger(key)) {
      throw new Error(`cannot index slice/array with type ${goTypeOf(key)}`);
    }
    const bytes = typeof container === 'string' ? Buffer.from(container) : container;
    if (key < 0 || key >= bytes.length) throw new Error(`index out of range: ${key}`);
    return bytes[key];
  }
  if (typeof container === 'object') {
    if (typeof key !== 'string') {
      throw new Error(`value has type ${goTypeOf(key)}; should be string`);
    }
    return Object.hasOwn(container, key) ? (container as Record<string, unknown>)[key] : undefined;
  }
  throw new Error(`can't index item of type ${goTypeOf(container)}`);
}

function slice(item: unknown, ...bounds: readonly unknown[]): unknown {
  if (item instanceof GoNil && item.of === 'slice') return slice([], ...bounds);
  if (typeof item !== 'string' && !Array.isArray(item)) {
    throw new Error(`can't slice item of type ${goTypeOf(item)}`);
  }
  if (bounds.length > 3) throw new Error(`too many slice indexes: ${bounds.length}`);
  const whole = typeof item === 'string' ? Buffer.from(item) : item;
  const [from = 0, to = whole.length] = bounds.map(count);
  for (const bound of [from, to]) {
    if (bound < 0 || bound > whole.length) throw new Error(`index out of range: ${bound}`);
  }
  if (from > to) throw new Error(`invalid slice index: ${from} > ${to}`);
  return Buffer.isBuffer(whole) ? whole.subarray(from, to).toString() : whole.slice(from, to);
}

function length(item: unknown): number {
  if (item instanceof GoNil && item.of !== 'pointer') return 0;
  if (typeof item === 'string') return Buffer.byteLength(item);
  if (Array.isArray(item)) return item.length;
  if (typeof item === 'object' && item !== null) return Object.keys(item).length;
  if (item === null || item === undefined) throw new Error('len of nil pointer');
  throw new Error(`len of type ${goTypeOf(item)}`);
}

type Basic = 'bool' | 'number' | 'string' | 'nil';

function basicKind(value: unknown): Basic {
  if (value === null || value === undefined || value instanceof GoNil) return 'nil';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return 'number';
  if (typeof value === 'string') return 'string';
  throw new Error('non-comparable type for comparison');
}

function equal(a: unknown, b: unknown): boolean {
  const kinds = [basicKind(a), basicKind(b)];
  if (kinds.includes('nil')) return kinds[0] === kinds[1];
  if (kinds[0] !== kinds[1]) throw new Error('incompatible types for comparison');
  return a === b;
}

function less(a: unknown, b: unknown): boolean {
  const kinds = [basicKind(a), basicKind(b)];
  if (kinds[0] !== kinds[1]) throw new Error('incompatible types for comparison');
  if (typeof a === 'number' && typeof b === 'number') return a < b;
  if (typeof a === 'string' && typeof b === 'string') {
    return Buffer.compare(Buffer.from(a), Buffer.from(b)) < 0;
  }
  throw new Error('invalid type for comparison');
}

function compare(name: string, test: (a: unknown, b: unknown) => boolean): TemplateFunction {
  return (...args) => {
    arity(name, args, 2);
    return test(args[0], args[1]);
  };
}

/** Go's Sprint: a space between operands when neither is a string. */
function sprint(args: readonly unknown[]): string {
  let out = '';
  args.forEach((value, i) => {
    const spaced = i > 0 && typeof value !== 'string' && typeof args[i - 1] !== 'string';
    out += (spaced ? ' ' : '') + formatValue(value, false);
  });
  return out;
}

const HTML: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&#34;',
  "'": '&#39;',
  '\0': '\ufffd',
};

const JS: Readonly<Record<string, string>> = {
  '\\': '\\\\',
  "'": "\\'",
  '"': '\\"',
  '<': '\\u003C',
  '>': '\\u003E',
  '&': '\\u0026',
  '=': '\\u003D',
};

function escapeJs(value: string): string {
  return value.replace(/[\\'"<>&=\x00-\x1f]/g, (char) => {
    return JS[char] ?? `\\u${char.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}`;
  });
}

function escapeQuery(value: string): string {
  return encodeURIComponent(value)
    .replace(/[!'()*]/g, (c) => `%${c.charCodeAt(0).toString(16).toUpperCase()}`)
    .replaceAll('%20', '+');
}

function pad(value: unknown, before: unknown, after: unknown): string {
  const shown = text(value);
  if (shown === '') return shown;
  return ' '.repeat(Math.max(0, count(before))) + shown + ' '.repeat(Math.max(0, count(after)));
}

function truncate(value: unknown, max: unknown): string {
  const shown = text(value);
  const length = count(max);
  return Buffer.byteLength(shown) < length
    ? shown
    : Buffer.from(shown).subarray(0, Math.max(0, length)).toString();
}

function join(list: unknown, separator: unknown): string {
  if (list instanceof GoNil && list.of === 'slice') return '';
  if (!Array.isArray(list)) {
    throw new Error(`wrong type for value; expected []string; got ${goTypeOf(list)}`);
  }
  return list.map(text).join(text(separator));
}

/** `fn` with its number of arguments checked. */
function fixed(name: string, wanted: number, fn: TemplateFunction): [string, TemplateFunction] {
  return [
    name,
    (...args) => {
      arity(name, args, wanted);
      return fn(...args);
    },
  ];
}

/** Every function that templates may call, by name. */
export const TEMPLATE_FUNCTIONS: ReadonlyMap<string, TemplateFunction> = new Map<
  string,
  TemplateFunction
>([
  fixed('not', 1, (value) => !isTrue(value)),
  fixed('len', 1, length),
  ['index', (item, ...keys) => keys.reduce(indexOne, item)],
  ['slice', slice],
  ['print', (...args) => sprint(args)],
  ['println', (...args) => `${args.map((value) => formatValue(value, false)).join(' ')}\n`],
  ['printf', (format, ...args) => sprintf(text(format), args)],
  ['html', (...args) => sprint(args).replace(/[&<>"'\0]/g, (char) => HTML[char] ?? char)],
  ['js', (...args) => escapeJs(sprint(args))],
  ['urlquery', (...args) => escapeQuery(sprint(args))],
  [
    'eq',
    (first, ...rest) => {
      if (rest.length === 0) throw new Error('missing argument for comparison');
      return rest.some((each) => equal(first, each));
    },
  ],
  ['ne', compare('ne', (a, b) => !equal(a, b))],
  ['lt', compare('lt', less)],
  ['le', compare('le', (a, b) => !less(b, a))],
  ['gt', compare('gt', (a, b) => less(b, a))],
  ['ge', compare('ge', (a, b) => !less(a, b))],
  fixed('json', 1, formatJson),
  fixed('split', 2, (value, separator) => text(value).split(text(separator))),
  fixed('join', 2, join),
  fixed('title', 1, (value) =>
    text(value).replace(
      /(^|[^\p{L}\p{N}_'])(\p{L})/gu,
      (_all, before: string, letter: string) => before + letter.toUpperCase(),
    ),
  ),
  fixed('lower', 1, (value) => text(value).toLowerCase()),
  fixed('upper', 1, (value) => text(value).toUpperCase()),
  fixed('pad', 3, pad),
  fixed('truncate', 2, truncate),
]);
