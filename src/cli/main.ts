import { isEngineError } from '../base/errors.ts';
import { type Command, checkArguments } from './command.ts';
import type { CommandEntry } from './commands/entry.ts';
import { findTop, findVerb, NOUNS } from './commands/table.ts';
import { type CliContext, columnsOf, writeAll } from './context.ts';
import { EXIT, ExitError, sentenceOf } from './exit.ts';
import { type ParsedCommandLine, readFlags } from './flags.ts';
import { checkGlobalFlags, GLOBAL_FLAGS, type GlobalFlags } from './global-flags.ts';
import { commandHelp, nounHelp, programHelp, usageLine } from './help.ts';
import { createSession } from './session.ts';

/**
 * Runs one command line. `argv` is what follows the program's name. Never throws for what a user
 * or a daemon did wrong: the failure is told on stderr.
 *
 *   const code = await runCli(['ps', '-a'], context);
 *
 * @returns the exit code, as Docker's client gives it
 */
export async function runCli(argv: readonly string[], context: CliContext): Promise<number> {
  try {
    return await dispatch(argv, context);
  } catch (error) {
    if (!(error instanceof ExitError) && !isEngineError(error)) throw error;
    const sentence = sentenceOf(error);
    if (sentence !== '') await writeAll(context.stderr, `${sentence}\n`);
    return error instanceof ExitError ? error.code : EXIT.failure;
  }
}

async function dispatch(argv: readonly string[], context: CliContext): Promise<number> {
  const { program } = context;
  const globals = readGlobals(argv, program);
  if (globals.help && globals.operands.length === 0) return await topHelp(context, 'stdout');
  if (globals.values.version) {
    const product = program === 'docker' ? 'Docker' : 'Coracle';
    await writeAll(
      context.stdout,
      `${product} version ${context.version}, build ${context.commit}\n`,
    );
    return EXIT.ok;
  }
  checkGlobalFlags(globals.values);
  const words = globals.help ? [...globals.operands, '--help'] : globals.operands;
  const [first, ...rest] = words;
  if (first === undefined) return await topHelp(context, 'stderr');
  if (first === 'help') return await dispatch(helpWords(rest), context);
  if (Object.hasOwn(NOUNS, first)) return await noun(context, globals.values, first, rest);
  const entry = findTop(first);
  if (entry === undefined) {
    throw new ExitError(
      EXIT.failure,
      `${program}: unknown command: ${program} ${first}\n\nRun '${program} --help' for more information`,
    );
  }
  return await run(context, globals.values, { entry, path: first, args: rest });
}

/** `help rm` means `rm --help`. */
function helpWords(words: readonly string[]): string[] {
  return [...words.filter((word) => !word.startsWith('-')), '--help'];
}

function readGlobals(
  argv: readonly string[],
  program: string,
): ParsedCommandLine<typeof GLOBAL_FLAGS> {
  try {
    return readFlags(argv, GLOBAL_FLAGS, { interspersed: false });
  } catch (error) {
    throw usageError(error, `Usage:  ${program} [OPTIONS] COMMAND [ARG...]`, program);
  }
}

function usageError(error: unknown, usage: string, path: string): unknown {
  if (!isEngineError(error, 'invalidArgument')) return error;
  const text = `${error.message}\n\n${usage}\n\nRun '${path} --help' for more information`;
  return new ExitError(EXIT.usage, text, { cause: error });
}

async function topHelp(context: CliContext, where: 'stdout' | 'stderr'): Promise<number> {
  const stream = context[where];
  await writeAll(stream, programHelp(context.program, GLOBAL_FLAGS, columnsOf(stream)));
  return EXIT.ok;
}

async function noun(
  context: CliContext,
  globals: GlobalFlags,
  name: string,
  words: readonly string[],
): Promise<number> {
  const { program } = context;
  const [verb, ...rest] = words;
  if (verb === undefined || verb === '--help' || verb === '-h') {
    const stream = verb === undefined ? context.stderr : context.stdout;
    await writeAll(stream, nounHelp(program, name));
    return EXIT.ok;
  }
  const path = `${program} ${name}`;
  const hint = `Usage:  ${path}\n\nRun '${path} --help' for more information`;
  if (verb.startsWith('-')) {
    const unknown = verb.startsWith('--')
      ? `unknown flag: ${verb.split('=')[0]}`
      : `unknown shorthand flag: '${verb.slice(1, 2)}' in ${verb}`;
    throw new ExitError(EXIT.usage, `${unknown}\n\n${hint}`);
  }
  const two = findVerb(name, `${verb} ${rest[0] ?? ''}`);
  if (two !== undefined) {
    return await run(context, globals, {
      entry: two,
      path: `${name} ${two.verb}`,
      args: rest.slice(1),
    });
  }
  const entry = findVerb(name, verb);
  if (entry === undefined) {
    throw new ExitError(EXIT.failure, `${program}: unknown command: ${path} ${verb}\n\n${hint}`);
  }
  return await run(context, globals, { entry, path: `${name} ${verb}`, args: rest });
}

type Invocation = {
  readonly entry: CommandEntry;
  readonly path: string;
  readonly args: readonly string[];
};

async function run(
  context: CliContext,
  globals: GlobalFlags,
  { entry, path, args }: Invocation,
): Promise<number> {
  const { command } = await entry.load();
  const parsed = readCommandLine(context, command, path, args);
  if (parsed.help) {
    const columns = columnsOf(context.stdout);
    const { program } = context;
    await writeAll(context.stdout, commandHelp({ program, path, entry, command, columns }));
    return EXIT.ok;
  }
  for (const note of parsed.notes) await writeAll(context.stderr, `${note}\n`);
  checkOperands(context, command, path, parsed.operands.length);
  const session = createSession(context, globals, path);
  try {
    const code = await command.run(session, {
      flags: parsed.values,
      given: (name) => parsed.given.has(name),
      args: parsed.operands,
    });
    return code ?? EXIT.ok;
  } finally {
    await session.close();
  }
}

function readCommandLine(
  context: CliContext,
  command: Command,
  path: string,
  args: readonly string[],
): ParsedCommandLine<Command['flags']> {
  try {
    return readFlags(args, command.flags, { interspersed: command.interspersed ?? true });
  } catch (error) {
    const usage = usageLine(context.program, path, command);
    throw usageError(error, usage, `${context.program} ${path}`);
  }
}

function checkOperands(context: CliContext, command: Command, path: string, count: number): void {
  const wrong = checkArguments(command.args, count);
  if (wrong === undefined) return;
  const { program } = context;
  throw new ExitError(
    EXIT.failure,
    `${program}: '${program} ${path}' ${wrong}\n\n${usageLine(program, path, command)}\n\n${command.args.max === Number.POSITIVE_INFINITY ? 'See' : 'Run'} '${program} ${path} --help' for more information`,
  );
}
