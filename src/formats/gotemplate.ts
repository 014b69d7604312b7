import { invalidArgument } from '../base/errors.ts';
import {
  isStruct,
  isTrue,
  STRUCT,
  TEMPLATE_FUNCTIONS,
  type TemplateFunction,
} from './gotemplate-functions.ts';
import {
  type Command,
  type Operand,
  type Pipe,
  parseTemplate,
  type RangeNode,
  type Template,
  type TemplateNode,
} from './gotemplate-parse.ts';
import { formatValue, GoNil, goTypeOf, sortedKeys } from './gotemplate-print.ts';

/**
 * Go's `text/template` as far as `--format` needs it: fields, methods with arguments, pipelines,
 * variables, if, with, range, break, continue. `define`, `template` and `block` are refused.
 *
 * Data are JSON-like values. A function as a field of an object is a method; a getter is a field
 * that is worked out when it is asked for. Errors are invalidArgument in Go's words, without a
 * name: `template: :1:2: executing "" at <.Foo>: map has no entry for key "Foo"`.
 */
export type CompiledTemplate = {
  readonly source: string;
  /** @throws invalidArgument */
  readonly execute: (data: unknown) => string;
};

export type TemplateOptions = {
  /** What asking an object for a key that it lacks gives. Default: zero, printed `<no value>`. */
  readonly missingKey?: 'zero' | 'error';
  /** Instead of the usual functions. */
  readonly functions?: ReadonlyMap<string, TemplateFunction>;
};

/** Compiles a template. @throws invalidArgument `template: :LINE: …` */
export function compileTemplate(source: string, options: TemplateOptions = {}): CompiledTemplate {
  const functions = options.functions ?? TEMPLATE_FUNCTIONS;
  const names = new Set([...functions.keys(), 'and', 'or']);
  const template = parseTemplate(source, names);
  return {
    source,
    execute: (data) => new Execution(template, functions, options.missingKey ?? 'zero').run(data),
  };
}

/** Steps of all loops together: a template is text from outside. */
const STEPS_MAX = 10_000_000;

type Variable = { readonly name: string; value: unknown };
type Flow = 'next' | 'break' | 'continue';

class Execution {
  readonly #template: Template;
  readonly #functions: ReadonlyMap<string, TemplateFunction>;
  readonly #missingKey: 'zero' | 'error';
  readonly #variables: Variable[] = [];
  #out = '';
  #steps = 0;

  constructor(
    template: Template,
    functions: ReadonlyMap<string, TemplateFunction>,
    missingKey: 'zero' | 'error',
  ) {
    this.#template = template;
    this.#functions = functions;
    this.#missingKey = missingKey;
  }

  run(data: unknown): string {
    this.#variables.push({ name: '$', value: data });
    this.#list(this.#template.nodes, data);
    return this.#out;
  }

  #error(at: { pos: number; text: string }, message: string): Error {
    const before = this.#template.source.slice(0, at.pos).split('\n');
    const column = Buffer.byteLength(before.at(-1) ?? '');
    return invalidArgument(
      `template: :${before.length}:${column}: executing "" at <${at.text}>: ${message}`,
    );
  }

  #list(nodes: readonly TemplateNode[], dot: unknown): Flow {
    for (const node of nodes) {
      const flow = this.#node(node, dot);
      if (flow !== 'next') return flow;
    }
    return 'next';
  }

  #node(node: TemplateNode, dot: unknown): Flow {
    switch (node.kind) {
      case 'text':
        this.#out += node.text;
        return 'next';
      case 'break':
      case 'continue':
        return node.kind;
      case 'action': {
        const value = this.#pipe(node.pipe, dot);
        if (node.pipe.variables.length === 0) this.#out += formatValue(value);
        return 'next';
      }
      case 'range':
        return this.#scope(() => this.#range(node, dot));
      case 'if':
      case 'with':
        return this.#scope(() => {
          const value = this.#pipe(node.pipe, dot);
          if (!isTrue(value)) return this.#list(node.otherwise, dot);
          return this.#list(node.body, node.kind === 'with' ? value : dot);
        });
    }
  }

  #scope<T>(body: () => T): T {
    const mark = this.#variables.length;
    const result = body();
    this.#variables.length = mark;
    return result;
  }

  #range(node: RangeNode, dot: unknown): Flow {
    const value = this.#pipe({ ...node.pipe, variables: [] }, dot);
    const entries = this.#entries(node.pipe, value);
    let ran = false;
    for (const [key, each] of entries) {
      ran = true;
      this.#steps += 1;
      const at = { pos: 0, text: node.pipe.commands[0]?.text ?? '' };
      if (this.#steps > STEPS_MAX) throw this.#error(at, 'too many steps');
      const flow = this.#scope(() => {
        this.#setRange(node.pipe, key, each);
        return this.#list(node.body, each);
      });
      if (flow === 'break') break;
    }
    return ran ? 'next' : this.#list(node.otherwise, dot);
  }

  #setRange(pipe: Pipe, key: unknown, each: unknown): void {
    const [first, second] = pipe.variables;
    if (first === undefined) return;
    const values: [string, unknown][] =
      second === undefined
        ? [[first, each]]
        : [
            [first, key],
            [second, each],
          ];
    for (const [name, value] of values) this.#set(name, value, pipe.assigns);
  }

  #entries(pipe: Pipe, value: unknown): Iterable<[unknown, unknown]> {
    if (value === null || value === undefined || value instanceof GoNil) return [];
    if (Array.isArray(value)) return value.entries();
    if (typeof value === 'number' && Number.isInteger(value)) {
      return Array.from({ length: Math.min(Math.max(0, value), STEPS_MAX) }, (_, i) => [i, i]);
    }
    if (typeof value === 'object' && !isStruct(value)) {
      return sortedKeys(value).map((key) => [key, (value as Record<string, unknown>)[key]]);
    }
    const command = pipe.commands[0];
    const at = { pos: command?.operands[0]?.pos ?? 0, text: command?.text ?? '' };
    throw this.#error(at, `range can't iterate over ${formatValue(value)}`);
  }

  #set(name: string, value: unknown, assigns: boolean): void {
    const known = assigns ? this.#variables.findLast((each) => each.name === name) : undefined;
    if (known === undefined) this.#variables.push({ name, value });
    else known.value = value;
  }

  #pipe(pipe: Pipe, dot: unknown): unknown {
    let value: unknown;
    pipe.commands.forEach((command, i) => {
      value = this.#command(command, dot, i === 0 ? [] : [value]);
    });
    for (const name of pipe.variables) this.#set(name, value, pipe.assigns);
    return value;
  }

  /** `piped` holds the value of the stage before, if there is one. */
  #command(command: Command, dot: unknown, piped: readonly unknown[]): unknown {
    const [first, ...rest] = command.operands;
    if (first === undefined) return undefined;
    const args = (): unknown[] => [...rest.map((operand) => this.#operand(operand, dot)), ...piped];
    if (first.kind === 'function') return this.#call(first, command, rest, dot, piped);
    if (first.kind === 'nil') throw this.#error(first, 'nil is not a command');
    if (first.kind === 'field') return this.#fields(first, dot, first.fields, args());
    if (first.kind === 'variable') {
      return this.#fields(first, this.#variable(first.name), first.fields, args());
    }
    if (first.kind === 'pipe' && first.fields.length > 0) {
      return this.#fields(first, this.#pipe(first.pipe, dot), first.fields, args());
    }
    if (rest.length > 0 || piped.length > 0) {
      throw this.#error(first, `can't give argument to non-function ${first.text}`);
    }
    return this.#operand(first, dot);
  }

  #variable(name: string): unknown {
    return this.#variables.findLast((each) => each.name === name)?.value;
  }

  #operand(operand: Operand, dot: unknown): unknown {
    switch (operand.kind) {
      case 'dot':
        return dot;
      case 'nil':
        return null;
      case 'literal':
        return operand.value;
      case 'field':
        return this.#fields(operand, dot, operand.fields, []);
      case 'variable':
        return this.#fields(operand, this.#variable(operand.name), operand.fields, []);
      case 'pipe':
        return this.#fields(operand, this.#pipe(operand.pipe, dot), operand.fields, []);
      case 'function':
        return this.#call(operand, { operands: [operand], text: operand.text }, [], dot, []);
    }
  }

  #fields(
    at: Operand,
    start: unknown,
    names: readonly string[],
    args: readonly unknown[],
  ): unknown {
    let value = start;
    if (names.length === 0 && args.length > 0) {
      throw this.#error(at, `can't give argument to non-function ${at.text}`);
    }
    names.forEach((name, i) => {
      value = this.#field(at, value, name, i === names.length - 1 ? args : []);
    });
    return value;
  }

  #field(at: Operand, receiver: unknown, name: string, args: readonly unknown[]): unknown {
    if (receiver === null || receiver === undefined) {
      throw this.#error(at, `nil pointer evaluating interface {}.${name}`);
    }
    if (receiver instanceof GoNil) {
      if (receiver.of === 'map') return undefined;
      throw this.#error(at, `nil pointer evaluating interface {}.${name}`);
    }
    if (typeof receiver !== 'object' || Array.isArray(receiver)) {
      throw this.#error(at, `can't evaluate field ${name} in type ${goTypeOf(receiver)}`);
    }
    const holder = receiver as Record<string, unknown>;
    if (!Object.hasOwn(holder, name)) {
      if (isStruct(receiver)) {
        throw this.#error(at, `can't evaluate field ${name} in type ${receiver[STRUCT]}`);
      }
      if (this.#missingKey === 'error') {
        throw this.#error(at, `map has no entry for key ${JSON.stringify(name)}`);
      }
      return undefined;
    }
    const value = holder[name];
    if (typeof value === 'function') return this.#invoke(at, name, value as TemplateFunction, args);
    if (args.length > 0) throw this.#error(at, `${name} is not a method but has arguments`);
    return value;
  }

  #invoke(at: Operand, name: string, fn: TemplateFunction, args: readonly unknown[]): unknown {
    if (args.length !== fn.length) {
      throw this.#error(
        at,
        `wrong number of args for ${name}: want ${fn.length} got ${args.length}`,
      );
    }
    return fn(...args);
  }

  #call(
    at: Operand & { kind: 'function' },
    command: Command,
    rest: readonly Operand[],
    dot: unknown,
    piped: readonly unknown[],
  ): unknown {
    if (at.name === 'and' || at.name === 'or') return this.#logic(at, rest, dot, piped);
    const fn = this.#functions.get(at.name);
    if (fn === undefined)
      throw this.#error(at, `${JSON.stringify(at.name)} is not a defined function`);
    const args = [...rest.map((operand) => this.#operand(operand, dot)), ...piped];
    try {
      return fn(...args);
    } catch (error) {
      const cause = error instanceof Error ? error.message : String(error);
      if (cause.startsWith('wrong ')) throw this.#error(at, cause);
      const where = { pos: at.pos, text: command.text };
      throw this.#error(where, `error calling ${at.name}: ${cause}`);
    }
  }

  #logic(
    at: Operand & { kind: 'function' },
    rest: readonly Operand[],
    dot: unknown,
    piped: readonly unknown[],
  ): unknown {
    const wanted = at.name === 'or';
    let value: unknown;
    if (rest.length === 0 && piped.length === 0) {
      throw this.#error(at, `wrong number of args for ${at.name}: want at least 1 got 0`);
    }
    for (const operand of rest) {
      value = this.#operand(operand, dot);
      if (isTrue(value) === wanted) return value;
    }
    return piped.length > 0 ? piped[0] : value;
  }
}
