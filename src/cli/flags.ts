import { durationFault, formatDurationNs, parseDurationNs } from '../base/duration.ts';
import { invalidArgument } from '../base/errors.ts';
import { type FlagHelp, type FlagShape, flagTitle, parseFlags } from '../formats/pflag.ts';

/**
 * One flag of a command: how it is written, shown, and read. A command declares its flags as an
 * object whose keys are their names, and gets their values with the types that follow from it:
 *
 *   const flags = { all: bool('a', 'Show all'), format: text('', 'Template'), filter: list(…) };
 *   FlagValues<typeof flags>   // { all: boolean, format: string, filter: readonly string[] }
 */
export type Flag<T> = {
  readonly shorthand: string;
  /** The word for its value in help; '' for booleans. */
  readonly type: string;
  readonly usage: string;
  readonly initial: T;
  readonly shownDefault: string;
  readonly bare: string | undefined;
  readonly hidden: boolean;
  /** What to say when it is used: `use --x instead`; '' for nothing. */
  readonly deprecated: string;
  /** The value after one more use. @throws invalidArgument or Error with the bare cause */
  parse(text: string, before: T): T;
};

export type FlagSet = Readonly<Record<string, Flag<unknown>>>;
type ValueOf<F> = F extends Flag<infer T> ? T : never;
export type FlagValues<F extends FlagSet> = { readonly [K in keyof F]: ValueOf<F[K]> };

/** Further traits of a flag. */
type Traits = {
  readonly hidden?: boolean;
  readonly deprecated?: string;
  readonly type?: string;
  readonly shownDefault?: string;
};

/** A flag of any type, from how one use of it is read. */
export function flag<T>(
  shorthand: string,
  usage: string,
  options: Traits & { readonly initial: T; readonly parse: (text: string, before: T) => T },
): Flag<T> {
  return {
    shorthand,
    usage,
    type: options.type ?? 'string',
    initial: options.initial,
    shownDefault: options.shownDefault ?? '',
    bare: undefined,
    hidden: options.hidden ?? false,
    deprecated: options.deprecated ?? '',
    parse: options.parse,
  };
}

const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

/** `--x`, `--x=false`. */
export function bool(
  shorthand: string,
  usage: string,
  options: Traits & { readonly initial?: boolean } = {},
): Flag<boolean> {
  const initial = options.initial ?? false;
  const parse = (text: string): boolean => {
    if (TRUE.includes(text)) return true;
    if (FALSE.includes(text)) return false;
    throw new Error(`strconv.ParseBool: parsing ${JSON.stringify(text)}: invalid syntax`);
  };
  const shownDefault = initial ? 'true' : '';
  return {
    ...flag(shorthand, usage, { shownDefault, type: '', ...options, initial, parse }),
    bare: 'true',
  };
}

/** A string; the last use counts. */
export function text(
  shorthand: string,
  usage: string,
  options: Traits & { readonly initial?: string } = {},
): Flag<string> {
  const initial = options.initial ?? '';
  const shownDefault = initial === '' ? '' : JSON.stringify(initial);
  return flag(shorthand, usage, { shownDefault, ...options, initial, parse: (value) => value });
}

/** An integer that Go would take (`0x10` too). @throws Error with strconv's words */
export function parseInteger(value: string, kind: 'ParseInt' | 'ParseUint' = 'ParseInt'): number {
  const quoted = JSON.stringify(value);
  const sign = kind === 'ParseInt' ? '[+-]?' : '';
  const syntax = new RegExp(`^${sign}(?:0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO]?[0-7]*|[1-9][0-9]*)$`);
  if (!syntax.test(value)) throw new Error(`strconv.${kind}: parsing ${quoted}: invalid syntax`);
  const digits = value.replace(/^[+-]/, '').replace(/^0(?=[0-7])/, '0o');
  const number = Number(digits) * (value.startsWith('-') ? -1 : 1);
  if (Math.abs(number) >= 2 ** 63) {
    throw new Error(`strconv.${kind}: parsing ${quoted}: value out of range`);
  }
  return number;
}

/** An integer; `initial` is shown unless it is 0. */
export function integer(
  shorthand: string,
  usage: string,
  options: Traits & {
    readonly initial?: number;
    readonly unsigned?: { readonly max: number };
  } = {},
): Flag<number> {
  const initial = options.initial ?? 0;
  const { unsigned } = options;
  const parse = (value: string): number => {
    const number = parseInteger(value, unsigned === undefined ? 'ParseInt' : 'ParseUint');
    if (unsigned !== undefined && number > unsigned.max) {
      throw new Error(`strconv.ParseUint: parsing ${JSON.stringify(value)}: value out of range`);
    }
    return number;
  };
  const shownDefault = initial === 0 ? '' : String(initial);
  return flag(shorthand, usage, { shownDefault, type: 'int', ...options, initial, parse });
}

/** A duration in nanoseconds, as Go writes it: `1m30s`. */
export function duration(shorthand: string, usage: string, initialNs = 0): Flag<number> {
  return flag(shorthand, usage, {
    type: 'duration',
    initial: initialNs,
    shownDefault: formatDurationNs(initialNs),
    parse: (value) => {
      const ns = parseDurationNs(value);
      if (ns === undefined) throw new Error(durationFault(value));
      return ns;
    },
  });
}

/** May be given several times; `item` checks and rewrites each value. */
export function list(
  shorthand: string,
  usage: string,
  options: Traits & { readonly item?: (value: string) => string } = {},
): Flag<readonly string[]> {
  const item = options.item ?? ((value: string) => value);
  return values(shorthand, usage, { ...options, item });
}

/** {@link list} of values that are not strings. */
export function values<T>(
  shorthand: string,
  usage: string,
  options: Traits & { readonly item: (value: string) => T },
): Flag<readonly T[]> {
  return flag<readonly T[]>(shorthand, usage, {
    type: 'list',
    ...options,
    initial: [],
    parse: (value, before) => [...before, options.item(value)],
  });
}

/** May be given several times, each with several values between commas. */
export function strings(
  shorthand: string,
  usage: string,
  options: Traits = {},
): Flag<readonly string[]> {
  return flag<readonly string[]>(shorthand, usage, {
    type: 'strings',
    ...options,
    initial: [],
    parse: (value, before) => [...before, ...(value === '' ? [] : splitCsv(value))],
  });
}

/** `key=value`, several times; the last of a key counts. */
export function pairs(
  shorthand: string,
  usage: string,
  options: Traits & { readonly check?: (value: string) => void } = {},
): Flag<Readonly<Record<string, string>>> {
  return flag<Readonly<Record<string, string>>>(shorthand, usage, {
    type: 'map',
    shownDefault: 'map[]',
    ...options,
    initial: {},
    parse: (value, before) => {
      options.check?.(value);
      const [key, each] = splitPair(value);
      return { ...before, [key]: each };
    },
  });
}

/** `a=b` as `['a', 'b']`; without `=` the value is ''. */
export function splitPair(value: string): [string, string] {
  const at = value.indexOf('=');
  return at < 0 ? [value, ''] : [value.slice(0, at), value.slice(at + 1)];
}

/** Fields of one CSV record, as Go's encoding/csv reads it. @throws Error */
export function splitCsv(record: string): string[] {
  const fields: string[] = [];
  let rest = record;
  for (;;) {
    if (rest.startsWith('"')) {
      const m = /^"((?:[^"]|"")*)"(,|$)/.exec(rest);
      if (m === null) {
        const stray = /^"(?:[^"]|"")*"(?!")/.exec(rest);
        const column = record.length - rest.length + (stray?.[0].length ?? rest.length + 1);
        throw new Error(
          `parse error on line 1, column ${column}: extraneous or missing " in quoted-field`,
        );
      }
      fields.push((m[1] ?? '').replaceAll('""', '"'));
      if (m[2] === '') return fields;
      rest = rest.slice(m[0].length);
    } else {
      const comma = rest.indexOf(',');
      const field = comma < 0 ? rest : rest.slice(0, comma);
      const quote = field.indexOf('"');
      if (quote >= 0) {
        const column = record.length - rest.length + quote + 1;
        throw new Error(`parse error on line 1, column ${column}: bare " in non-quoted-field`);
      }
      fields.push(field);
      if (comma < 0) return fields;
      rest = rest.slice(comma + 1);
    }
  }
}

export type ParsedCommandLine<F extends FlagSet> = {
  readonly values: FlagValues<F>;
  /** Names of the flags that were given. */
  readonly given: ReadonlySet<string>;
  readonly operands: readonly string[];
  /** Sentences about deprecated flags that were used. */
  readonly notes: readonly string[];
  /** `--help`, or `-h` where no flag has that letter. */
  readonly help: boolean;
};

type Shape = FlagShape & { readonly flag: Flag<unknown> };

const HELP: Shape = {
  name: 'help',
  shorthand: '',
  bare: 'true',
  flag: bool('', 'Print usage'),
};

/**
 * Reads a command's arguments by its flags.
 * @throws invalidArgument with pflag's texts
 */
export function readFlags<F extends FlagSet>(
  args: readonly string[],
  set: F,
  options: { readonly interspersed: boolean },
): ParsedCommandLine<F> {
  const shapes: Shape[] = Object.entries(set).map(([name, each]) => ({
    name,
    shorthand: each.shorthand,
    bare: each.bare,
    flag: each,
  }));
  const takesH = shapes.some((shape) => shape.shorthand === 'h');
  shapes.push(takesH ? HELP : { ...HELP, shorthand: 'h' });
  const parsed = parseFlags(args, shapes, options);
  const found: Record<string, unknown> = Object.fromEntries(
    Object.entries(set).map(([name, each]) => [name, each.initial]),
  );
  const given = new Set<string>();
  const notes: string[] = [];
  let help = false;
  for (const { flag: shape, value } of parsed.uses) {
    if (shape.name === 'help') {
      help = value !== 'false';
      continue;
    }
    try {
      found[shape.name] = shape.flag.parse(value, found[shape.name]);
    } catch (error) {
      const cause = error instanceof Error ? error.message : String(error);
      throw invalidArgument(
        `invalid argument ${JSON.stringify(value)} for "${flagTitle(shape)}" flag: ${cause}`,
        { cause: error },
      );
    }
    given.add(shape.name);
    if (shape.flag.deprecated !== '') {
      notes.push(`Flag --${shape.name} has been deprecated, ${shape.flag.deprecated}`);
    }
  }
  return { values: found as FlagValues<F>, given, operands: parsed.operands, notes, help };
}

/** The flags as help shows them; hidden ones are left out. */
export function helpRows(set: FlagSet): FlagHelp[] {
  return Object.entries(set)
    .filter(([, each]) => !each.hidden && each.deprecated === '')
    .map(([name, each]) => ({
      name,
      shorthand: each.shorthand,
      type: each.type,
      usage: each.usage,
      shownDefault: each.shownDefault,
    }));
}
