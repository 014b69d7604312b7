/**
 * `WWW-Authenticate` (RFC 9110, 11.6.1): challenges separated by commas, each a scheme and its
 * parameters, which are separated by commas as well.
 *
 *   Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull"
 *   Basic realm="x", Bearer realm="y"
 */
export type Challenge = {
  /** In lower case: `basic`, `bearer`. */
  readonly scheme: string;
  /** Names in lower case. */
  readonly parameters: ReadonlyMap<string, string>;
};

const CHALLENGES_MAX = 16;
const TOKEN = /[!#$%&'*+.^_`|~0-9A-Za-z-]+/y;
const TOKEN68 = /[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))/y;
const QUOTED = /"((?:[^"\\]|\\.)*)"/y;
const BLANK = /[ \t]*/y;
const SEPARATORS = /[ \t,]*/y;

class Scanner {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  get isAtEnd(): boolean {
    return this.#at >= this.#text.length;
  }

  get position(): number {
    return this.#at;
  }

  set position(at: number) {
    this.#at = at;
  }

  match(pattern: RegExp): RegExpExecArray | undefined {
    pattern.lastIndex = this.#at;
    const m = pattern.exec(this.#text);
    if (m === null) return undefined;
    this.#at = pattern.lastIndex;
    return m;
  }

  literal(character: string): boolean {
    if (this.#text[this.#at] !== character) return false;
    this.#at += 1;
    return true;
  }
}

/** The challenges of a header; what does not follow the grammar ends the list. Never throws. */
export function parseChallenges(header: string | undefined): Challenge[] {
  const scanner = new Scanner(header ?? '');
  const challenges: Challenge[] = [];
  while (challenges.length < CHALLENGES_MAX) {
    scanner.match(SEPARATORS);
    const scheme = scanner.match(TOKEN)?.[0];
    if (scheme === undefined) break;
    scanner.match(BLANK);
    const parameters = new Map<string, string>();
    if (scanner.match(TOKEN68) === undefined) {
      readParameters(scanner, parameters);
    }
    challenges.push({ scheme: scheme.toLowerCase(), parameters });
  }
  return challenges;
}

function readParameters(scanner: Scanner, into: Map<string, string>): void {
  for (;;) {
    const start = scanner.position;
    scanner.match(SEPARATORS);
    const name = scanner.match(TOKEN)?.[0];
    scanner.match(BLANK);
    if (name === undefined || !scanner.literal('=')) {
      scanner.position = start; // the next challenge begins here
      return;
    }
    scanner.match(BLANK);
    const quoted = scanner.match(QUOTED)?.[1];
    const value = quoted?.replace(/\\(.)/g, '$1') ?? scanner.match(TOKEN)?.[0];
    if (value === undefined) return;
    into.set(name.toLowerCase(), value);
  }
}
