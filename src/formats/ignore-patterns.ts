import { invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

/**
 * `.dockerignore`. Source: Dockerfile reference, ".dockerignore file"; matching as moby
 * `pkg/fileutils` has it.
 *
 *   # comment       from the first column on
 *   tmp/*.log       patterns of a path below the context's root, as Go's `filepath.Match`
 *   **\/x           `**` is any number of folders
 *   !keep           takes back what patterns above took away
 *
 * A pattern that fits a folder fits all that is in it. The last pattern that fits counts.
 */
export type IgnorePatterns = {
  /** True when the patterns leave the path out; `path` has no slash at its ends. */
  readonly ignores: (path: string) => boolean;
  /** True when nothing below an ignored folder can be taken back: it need not be looked at. */
  readonly mayPrune: (folder: string) => boolean;
};

type Rule = { readonly matches: RegExp; readonly isException: boolean; readonly text: string };

/**
 * Reads the file's text.
 * @throws invalidArgument for a malformed pattern
 */
export function parseIgnorePatterns(text: string): IgnorePatterns {
  return ignorePatterns(
    text
      .replace(/^\ufeff/, '')
      .split(/\r?\n/)
      .filter((line) => !line.startsWith('#')),
  );
}

/** Patterns that are a list already. @throws invalidArgument for a malformed one */
export function ignorePatterns(lines: readonly string[]): IgnorePatterns {
  const rules = lines.flatMap(ruleOf);
  if (rules.length > LIMITS.ignorePatternsMax) {
    throw invalidArgument(`.dockerignore holds more than ${LIMITS.ignorePatternsMax} patterns`);
  }
  const fits = ({ matches }: Rule, path: string): boolean => {
    for (let end = path.length; end > 0; end = path.lastIndexOf('/', end - 1)) {
      if (matches.test(path.slice(0, end))) return true;
    }
    return false;
  };
  const exceptions = rules.filter((rule) => rule.isException);
  return {
    ignores: (path) => {
      let ignored = false;
      for (const rule of rules) {
        if (rule.isException === ignored && fits(rule, path)) ignored = !rule.isException;
      }
      return ignored;
    },
    mayPrune: (folder) =>
      exceptions.every(({ text }) => !`${text}/`.startsWith(`${folder}/`) && !/[*?[\\]/.test(text)),
  };
}

function ruleOf(line: string): Rule[] {
  let pattern = line.trim();
  const isException = pattern.startsWith('!');
  if (isException) pattern = pattern.slice(1).trim();
  if (pattern === '') {
    if (isException) throw invalidArgument('illegal exclusion pattern: "!"');
    return [];
  }
  const text = clean(pattern);
  if (text === '' || text === '.') return [];
  return [{ matches: new RegExp(`^${expressionOf(text, line)}$`, 'su'), isException, text }];
}

/** Without empty parts, `.` and `..`, and slashes at the ends. */
function clean(pattern: string): string {
  const parts: string[] = [];
  for (const part of pattern.split('/')) {
    if (part === '' || part === '.') continue;
    if (part === '..') parts.pop();
    else parts.push(part);
  }
  return parts.join('/');
}

function expressionOf(pattern: string, line: string): string {
  const malformed = (): Error =>
    invalidArgument(`error checking context: syntax error in pattern ${JSON.stringify(line)}`);
  const chars = Array.from(pattern);
  let expression = '';
  for (let i = 0; i < chars.length; i += 1) {
    const char = chars[i] ?? '';
    if (char === '*' && chars[i + 1] === '*') {
      i += 1;
      const isFolder = chars[i + 1] === '/';
      if (isFolder) i += 1;
      // At the end it is all there is; before a slash it may be no folder at all.
      expression += i + 1 >= chars.length && !isFolder ? '.*' : '(?:.*/)?';
    } else if (char === '*') expression += '[^/]*';
    else if (char === '?') expression += '[^/]';
    else if (char === '[') {
      const found = classOf(chars, i);
      if (found === undefined) throw malformed();
      expression += found.expression;
      i = found.end;
    } else if (char === '\\') {
      i += 1;
      const next = chars[i];
      if (next === undefined) throw malformed();
      expression += literal(next);
    } else expression += literal(char);
  }
  return expression;
}

/** The class that begins at `start`; undefined for one that is malformed. */
function classOf(
  chars: readonly string[],
  start: number,
): { readonly expression: string; readonly end: number } | undefined {
  let i = start + 1;
  const isNegated = chars[i] === '^';
  if (isNegated) i += 1;
  const take = (): string | undefined => {
    if (chars[i] === '\\') i += 1;
    else if (chars[i] === '-' || chars[i] === ']') return undefined;
    const char = chars[i];
    i += 1;
    return char;
  };
  let inside = '';
  while (inside === '' || chars[i] !== ']') {
    const low = take();
    if (low === undefined) return undefined;
    let high = low;
    if (chars[i] === '-') {
      i += 1;
      const last = take();
      if (last === undefined) return undefined;
      high = last;
    }
    if ((low.codePointAt(0) ?? 0) > (high.codePointAt(0) ?? 0)) return undefined;
    inside += low === high ? inClass(low) : `${inClass(low)}-${inClass(high)}`;
  }
  return { expression: `(?!/)[${isNegated ? '^' : ''}${inside}]`, end: i };
}

const literal = (char: string): string => (/[\^$\\.*+?()[\]{}|/]/.test(char) ? `\\${char}` : char);
const inClass = (char: string): string => (/[\^\\\]\-[]/.test(char) ? `\\${char}` : char);
