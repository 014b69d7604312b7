/**
 * Go's way of printing values (`fmt`), for values that came as JSON: `%v` of an object is a map's,
 * sorted by key. Source: the documentation of Go's `fmt`.
 */

/**
 * A `null` of which it is known what Go's type would be: it prints as an empty list or map, or as
 * `<nil>`, and is still `null` in JSON.
 */
export class GoNil {
  readonly of: 'slice' | 'map' | 'pointer';

  constructor(of: 'slice' | 'map' | 'pointer') {
    this.of = of;
  }

  toJSON(): null {
    return null;
  }
}

/** Keys in Go's order: by their UTF-8 bytes. */
export function sortedKeys(value: object): string[] {
  return Object.keys(value).sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)));
}

/** `%v` of a float64: the shortest text, with an exponent below -4 and from 21 on. */
function formatNumber(value: number): string {
  if (Number.isNaN(value)) return 'NaN';
  if (!Number.isFinite(value)) return value < 0 ? '-Inf' : '+Inf';
  const abs = Math.abs(value);
  if (abs !== 0 && (abs < 1e-4 || abs >= 1e21)) return goExponent(value.toExponential());
  return String(value);
}

/** JavaScript writes `1e-7`, Go `1e-07`. */
function goExponent(text: string): string {
  return text.replace(/e([+-])(\d)$/, 'e$10$2');
}

/** `%v`. */
export function formatValue(value: unknown, top = true): string {
  if (value === undefined || value === null) return top ? '<no value>' : '<nil>';
  if (value instanceof GoNil) {
    return value.of === 'slice' ? '[]' : value.of === 'map' ? 'map[]' : '<nil>';
  }
  if (typeof value === 'number') return formatNumber(value);
  if (typeof value === 'string') return value;
  if (Array.isArray(value)) return `[${value.map((v) => formatValue(v, false)).join(' ')}]`;
  if (typeof value === 'object') {
    const pairs = sortedKeys(value).map(
      (key) => `${key}:${formatValue((value as Record<string, unknown>)[key], false)}`,
    );
    return `map[${pairs.join(' ')}]`;
  }
  return typeof value === 'boolean' ? String(value) : `(${typeof value})`;
}

/** Go's type of a value, as error messages name it. */
export function goTypeOf(value: unknown): string {
  if (value === null || value === undefined) return '<nil>';
  if (Array.isArray(value)) return '[]interface {}';
  if (typeof value === 'boolean') return 'bool';
  if (typeof value === 'number') return Number.isInteger(value) ? 'int' : 'float64';
  if (typeof value === 'object') return 'map[string]interface {}';
  return typeof value;
}

/** JSON as Docker's templates give it: no escapes for HTML, but those that JavaScript needed. */
export function formatJson(value: unknown): string {
  const text = JSON.stringify(value === undefined ? null : value);
  return text.replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029');
}

/** `%q`: a Go string literal. */
export function quoteGo(text: string): string {
  return JSON.stringify(text)
    .replace(/\\u00([01][0-9a-f])/g, '\\x$1')
    .replaceAll('\\x07', '\\a')
    .replaceAll('\\x0b', '\\v')
    .replaceAll('\x7f', '\\x7f');
}

type Spec = {
  readonly flags: string;
  readonly width: number | undefined;
  readonly precision: number | undefined;
  readonly verb: string;
};

function pad(text: string, spec: Spec): string {
  if (spec.width === undefined) return text;
  const missing = spec.width - Array.from(text).length;
  if (missing <= 0) return text;
  if (spec.flags.includes('-')) return text + ' '.repeat(missing);
  if (!spec.flags.includes('0')) return ' '.repeat(missing) + text;
  const sign = /^[+-]/.exec(text)?.[0] ?? '';
  return sign + '0'.repeat(missing) + text.slice(sign.length);
}

function signed(value: number, spec: Spec, text: string): string {
  if (value < 0) return `-${text}`;
  if (spec.flags.includes('+')) return `+${text}`;
  return spec.flags.includes(' ') ? ` ${text}` : text;
}

const BASES: Readonly<Record<string, number>> = { d: 10, x: 16, X: 16, o: 8, b: 2 };

function formatNumberVerb(value: number, spec: Spec): string | undefined {
  const { verb, precision } = spec;
  const abs = Math.abs(value);
  const base = BASES[verb];
  if (base !== undefined) {
    if (!Number.isInteger(value)) return undefined;
    const digits = abs.toString(base).padStart(precision ?? 0, '0');
    const prefix = spec.flags.includes('#') && base === 16 ? `0${verb}` : '';
    return signed(value, spec, prefix + (verb === 'X' ? digits.toUpperCase() : digits));
  }
  switch (verb) {
    case 'c':
      return Number.isInteger(value) ? String.fromCodePoint(abs) : undefined;
    case 'q':
      return Number.isInteger(value) ? `'${String.fromCodePoint(abs)}'` : undefined;
    case 'U':
      return `U+${abs.toString(16).toUpperCase().padStart(4, '0')}`;
    case 'f':
    case 'F':
      return signed(value, spec, abs.toFixed(Math.min(precision ?? 6, 100)));
    case 'e':
    case 'E': {
      const text = goExponent(abs.toExponential(Math.min(precision ?? 6, 100)));
      return signed(value, spec, verb === 'E' ? text.toUpperCase() : text);
    }
    case 'g':
    case 'G': {
      const shown =
        precision === undefined
          ? abs
          : Number(abs.toPrecision(Math.max(1, Math.min(precision, 100))));
      return signed(value, spec, formatNumber(shown));
    }
    default:
      return undefined;
  }
}

function formatTextVerb(value: string, spec: Spec): string | undefined {
  const cut =
    spec.precision === undefined ? value : Array.from(value).slice(0, spec.precision).join('');
  switch (spec.verb) {
    case 's':
      return cut;
    case 'q':
      return quoteGo(cut);
    case 'x':
      return Buffer.from(value).toString('hex');
    case 'X':
      return Buffer.from(value).toString('hex').toUpperCase();
    default:
      return undefined;
  }
}

function formatArgument(value: unknown, spec: Spec): string {
  if (spec.verb === 'T') return goTypeOf(value);
  if (spec.verb === 'v') {
    const text =
      typeof value === 'string' && spec.flags.includes('#')
        ? quoteGo(value)
        : formatValue(value, false);
    return spec.precision === undefined ? text : Array.from(text).slice(0, spec.precision).join('');
  }
  let text: string | undefined;
  if (typeof value === 'number') text = formatNumberVerb(value, spec);
  else if (typeof value === 'string') text = formatTextVerb(value, spec);
  else if (typeof value === 'boolean') text = spec.verb === 't' ? String(value) : undefined;
  else if (Array.isArray(value)) {
    return `[${value.map((each) => formatArgument(each, spec)).join(' ')}]`;
  } else if (typeof value === 'object' && value !== null && !(value instanceof GoNil)) {
    const pairs = sortedKeys(value).map(
      (key) => `${key}:${formatArgument((value as Record<string, unknown>)[key], spec)}`,
    );
    return `map[${pairs.join(' ')}]`;
  }
  if (text !== undefined) return text;
  if (value === null || value === undefined) return `%!${spec.verb}(<nil>)`;
  return `%!${spec.verb}(${goTypeOf(value)}=${formatValue(value, false)})`;
}

const VERB = /%([-+# 0]*)(\d+|\*)?(?:\.(\d+|\*)?)?(.)?/gsu;
/** Width and precision; Go has the same bound. */
const WIDTH_MAX = 1_000_000;

/** Go's `fmt.Sprintf`, with its marks for what does not fit: `%!d(string=x)`, `%!s(MISSING)`. */
export function sprintf(format: string, values: readonly unknown[]): string {
  let used = 0;
  const take = (): number | undefined => {
    const value = values[used++];
    return typeof value === 'number' && Math.abs(value) <= WIDTH_MAX ? value : undefined;
  };
  const measure = (text: string | undefined): number | undefined => {
    if (text === '*') return take();
    return text === undefined ? undefined : Math.min(Number(text), WIDTH_MAX);
  };
  const out = format.replace(
    VERB,
    (all: string, flags: string, width?: string, precision?: string, verb?: string) => {
      if (verb === undefined) return '%!(NOVERB)';
      if (verb === '%') return '%';
      const at = measure(width);
      const dotted = all.slice(1 + flags.length + (width?.length ?? 0)).startsWith('.');
      const spec: Spec = {
        flags: at !== undefined && at < 0 ? `${flags}-` : flags,
        width: at === undefined ? undefined : Math.abs(at),
        precision: dotted ? (measure(precision) ?? 0) : undefined,
        verb,
      };
      if (used >= values.length) return `%!${verb}(MISSING)`;
      return pad(formatArgument(values[used++], spec), spec);
    },
  );
  const extra = values
    .slice(used)
    .map((value) => (value === null ? '<nil>' : `${goTypeOf(value)}=${formatValue(value, false)}`));
  return extra.length === 0 ? out : `${out}%!(EXTRA ${extra.join(', ')})`;
}
