import { invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

/**
 * Dockerfiles as text: lines into instructions. Source: Dockerfile reference, "Format", "Parser
 * directives" and "escape".
 *
 *   # escape=`             directives stand before anything else; `syntax` and `check` mean nothing here
 *   # a comment            only at the beginning of a line, also between continued lines
 *   RUN --flag=x words \   a backslash at a line's end (or what `escape` names) continues it
 *       more words         empty lines in between are left out
 *
 * Here-documents belong to BuildKit's dialect and are refused.
 */
export type Dockerfile = {
  readonly escapeWith: Escape;
  readonly instructions: readonly Instruction[];
};
export type Escape = '\\' | '`';

/** One instruction, its variables not yet replaced. */
export type Instruction = {
  /** Number of its first line, from 1; 0 for one that does not come from a file. */
  readonly line: number;
  /** In capitals. */
  readonly keyword: Keyword;
  /** `--name=value` before the arguments; '' for a flag without a value. */
  readonly flags: ReadonlyMap<string, string>;
  /** The arguments, continued lines joined. */
  readonly rest: string;
  /** The whole, as progress shows it. */
  readonly original: string;
};

const KEYWORDS = [
  ...['ADD', 'ARG', 'CMD', 'COPY', 'ENTRYPOINT', 'ENV', 'EXPOSE', 'FROM', 'HEALTHCHECK', 'LABEL'],
  ...['MAINTAINER', 'ONBUILD', 'RUN', 'SHELL', 'STOPSIGNAL', 'USER', 'VOLUME', 'WORKDIR'],
] as const;
export type Keyword = (typeof KEYWORDS)[number];

const known: ReadonlySet<string> = new Set(KEYWORDS);

/**
 * Takes a Dockerfile apart.
 * @throws invalidArgument with the line's number
 */
export function parseDockerfile(text: string): Dockerfile {
  if (Buffer.byteLength(text) > LIMITS.dockerfileBytesMax) {
    throw invalidArgument(`the Dockerfile is longer than ${LIMITS.dockerfileBytesMax} bytes`);
  }
  const lines = text.replace(/^\ufeff/, '').split(/\r?\n/);
  const escapeWith = escapeOf(lines);
  const instructions: Instruction[] = [];
  for (const { line, text: whole } of logicalLines(lines, escapeWith)) {
    const instruction = inLine(line, () => parseInstruction(whole, { line, escapeWith }));
    inLine(line, () => refuseHereDocument(instruction, lines));
    instructions.push(instruction);
    if (instructions.length > LIMITS.buildStepsMax) {
      throw invalidArgument(`a Dockerfile of more than ${LIMITS.buildStepsMax} instructions`);
    }
  }
  return { escapeWith, instructions };
}

/** Adds the line's number to what is wrong with it. */
export function inLine<T>(line: number, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof Error) || line === 0) throw error;
    throw invalidArgument(`dockerfile parse error line ${line}: ${error.message}`, {
      cause: error,
    });
  }
}

const DIRECTIVE = /^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$/;

function escapeOf(lines: readonly string[]): Escape {
  const seen = new Set<string>();
  let found: Escape = '\\';
  for (const [i, line] of lines.entries()) {
    const m = DIRECTIVE.exec(line.trimStart());
    if (m === null) break;
    const name = (m[1] ?? '').toLowerCase();
    if (!['escape', 'syntax', 'check'].includes(name)) break;
    if (seen.has(name)) {
      throw invalidArgument(
        `dockerfile parse error line ${i + 1}: only one ${name} parser directive can be used`,
      );
    }
    seen.add(name);
    if (name !== 'escape') continue;
    if (m[2] !== '\\' && m[2] !== '`') {
      throw invalidArgument(
        `dockerfile parse error line ${i + 1}: invalid ESCAPE '${m[2]}'. Must be \` or \\`,
      );
    }
    found = m[2];
  }
  return found;
}

const isComment = (line: string): boolean => line.trimStart().startsWith('#');

function* logicalLines(
  lines: readonly string[],
  escapeWith: Escape,
): Generator<{ readonly line: number; readonly text: string }> {
  const continued = escapeWith === '\\' ? /\\[ \t]*$/ : /`[ \t]*$/;
  for (let i = 0; i < lines.length; i += 1) {
    const first = (lines[i] ?? '').trimStart();
    if (first === '' || first.startsWith('#')) continue;
    const line = i + 1;
    const parts: string[] = [];
    for (let part = first; ; part = lines[i] ?? '') {
      const isKept = parts.length === 0 || (!isComment(part) && part.trim() !== '');
      const goesOn = !isKept || continued.test(part);
      if (isKept) parts.push(part.replace(continued, ''));
      if (!goesOn || i + 1 >= lines.length) break;
      i += 1;
    }
    const text = parts.join('').trim();
    if (text !== '') yield { line, text };
  }
}

/**
 * One instruction of one line, as ONBUILD has it too.
 * @throws invalidArgument
 */
export function parseInstruction(
  text: string,
  { line, escapeWith }: { readonly line: number; readonly escapeWith: Escape },
): Instruction {
  const original = text.trim();
  const [word = ''] = original.split(/\s/, 1);
  const keyword = word.toUpperCase();
  if (!known.has(keyword)) throw invalidArgument(`unknown instruction: ${keyword.slice(0, 100)}`);
  const args = original.slice(word.length).trim();
  if (args === '') throw invalidArgument(`${keyword} requires at least one argument`);
  // The flags of a health check come before its own word, and are read with it.
  const { flags, rest } =
    keyword === 'HEALTHCHECK'
      ? { flags: new Map<string, string>(), rest: args }
      : flagsOf(args, escapeWith);
  return { line, keyword: keyword as Keyword, flags, rest, original };
}

/** `--name=value` words up to the first other word, or `--`. */
function flagsOf(args: string, escapeWith: Escape): { flags: Map<string, string>; rest: string } {
  const flags = new Map<string, string>();
  let rest = args;
  while (rest.startsWith('--')) {
    const { word, length } = firstWord(rest, escapeWith);
    rest = rest.slice(length).trimStart();
    if (word === '--') break;
    const equals = word.indexOf('=');
    const name = word.slice(2, equals < 0 ? undefined : equals);
    if (flags.has(name)) throw invalidArgument(`Duplicate flag specified: ${name}`);
    flags.set(name, equals < 0 ? '' : word.slice(equals + 1));
  }
  return { flags, rest };
}

/** A word with its quotes taken off, and how many characters it took. */
function firstWord(text: string, escapeWith: Escape): { word: string; length: number } {
  let word = '';
  let quote = '';
  let at = 0;
  for (; at < text.length; at += 1) {
    const char = text[at] ?? '';
    if (char === escapeWith && at + 1 < text.length) {
      at += 1;
      word += text[at];
    } else if (quote !== '') {
      if (char === quote) quote = '';
      else word += char;
    } else if (char === '"' || char === "'") quote = char;
    else if (/\s/.test(char)) break;
    else word += char;
  }
  return { word, length: at };
}

const HERE_DOCUMENT = /(?:^|[\s\d])<<(-?)["']?([A-Za-z_][A-Za-z0-9_]*)["']?(?=\s|$)/;

/** `RUN <<EOF`, when a line ends it; else it is the shell's affair. */
function refuseHereDocument({ keyword, rest, line }: Instruction, lines: readonly string[]): void {
  if (!['RUN', 'COPY', 'ADD'].includes(keyword)) return;
  const m = HERE_DOCUMENT.exec(rest);
  if (m === null) return;
  const [, dash, name = ''] = m;
  const ends = lines
    .slice(line)
    .some((each) => (dash === '-' ? each.replace(/^\t+/, '') : each) === name);
  if (!ends) return;
  throw invalidArgument(
    `here-documents (<<${name}) require BuildKit: write the lines with && and a \\ at their ends, or copy a script`,
  );
}
