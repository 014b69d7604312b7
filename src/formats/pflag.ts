import { invalidArgument } from '../base/errors.ts';

/**
 * The grammar of command line flags that Docker's CLI has (spf13/pflag):
 *
 *   --name value  --name=value  -n value  -nvalue  -n=value  -abc  --  -
 *
 * A flag with a value of its own when none is given (booleans: `true`) never takes the next
 * argument. Everything behind `--` is an operand. Where operands end the flags (`docker run IMAGE
 * -x`), all from the first one on are operands.
 */
export type FlagShape = {
  readonly name: string;
  /** One letter; '' for none. */
  readonly shorthand: string;
  /** The value of a flag that is given without one; undefined when it needs one. */
  readonly bare: string | undefined;
};

export type FlagUse<F extends FlagShape> = { readonly flag: F; readonly value: string };

export type ParsedFlags<F extends FlagShape> = {
  /** In the order given. */
  readonly uses: readonly FlagUse<F>[];
  readonly operands: readonly string[];
};

/**
 * Splits arguments into flags and operands; values are not looked at.
 * @throws invalidArgument with pflag's texts
 */
export function parseFlags<F extends FlagShape>(
  args: readonly string[],
  flags: readonly F[],
  options: { readonly interspersed: boolean },
): ParsedFlags<F> {
  const byName = new Map(flags.map((flag) => [flag.name, flag]));
  const byLetter = new Map(
    flags.filter((flag) => flag.shorthand !== '').map((flag) => [flag.shorthand, flag]),
  );
  const uses: FlagUse<F>[] = [];
  const operands: string[] = [];
  const rest = [...args];
  for (let arg = rest.shift(); arg !== undefined; arg = rest.shift()) {
    if (arg === '--') {
      operands.push(...rest.splice(0));
    } else if (arg.startsWith('--')) {
      uses.push(parseLong(arg, byName, rest));
    } else if (arg.startsWith('-') && arg !== '-') {
      uses.push(...parseShort(arg, byLetter, rest));
    } else {
      operands.push(arg);
      if (!options.interspersed) operands.push(...rest.splice(0));
    }
  }
  return { uses, operands };
}

function parseLong<F extends FlagShape>(
  arg: string,
  byName: ReadonlyMap<string, F>,
  rest: string[],
): FlagUse<F> {
  const body = arg.slice(2);
  if (body.startsWith('-') || body.startsWith('=')) {
    throw invalidArgument(`bad flag syntax: ${arg}`);
  }
  const equals = body.indexOf('=');
  const name = equals < 0 ? body : body.slice(0, equals);
  const flag = byName.get(name);
  if (flag === undefined) throw invalidArgument(`unknown flag: --${name}`);
  if (equals >= 0) return { flag, value: body.slice(equals + 1) };
  const value = flag.bare ?? rest.shift();
  if (value === undefined) throw invalidArgument(`flag needs an argument: ${arg}`);
  return { flag, value };
}

function parseShort<F extends FlagShape>(
  arg: string,
  byLetter: ReadonlyMap<string, F>,
  rest: string[],
): FlagUse<F>[] {
  const uses: FlagUse<F>[] = [];
  let letters = arg.slice(1);
  while (letters !== '') {
    const letter = letters.slice(0, 1);
    const flag = byLetter.get(letter);
    if (flag === undefined) {
      throw invalidArgument(`unknown shorthand flag: '${letter}' in -${letters}`);
    }
    const tail = letters.slice(1);
    if (tail.startsWith('=') && tail.length > 1) return [...uses, { flag, value: tail.slice(1) }];
    if (flag.bare !== undefined) {
      uses.push({ flag, value: flag.bare });
      letters = tail;
      continue;
    }
    const value = tail === '' ? rest.shift() : tail;
    if (value === undefined) {
      throw invalidArgument(`flag needs an argument: '${letter}' in -${letters}`);
    }
    return [...uses, { flag, value }];
  }
  return uses;
}

/** How pflag names a flag in messages: `-m, --memory`. */
export function flagTitle(flag: FlagShape): string {
  return flag.shorthand === '' ? `--${flag.name}` : `-${flag.shorthand}, --${flag.name}`;
}

/** One flag as help shows it. */
export type FlagHelp = {
  readonly name: string;
  readonly shorthand: string;
  /** `string`, `list`; '' for booleans. */
  readonly type: string;
  readonly usage: string;
  /** As printed: ` (default "bridge")` without the parentheses; '' for none. */
  readonly shownDefault: string;
};

/** Cuts `text` at about `width`, with `slop` more columns for a short last word. */
function cut(text: string, width: number, slop: number): [string, string] {
  if (width + slop > text.length) return [text, ''];
  const head = text.slice(0, width);
  const space = Math.max(head.lastIndexOf(' '), head.lastIndexOf('\t'), head.lastIndexOf('\n'));
  if (space <= 0) return [text, ''];
  const newline = head.lastIndexOf('\n');
  const at = newline > 0 && newline < space ? newline : space;
  return [text.slice(0, at), text.slice(at + 1)];
}

const NARROWEST = 24;
const INDENT_WHEN_NARROW = 16;
const SLOP = 5;

/** Folds a usage text into the columns from `indent` to `columns`. */
function fold(indent: number, columns: number, usage: string): string {
  let from = indent;
  let lead = '';
  if (columns - from < NARROWEST) {
    from = INDENT_WHEN_NARROW;
    lead = `\n${' '.repeat(from)}`;
  }
  const margin = `\n${' '.repeat(from)}`;
  if (columns - from < NARROWEST) return usage.replaceAll('\n', lead);
  const width = columns - from - SLOP;
  let [line, rest] = cut(usage, width, SLOP);
  let out = lead + line.replaceAll('\n', margin);
  while (rest !== '') {
    [line, rest] = cut(rest, width, SLOP);
    out += margin + line.replaceAll('\n', margin);
  }
  return out;
}

/** The block below `Options:`, sorted by name, folded to `columns`. */
export function formatFlagHelp(flags: readonly FlagHelp[], columns: number): string {
  const rows = flags
    .toSorted((a, b) => (a.name < b.name ? -1 : 1))
    .map((flag) => {
      const letter = flag.shorthand === '' ? '      ' : `  -${flag.shorthand}, `;
      const shown = flag.shownDefault === '' ? '' : ` (default ${flag.shownDefault})`;
      const type = flag.type === '' ? '' : ` ${flag.type}`;
      return { head: `${letter}--${flag.name}${type}`, usage: flag.usage + shown };
    });
  const indent = Math.max(0, ...rows.map((row) => row.head.length)) + 3;
  return rows
    .map((row) => `${row.head.padEnd(indent)}${fold(indent, columns, row.usage)}\n`)
    .join('');
}
