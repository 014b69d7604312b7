import { invalidArgument } from '../base/errors.ts';
import type { Escape } from '../formats/dockerfile.ts';

/**
 * Words of Dockerfile instructions: quotes, backslashes and variables, as a shell has them. Source:
 * buildkit `frontend/dockerfile/shell/lex.go`. A Dockerfile may name another character to escape
 * with than the backslash.
 *
 *   $NAME ${NAME}   the variable, '' when it is not set
 *   ${NAME:-word}   word when it is not set or empty
 *   ${NAME:+word}   word when it is set and not empty, else ''
 *   ${NAME:?word}   an error when it is not set or empty
 *   'x'             as it is
 *   "x"             with variables; a backslash makes `"`, `$` and `\` plain
 */
export type Variables = ReadonlyMap<string, string>;

/** Of `NAME=value` entries; the last of a name counts. */
export function variablesOf(entries: readonly string[]): Variables {
  return new Map(
    entries.map((entry) => {
      const at = entry.indexOf('=');
      return at < 0 ? [entry, ''] : [entry.slice(0, at), entry.slice(at + 1)];
    }),
  );
}

const RAW_WORD: Readonly<Record<Escape, RegExp>> = {
  '\\': /(?:"(?:\\.|[^"\\])*(?:"|$)|'[^']*(?:'|$)|\\.|\\$|[^\s"'\\])+/gs,
  '`': /(?:"(?:`.|[^"`])*(?:"|$)|'[^']*(?:'|$)|`.|`$|[^\s"'`])+/gs,
};

/** Splits at blanks outside quotes; the words keep their quotes and backslashes. */
export function rawWords(text: string, escapeWith: Escape = '\\'): string[] {
  return text.match(RAW_WORD[escapeWith]) ?? [];
}

/** A word without its quotes and with its variables in place. @throws invalidArgument */
export function expandWord(word: string, variables: Variables, escapeWith: Escape = '\\'): string {
  return new Lexer(word, variables, escapeWith).until('');
}

class Lexer {
  readonly #text: string;
  readonly #variables: Variables;
  readonly #escape: Escape;
  #at = 0;

  constructor(text: string, variables: Variables, escapeWith: Escape) {
    this.#text = text;
    this.#variables = variables;
    this.#escape = escapeWith;
  }

  /** Up to the character `end`, which is taken, or to the end of the text for ''. */
  until(end: '' | '}'): string {
    let found = '';
    while (this.#at < this.#text.length) {
      const char = this.#next();
      if (char === end) return found;
      if (char === "'") found += this.#singleQuoted();
      else if (char === '"') found += this.#doubleQuoted();
      else if (char === this.#escape) found += this.#next();
      else if (char === '$') found += this.#variable();
      else found += char;
    }
    if (end !== '') throw invalidArgument('syntax error: missing "}" in a variable');
    return found;
  }

  #next(): string {
    const char = this.#text[this.#at] ?? '';
    this.#at += 1;
    return char;
  }

  #singleQuoted(): string {
    const close = this.#text.indexOf("'", this.#at);
    if (close < 0) throw unterminated('single');
    const inside = this.#text.slice(this.#at, close);
    this.#at = close + 1;
    return inside;
  }

  #doubleQuoted(): string {
    let found = '';
    while (this.#at < this.#text.length) {
      const char = this.#next();
      if (char === '"') return found;
      if (char === '$') found += this.#variable();
      else if (char === this.#escape) {
        const next = this.#next();
        found += ['"', '$', this.#escape].includes(next) ? next : `${this.#escape}${next}`;
      } else found += char;
    }
    throw unterminated('double');
  }

  /** What follows a dollar sign. */
  #variable(): string {
    if (this.#text[this.#at] !== '{') {
      const name = this.#name();
      return name === '' ? '$' : (this.#variables.get(name) ?? '');
    }
    this.#at += 1;
    const name = this.#name();
    if (name === '') throw invalidArgument('syntax error: bad substitution');
    const char = this.#next();
    const value = this.#variables.get(name) ?? '';
    if (char === '}') return value;
    const modifier = `${char}${this.#next()}`;
    const word = this.until('}');
    switch (modifier) {
      case ':-':
        return value === '' ? word : value;
      case ':+':
        return value === '' ? '' : word;
      case ':?':
        if (value === '') throw invalidArgument(`${name}: ${word || 'not set'}`);
        return value;
      default:
        throw invalidArgument(`unsupported modifier (${modifier}) in substitution`);
    }
  }

  #name(): string {
    const name = /^(?:[A-Za-z_][A-Za-z0-9_]*|\d)/.exec(this.#text.slice(this.#at))?.[0] ?? '';
    this.#at += name.length;
    return name;
  }
}

function unterminated(kind: 'single' | 'double'): Error {
  return invalidArgument(`unexpected end of statement while looking for matching ${kind}-quote`);
}
