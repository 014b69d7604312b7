import { invalidArgument } from '../base/errors.ts';
import { DAEMON_OPTIONS, type DaemonOption } from './daemon-options.ts';

/**
 * The daemon's command line, by the grammar of Go's pflag: `--name value`, `--name=value`, `-n
 * value`, `-nvalue`, `-n=value`, joined short booleans, `--` ends the flags.
 */

/** The words given for each option, in order; booleans as `true` or `false`. */
export type FlagWords = ReadonlyMap<DaemonOption, readonly string[]>;

const BY_FLAG = new Map(DAEMON_OPTIONS.flatMap((o) => (o.flag === undefined ? [] : [[o.flag, o]])));
const BY_SHORT = new Map(
  DAEMON_OPTIONS.flatMap((o) => (o.short === undefined ? [] : [[o.short, o]])),
);
const TRUE = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const FALSE = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

/** Name of a flag in an error: `"-D, --debug"`. */
export function flagName(option: DaemonOption): string {
  return option.short === undefined ? `--${option.flag}` : `-${option.short}, --${option.flag}`;
}

/** The error of a value that does not fit its flag, in pflag's words. */
export function badFlagValue(option: DaemonOption, value: string, cause: string): Error {
  return invalidArgument(`invalid argument "${value}" for "${flagName(option)}" flag: ${cause}`);
}

/** @throws invalidArgument for an unknown flag, a missing or bad value, and for arguments */
export function parseDaemonFlags(args: readonly string[]): FlagWords {
  const words = new Map<DaemonOption, string[]>();
  const rest = [...args];
  const add = (option: DaemonOption, value: string): void => {
    const list = words.get(option);
    const checked = option.kind === 'bool' ? String(parseBool(option, value)) : value;
    if (list === undefined) words.set(option, [checked]);
    else list.push(checked);
  };
  for (let word = rest[0]; word?.startsWith('-') === true && word !== '-'; word = rest[0]) {
    rest.shift();
    if (word === '--') break;
    if (word.startsWith('--')) takeLong(word, rest, add);
    else takeShort(word, rest, add);
  }
  const argument = rest[0];
  if (argument !== undefined) {
    throw invalidArgument(
      `"coracled" accepts no arguments, and "${argument}" is one.\nSee 'coracled --help'.`,
    );
  }
  return words;
}

type Add = (option: DaemonOption, value: string) => void;

function takeLong(word: string, rest: string[], add: Add): void {
  const equals = word.indexOf('=');
  const name = word.slice(2, equals < 0 ? undefined : equals);
  const option = BY_FLAG.get(name);
  if (option === undefined) throw unknown(`unknown flag: --${name}`);
  if (equals >= 0) add(option, word.slice(equals + 1));
  else if (option.kind === 'bool') add(option, 'true');
  else add(option, rest.shift() ?? missing(`--${name}`));
}

function takeShort(word: string, rest: string[], add: Add): void {
  for (let at = 1; at < word.length; at += 1) {
    const short = word.charAt(at);
    const option = BY_SHORT.get(short);
    if (option === undefined) throw unknown(`unknown shorthand flag: '${short}' in ${word}`);
    const after = word.slice(at + 1);
    if (after.startsWith('=') || option.kind !== 'bool') {
      const value = after.startsWith('=') ? after.slice(1) : after;
      add(option, after === '' ? (rest.shift() ?? missing(`'${short}' in ${word}`)) : value);
      return;
    }
    add(option, 'true');
  }
}

function unknown(sentence: string): Error {
  return invalidArgument(`${sentence}\nSee 'coracled --help'.`);
}

function missing(what: string): never {
  throw invalidArgument(`flag needs an argument: ${what}\nSee 'coracled --help'.`);
}

function parseBool(option: DaemonOption, value: string): boolean {
  if (TRUE.includes(value)) return true;
  if (FALSE.includes(value)) return false;
  throw badFlagValue(option, value, `strconv.ParseBool: parsing "${value}": invalid syntax`);
}

/** What `coracled --help` prints. */
export function daemonUsage(): string {
  const lines = DAEMON_OPTIONS.filter((o) => o.help !== undefined).map((o) => {
    const short = o.short === undefined ? '    ' : `-${o.short}, `;
    const type = VALUE_WORDS[o.kind];
    const left = `  ${short}--${o.flag}${type === '' ? '' : ` ${type}`}`;
    return { left, help: o.help ?? '' };
  });
  const width = Math.max(...lines.map(({ left }) => left.length)) + 3;
  const text = lines.map(({ left, help }) => left.padEnd(width) + help).join('\n');
  return `\nUsage:  coracled [OPTIONS]\n\nA container engine for devices.\n\nOptions:\n${text}\n`;
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
