import { invalidArgument, messageOf } from '../base/errors.ts';
import { flagTitle, formatFlagHelp, parseFlags } from '../formats/pflag.ts';
import { DAEMON_OPTIONS, type DaemonOption } from './daemon-options.ts';

/** The daemon's command line. */

/** The words given for each option, in order; booleans as `true` or `false`. */
export type FlagWords = ReadonlyMap<DaemonOption, readonly string[]>;

type Flag = ReturnType<typeof shapeOf>;

function shapeOf(option: DaemonOption, name: string) {
  const bare = option.kind === 'bool' ? 'true' : undefined;
  return { name, shorthand: option.short ?? '', bare, option };
}

const FLAGS: readonly Flag[] = DAEMON_OPTIONS.flatMap((option) =>
  option.flag === undefined ? [] : [shapeOf(option, option.flag)],
);
const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

/** The error of a value that does not fit its flag, in pflag's words. */
export function badFlagValue(option: DaemonOption, value: string, cause: string): Error {
  const title = flagTitle({ name: option.flag ?? '', shorthand: option.short ?? '', bare: '' });
  return invalidArgument(`invalid argument "${value}" for "${title}" flag: ${cause}`);
}

/** @throws invalidArgument for an unknown flag, a missing or bad value, and for arguments */
export function parseDaemonFlags(args: readonly string[]): FlagWords {
  const { uses, operands } = parse(args);
  if (operands[0] !== undefined) {
    throw withHint(`"coracled" accepts no arguments, and "${operands[0]}" is one.`);
  }
  const words = new Map<DaemonOption, string[]>();
  for (const { flag, value } of uses) {
    const { option } = flag;
    const word = option.kind === 'bool' ? parseBool(option, value) : value;
    const list = words.get(option);
    if (list === undefined) words.set(option, [word]);
    else list.push(word);
  }
  return words;
}

function parse(args: readonly string[]) {
  try {
    return parseFlags(args, FLAGS, { interspersed: true });
  } catch (error) {
    throw withHint(messageOf(error));
  }
}

function withHint(sentence: string): Error {
  return invalidArgument(`${sentence}\nSee 'coracled --help'.`);
}

function parseBool(option: DaemonOption, value: string): 'true' | 'false' {
  if (TRUE.includes(value)) return 'true';
  if (FALSE.includes(value)) return 'false';
  throw badFlagValue(option, value, `strconv.ParseBool: parsing "${value}": invalid syntax`);
}

/** What `coracled --help` prints, folded to `columns`. */
export function daemonUsage(columns: number): string {
  const flags = DAEMON_OPTIONS.filter((option) => option.help !== undefined);
  const help = flags.map((option) => ({
    name: option.flag ?? '',
    shorthand: option.short ?? '',
    type: VALUE_WORDS[option.kind],
    usage: option.help ?? '',
    shownDefault: '',
  }));
  const options = formatFlagHelp(help, columns);
  return `\nUsage:  coracled [OPTIONS]\n\nA container engine for devices.\n\nOptions:\n${options}`;
}

const VALUE_WORDS: Readonly<Record<DaemonOption['kind'], string>> = {
  bool: '',
  int: 'int',
  string: 'string',
  list: 'list',
  map: 'map',
  bytes: 'bytes',
  runtimes: 'runtime',
  ulimits: 'ulimit',
  pools: 'pool-options',
  json: '',
};
