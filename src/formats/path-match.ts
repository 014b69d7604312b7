import { invalidArgument } from '../base/errors.ts';

/**
 * Shell patterns of Go's `path.Match`, which Docker's reference filters are.
 *
 *   *       any characters but /          [a-z]   one of these
 *   ?       one character but /           [^a-z]  none of these
 *   \c      the character c
 */

type Token =
  | { readonly kind: 'star' }
  | { readonly kind: 'any' }
  | { readonly kind: 'one'; readonly char: string }
  | {
      readonly kind: 'class';
      readonly negated: boolean;
      readonly ranges: readonly (readonly [string, string])[];
    };

/**
 * True when the pattern matches the whole text.
 * @throws invalidArgument for a malformed pattern
 */
export function pathMatch(pattern: string, text: string): boolean {
  return matchTokens(parse(pattern), Array.from(text));
}

/** Greedy with one point to come back to: linear in the text for each star. */
function matchTokens(tokens: readonly Token[], chars: readonly string[]): boolean {
  let token = 0;
  let char = 0;
  let starToken = -1;
  let starChar = 0;
  while (char < chars.length) {
    const each = tokens[token];
    const current = chars[char] ?? '';
    if (each?.kind === 'star') {
      starToken = token;
      starChar = char;
      token += 1;
    } else if (each !== undefined && matchOne(each, current)) {
      token += 1;
      char += 1;
    } else if (starToken >= 0 && chars[starChar] !== '/') {
      starChar += 1;
      token = starToken + 1;
      char = starChar;
    } else return false;
  }
  while (tokens[token]?.kind === 'star') token += 1;
  return token === tokens.length;
}

function matchOne(token: Exclude<Token, { kind: 'star' }>, char: string): boolean {
  switch (token.kind) {
    case 'any':
      return char !== '/';
    case 'one':
      return token.char === char;
    case 'class':
      return token.ranges.some(([low, high]) => low <= char && char <= high) !== token.negated;
  }
}

function malformed(): Error {
  return invalidArgument('syntax error in pattern');
}

function parse(pattern: string): Token[] {
  const chars = Array.from(pattern);
  const tokens: Token[] = [];
  let i = 0;
  const next = (): string => {
    const char = chars[i];
    if (char === undefined) throw malformed();
    i += 1;
    return char;
  };
  const literal = (char: string): string => (char === '\\' ? next() : char);
  const parseClass = (): Token => {
    const negated = chars[i] === '^';
    if (negated) i += 1;
    const ranges: [string, string][] = [];
    while (chars[i] !== ']' || ranges.length === 0) {
      const first = next();
      if (first === '-' || first === ']') throw malformed();
      const low = literal(first);
      let high = low;
      if (chars[i] === '-') {
        i += 1;
        const last = next();
        if (last === '-' || last === ']') throw malformed();
        high = literal(last);
      }
      ranges.push([low, high]);
    }
    i += 1;
    return { kind: 'class', negated, ranges };
  };
  while (i < chars.length) {
    const char = next();
    if (char === '*') {
      if (tokens.at(-1)?.kind !== 'star') tokens.push({ kind: 'star' });
    } else if (char === '?') tokens.push({ kind: 'any' });
    else if (char === '[') tokens.push(parseClass());
    else tokens.push({ kind: 'one', char: literal(char) });
  }
  return tokens;
}
