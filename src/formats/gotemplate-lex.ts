import { invalidArgument } from '../base/errors.ts';

/**
 * Tokens of a Go template. Source: the documentation of Go's `text/template`.
 *
 *   text {{ action }} text        `{{- ` and ` -}}` cut the white space beside them
 *   {{/* comment *\/}}
 *
 * Positions are offsets into the template in UTF-16 units.
 */
export type TokenKind =
  | 'text'
  | 'left'
  | 'right'
  | 'space'
  | 'field'
  | 'variable'
  | 'word'
  | 'string'
  | 'number'
  | 'char'
  | 'dot'
  | 'pipe'
  | 'comma'
  | 'declare'
  | 'assign'
  | 'open'
  | 'close'
  | 'end';

export type Token = { readonly kind: TokenKind; readonly text: string; readonly pos: number };

/** An error of the template itself, in Go's words: `template: :LINE: message`. */
export function templateError(source: string, pos: number, message: string): Error {
  const line = source.slice(0, pos).split('\n').length;
  return invalidArgument(`template: :${line}: ${message}`);
}

const SPACES = ' \t\r\n';

/** In the order they are tried; each is anchored where the lexer stands. */
const RULES: readonly (readonly [TokenKind, RegExp])[] = [
  ['space', /[ \t\r\n]+/y],
  ['declare', /:=/y],
  ['assign', /=/y],
  ['pipe', /\|/y],
  ['comma', /,/y],
  ['open', /\(/y],
  ['close', /\)/y],
  ['string', /"(?:[^"\\\n]|\\.)*"/y],
  ['string', /`[^`]*`/y],
  ['char', /'(?:[^'\\\n]|\\.)+'/y],
  [
    'number',
    /[+-]?(?:0[xX][0-9a-fA-F_]+|0[bB][01_]+|0[oO][0-7_]+|(?:\d[\d_]*)?\.?\d[\d_]*(?:[eE][+-]?\d+)?)/y,
  ],
  ['field', /\.[\p{L}_][\p{L}\p{N}_]*/uy],
  ['dot', /\./y],
  ['variable', /\$[\p{L}\p{N}_]*/uy],
  ['word', /[\p{L}_][\p{L}\p{N}_]*/uy],
];

const UNTERMINATED: Readonly<Record<string, string>> = {
  '"': 'unterminated quoted string',
  '`': 'unterminated raw quoted string',
  "'": 'unterminated character constant',
};

function lexToken(source: string, pos: number): Token {
  for (const [kind, rule] of RULES) {
    rule.lastIndex = pos;
    const text = rule.exec(source)?.[0];
    if (text === undefined) continue;
    const next = source[pos + text.length] ?? '';
    if (kind === 'number' && /[\p{L}\p{N}_]/u.test(next)) {
      throw templateError(source, pos, `bad number syntax: ${JSON.stringify(text + next)}`);
    }
    return { kind, text, pos };
  }
  const at = source[pos] ?? '';
  const open = UNTERMINATED[at];
  if (open !== undefined) throw templateError(source, pos, open);
  const code = (source.codePointAt(pos) ?? 0).toString(16).toUpperCase().padStart(4, '0');
  throw templateError(source, pos, `unexpected U+${code} '${at}' in command`);
}

/** Where the action that starts at `pos` really starts: behind `{{` and a trim mark. */
function leftEnd(source: string, pos: number): { end: number; trims: boolean } {
  const trims = source[pos + 2] === '-' && SPACES.includes(source[pos + 3] ?? 'x');
  return { end: pos + (trims ? 4 : 2), trims };
}

function rightAt(source: string, pos: number): { end: number; trims: boolean } | undefined {
  if (source.startsWith('}}', pos)) return { end: pos + 2, trims: false };
  if (/^[ \t\r\n]-\}\}/.test(source.slice(pos, pos + 4))) return { end: pos + 4, trims: true };
  return undefined;
}

/** Reads a comment at `pos`, if one stands there; gives what closes its action. */
function comment(source: string, pos: number): { end: number; trims: boolean } | undefined {
  if (!source.startsWith('/*', pos)) return undefined;
  const close = source.indexOf('*/', pos + 2);
  if (close < 0) throw templateError(source, pos, 'unclosed comment');
  const right = rightAt(source, close + 2);
  if (right === undefined)
    throw templateError(source, pos, 'comment ends before closing delimiter');
  return right;
}

function trimStart(text: string): number {
  return text.length - text.replace(/^[ \t\r\n]+/, '').length;
}

/** All tokens, the last of kind `end`. @throws invalidArgument */
export function lexTemplate(source: string): Token[] {
  const tokens: Token[] = [];
  let pos = 0;
  for (;;) {
    const left = source.indexOf('{{', pos);
    let text = source.slice(pos, left < 0 ? undefined : left);
    const action = left < 0 ? undefined : leftEnd(source, left);
    if (action?.trims === true) text = text.replace(/[ \t\r\n]+$/, '');
    if (text !== '') tokens.push({ kind: 'text', text, pos });
    if (action === undefined) break;
    const skipped = comment(source, action.end);
    const right = skipped ?? lexAction(source, left, action.end, tokens);
    pos = right.end;
    if (right.trims) pos += trimStart(source.slice(pos));
  }
  tokens.push({ kind: 'end', text: '', pos: source.length });
  return tokens;
}

function lexAction(
  source: string,
  left: number,
  start: number,
  tokens: Token[],
): { end: number; trims: boolean } {
  tokens.push({ kind: 'left', text: '{{', pos: left });
  let pos = start;
  for (;;) {
    const right = rightAt(source, pos);
    if (right !== undefined) {
      tokens.push({ kind: 'right', text: '}}', pos });
      return right;
    }
    if (pos >= source.length) throw templateError(source, left, 'unclosed action');
    const token = lexToken(source, pos);
    tokens.push(token);
    pos += token.text.length;
  }
}
