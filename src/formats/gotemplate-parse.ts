import { lexTemplate, type Token, type TokenKind, templateError } from './gotemplate-lex.ts';

/** What a Go template is made of. `pos` is where Go's error messages point. */
export type TemplateNode =
  | { readonly kind: 'text'; readonly text: string }
  | { readonly kind: 'action'; readonly pipe: Pipe }
  | {
      readonly kind: 'if' | 'with';
      readonly pipe: Pipe;
      readonly body: readonly TemplateNode[];
      readonly otherwise: readonly TemplateNode[];
    }
  | RangeNode
  | { readonly kind: 'break' | 'continue' };

export type RangeNode = {
  readonly kind: 'range';
  readonly pipe: Pipe;
  readonly body: readonly TemplateNode[];
  readonly otherwise: readonly TemplateNode[];
};

/** `$a, $b := command | command`. */
export type Pipe = {
  readonly variables: readonly string[];
  readonly assigns: boolean;
  readonly commands: readonly Command[];
};

/** A function or a value, with what it is applied to. */
export type Command = { readonly operands: readonly Operand[]; readonly text: string };

export type Operand = { readonly pos: number; readonly text: string } & (
  | { readonly kind: 'dot' | 'nil' }
  | { readonly kind: 'function'; readonly name: string }
  | { readonly kind: 'literal'; readonly value: string | number | boolean }
  | { readonly kind: 'field'; readonly fields: readonly string[] }
  | { readonly kind: 'variable'; readonly name: string; readonly fields: readonly string[] }
  | { readonly kind: 'pipe'; readonly pipe: Pipe; readonly fields: readonly string[] }
);

/** A parsed template, to be run any number of times. */
export type Template = { readonly source: string; readonly nodes: readonly TemplateNode[] };

/** Nesting of actions and parentheses. */
const DEPTH_MAX = 100;
const UNSUPPORTED = new Set(['define', 'template', 'block']);

/** Parses `source`; `functions` are the names it may call. @throws invalidArgument in Go's words */
export function parseTemplate(source: string, functions: ReadonlySet<string>): Template {
  const parser = new Parser(source, functions);
  return { source, nodes: parser.parse() };
}

type ListEnd = { readonly nodes: TemplateNode[]; readonly end: 'end' | 'else' | 'file' };

class Parser {
  readonly #source: string;
  readonly #functions: ReadonlySet<string>;
  readonly #tokens: readonly Token[];
  #at = 0;
  #depth = 0;
  #rangeDepth = 0;
  #variables: string[] = ['$'];

  constructor(source: string, functions: ReadonlySet<string>) {
    this.#source = source;
    this.#functions = functions;
    this.#tokens = lexTemplate(source);
  }

  parse(): TemplateNode[] {
    const { nodes, end } = this.#list();
    if (end !== 'file') throw this.#error(`unexpected {{${end}}}`);
    return nodes;
  }

  #error(message: string): Error {
    return templateError(this.#source, this.#peek().pos, message);
  }

  #peek(): Token {
    return this.#tokens[this.#at] ?? { kind: 'end', text: '', pos: this.#source.length };
  }

  #next(): Token {
    const token = this.#peek();
    this.#at += 1;
    return token;
  }

  #skipSpace(): Token {
    while (this.#peek().kind === 'space') this.#at += 1;
    return this.#peek();
  }

  #expect(kind: TokenKind, context: string): Token {
    const token = this.#skipSpace();
    if (token.kind !== kind) throw this.#unexpected(context);
    return this.#next();
  }

  #unexpected(context: string): Error {
    const token = this.#peek();
    if (token.kind === 'end') return this.#error('unexpected EOF');
    const shown = token.kind === 'right' ? '"}}"' : `<${token.text}>`;
    return this.#error(`unexpected ${shown} in ${context}`);
  }

  #nest<T>(body: () => T): T {
    this.#depth += 1;
    if (this.#depth > DEPTH_MAX) throw this.#error('template is nested too deeply');
    const result = body();
    this.#depth -= 1;
    return result;
  }

  /** Nodes up to `{{end}}`, `{{else` or the end of the template. */
  #list(): ListEnd {
    const nodes: TemplateNode[] = [];
    for (;;) {
      const token = this.#next();
      if (token.kind === 'end') return { nodes, end: 'file' };
      if (token.kind === 'text') {
        nodes.push({ kind: 'text', text: token.text });
        continue;
      }
      const word = this.#skipSpace();
      if (word.kind === 'word' && (word.text === 'end' || word.text === 'else')) {
        this.#next();
        if (word.text === 'end') this.#expect('right', 'end');
        return { nodes, end: word.text };
      }
      nodes.push(this.#action());
    }
  }

  #action(): TemplateNode {
    const { kind, text } = this.#peek();
    if (kind === 'word') {
      if (text === 'if' || text === 'with' || text === 'range') {
        this.#next();
        return this.#nest(() => this.#control(text));
      }
      if (text === 'break' || text === 'continue') {
        if (this.#rangeDepth === 0) throw this.#error(`{{${text}}} outside {{range}}`);
        this.#next();
        this.#expect('right', `{{${text}}}`);
        return { kind: text };
      }
      if (UNSUPPORTED.has(text)) throw this.#error(`{{${text}}} is not supported`);
    }
    const pipe = this.#pipe('command', 'right');
    this.#next();
    return { kind: 'action', pipe };
  }

  #control(kind: 'if' | 'with' | 'range'): TemplateNode {
    const outer = [...this.#variables];
    const pipe = this.#pipe(kind, 'right');
    this.#next();
    if (kind === 'range') this.#rangeDepth += 1;
    const { nodes: body, end } = this.#list();
    if (kind === 'range') this.#rangeDepth -= 1;
    let otherwise: TemplateNode[] = [];
    if (end === 'else') otherwise = this.#otherwise(kind);
    else if (end === 'file') throw this.#error('unexpected EOF');
    this.#variables = outer;
    return { kind, pipe, body, otherwise };
  }

  /** What stands behind `{{else`: a list of its own, or `if`/`with` as a chain. */
  #otherwise(kind: 'if' | 'with' | 'range'): TemplateNode[] {
    const word = this.#skipSpace();
    if (word.kind === 'word' && word.text === kind && kind !== 'range') {
      this.#next();
      return [this.#nest(() => this.#control(kind))];
    }
    this.#expect('right', 'else');
    const { nodes, end } = this.#list();
    if (end === 'else') throw this.#error('expected end; found {{else}}');
    if (end === 'file') throw this.#error('unexpected EOF');
    return nodes;
  }

  #pipe(context: string, close: TokenKind): Pipe {
    const variables: string[] = [];
    const assigns = this.#declarations(context, variables);
    const commands: Command[] = [];
    for (;;) {
      const token = this.#skipSpace();
      if (token.kind === close) {
        if (commands.length === 0) throw this.#error(`missing value for ${context}`);
        this.#checkStages(commands);
        if (!assigns) this.#variables.push(...variables);
        return { variables, assigns, commands };
      }
      if (commands.length > 0) {
        if (token.kind !== 'pipe') throw this.#unexpected(context);
        this.#next();
        this.#skipSpace();
      }
      commands.push(this.#command(context));
    }
  }

  /** Reads `$x :=`, `$x =` or, for range, `$i, $x :=`; true for an assignment. */
  #declarations(context: string, variables: string[]): boolean {
    const start = this.#at;
    for (;;) {
      const name = this.#skipSpace();
      if (name.kind !== 'variable') break;
      this.#next();
      const mark = this.#skipSpace();
      if (mark.kind === 'comma' && context === 'range' && variables.length === 0) {
        this.#next();
        variables.push(name.text);
        if (this.#skipSpace().kind !== 'variable') {
          throw this.#error('range can only initialize variables');
        }
        continue;
      }
      if (mark.kind === 'declare' || mark.kind === 'assign') {
        this.#next();
        variables.push(name.text);
        return mark.kind === 'assign';
      }
      if (variables.length > 0) throw this.#error(`too many declarations in ${context}`);
      break;
    }
    variables.length = 0;
    this.#at = start;
    return false;
  }

  #checkStages(commands: readonly Command[]): void {
    commands.slice(1).forEach((command, i) => {
      const first = command.operands[0];
      if (
        first !== undefined &&
        (first.kind === 'literal' || first.kind === 'dot' || first.kind === 'nil')
      ) {
        throw this.#error(`non executable command in pipeline stage ${i + 2}`);
      }
    });
  }

  #command(context: string): Command {
    const operands: Operand[] = [];
    const start = this.#peek().pos;
    for (;;) {
      const operand = this.#operand();
      if (operand === undefined) break;
      operands.push(operand);
      if (this.#peek().kind !== 'space') break;
      this.#skipSpace();
    }
    if (operands.length === 0) {
      throw this.#peek().kind === 'pipe' || this.#peek().kind === 'right'
        ? this.#error(`missing value for ${context}`)
        : this.#unexpected(context);
    }
    const { kind } = this.#peek();
    if (kind !== 'right' && kind !== 'pipe' && kind !== 'close' && kind !== 'space') {
      throw this.#unexpected('operand');
    }
    return { operands, text: this.#source.slice(start, this.#peek().pos).trim() };
  }

  #operand(): Operand | undefined {
    const token = this.#peek();
    const pos = token.pos;
    const term = this.#term(token);
    if (term === undefined) return undefined;
    const fields: string[] = [];
    let chainPos: number | undefined;
    while (this.#peek().kind === 'field') {
      chainPos ??= this.#peek().pos;
      fields.push(this.#next().text.slice(1));
    }
    const text = this.#source.slice(pos, this.#peek().pos);
    if (fields.length === 0) return { ...term, text };
    if (!('fields' in term))
      throw this.#error(`unexpected . after term ${JSON.stringify(term.text)}`);
    const all = [...term.fields, ...fields];
    return { ...term, fields: all, text, pos: chainPos ?? pos };
  }

  #term(token: Token): Operand | undefined {
    const { kind, pos, text } = token;
    const base = { pos, text };
    if (kind === 'word') return this.#word(token);
    if (kind === 'variable' && !this.#variables.includes(text)) {
      throw this.#error(`undefined variable ${JSON.stringify(text)}`);
    }
    if (kind === 'open') {
      this.#next();
      const pipe = this.#nest(() => this.#pipe('parenthesized pipeline', 'close'));
      this.#next();
      return { ...base, kind: 'pipe', pipe, fields: [] };
    }
    if (kind === 'string' || kind === 'char' || kind === 'number') {
      const value = this.#literal(token);
      this.#next();
      return { ...base, kind: 'literal', value };
    }
    if (kind !== 'field' && kind !== 'dot' && kind !== 'variable') return undefined;
    this.#next();
    if (kind === 'dot') return { ...base, kind };
    if (kind === 'variable') return { ...base, kind, name: text, fields: [] };
    return { ...base, kind, fields: [text.slice(1)] };
  }

  #word(token: Token): Operand {
    const base = { pos: token.pos, text: token.text };
    if (token.text === 'true' || token.text === 'false') {
      this.#next();
      return { ...base, kind: 'literal', value: token.text === 'true' };
    }
    if (token.text === 'nil') {
      this.#next();
      return { ...base, kind: 'nil' };
    }
    if (!this.#functions.has(token.text)) {
      throw this.#error(`function ${JSON.stringify(token.text)} not defined`);
    }
    this.#next();
    return { ...base, kind: 'function', name: token.text };
  }

  #literal(token: Token): string | number {
    const { kind, text } = token;
    if (kind === 'number') {
      const value = Number(text.replaceAll('_', ''));
      if (Number.isNaN(value)) throw this.#error(`bad number syntax: ${JSON.stringify(text)}`);
      return value;
    }
    if (text.startsWith('`')) return text.slice(1, -1);
    const value = unquoteGo(text.slice(1, -1));
    if (value === undefined) throw this.#error('invalid syntax');
    if (kind === 'string') return value;
    if (Array.from(value).length !== 1) throw this.#error(`malformed character constant: ${text}`);
    return value.codePointAt(0) ?? 0;
  }
}

const ESCAPES: Readonly<Record<string, string>> = {
  a: '\x07',
  b: '\b',
  f: '\f',
  n: '\n',
  r: '\r',
  t: '\t',
  v: '\v',
  '\\': '\\',
  '"': '"',
  "'": "'",
};

/** What stands between the quotes of a Go string literal; undefined when an escape is not Go's. */
export function unquoteGo(body: string): string | undefined {
  let valid = true;
  const value = body.replace(
    /\\(?:x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|U([0-9a-fA-F]{8})|([0-7]{3})|(.))/gsu,
    (_all, x?: string, u?: string, long?: string, octal?: string, other?: string) => {
      if (other !== undefined) {
        valid &&= Object.hasOwn(ESCAPES, other);
        return ESCAPES[other] ?? '';
      }
      const code =
        octal === undefined ? Number.parseInt(x ?? u ?? long ?? '', 16) : Number.parseInt(octal, 8);
      valid &&= code <= 0x10ffff;
      return valid ? String.fromCodePoint(code) : '';
    },
  );
  return valid ? value : undefined;
}
