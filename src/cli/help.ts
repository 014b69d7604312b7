import { formatFlagHelp } from '../formats/pflag.ts';
import type { Command } from './command.ts';
import type { CommandEntry } from './commands/entry.ts';
import { COMMANDS, COMMON, NOUNS } from './commands/table.ts';
import { type FlagSet, helpRows } from './flags.ts';

/** Help texts in Docker's layout. `program` is the name the client was called by. */

function commandList(rows: readonly (readonly [name: string, about: string])[]): string {
  const width = Math.max(0, ...rows.map(([name]) => name.length), 11);
  return rows.map(([name, about]) => `  ${name.padEnd(width)} ${about}\n`).join('');
}

const byName = (a: readonly [string, string], b: readonly [string, string]): number =>
  a[0] < b[0] ? -1 : 1;

/** `Usage:  coracle rm [OPTIONS] CONTAINER [CONTAINER...]`; one line for each of `use`. */
export function usageLine(program: string, path: string, command: Pick<Command, 'use'>): string {
  const lines = command.use
    .split('\n')
    .map((use) => [program, path, use].filter((word) => word !== '').join(' '));
  return `Usage:  ${lines.join('\n\t')}`;
}

/** All names of a command that has more than one. */
function aliasesOf(program: string, entry: CommandEntry): string {
  const names = entry.noun === '' ? [] : [entry.verb, ...(entry.aliases ?? [])];
  const full = names.map((name) => `${program} ${entry.noun} ${name}`);
  if (entry.top !== undefined) full.push(`${program} ${entry.top}`);
  return full.length < 2 ? '' : `\nAliases:\n  ${full.join(', ')}\n`;
}

/** `coracle rm --help`. `path` is how it was called: `rm`, `container rm`. */
export function commandHelp(options: {
  readonly program: string;
  readonly path: string;
  readonly entry: CommandEntry;
  readonly command: Command;
  readonly columns: number;
}): string {
  const { program, entry, command } = options;
  let help = `${usageLine(program, options.path, command)}\n\n${entry.about}\n`;
  if (command.about !== undefined) help += `\n${command.about}\n`;
  help += aliasesOf(program, entry);
  const rows = helpRows(command.flags);
  if (rows.length > 0) help += `\nOptions:\n${formatFlagHelp(rows, options.columns - 1)}`;
  return help;
}

/** `coracle container --help`. */
export function nounHelp(program: string, noun: string): string {
  const rows = COMMANDS.filter((entry) => entry.noun === noun)
    .map((entry) => [entry.verb, entry.about] as const)
    .toSorted(byName);
  return [
    `Usage:  ${program} ${noun} COMMAND\n\n${NOUNS[noun] ?? ''}\n\nCommands:\n`,
    commandList(rows),
    `\nRun '${program} ${noun} COMMAND --help' for more information on a command.\n`,
  ].join('');
}

/** `coracle --help`. */
export function programHelp(program: string, globalFlags: FlagSet, columns: number): string {
  const top = new Map(
    COMMANDS.flatMap((entry) => (entry.top === undefined ? [] : [[entry.top, entry.about]])),
  );
  const common = COMMON.map((name) => [name, top.get(name) ?? ''] as const);
  const rest = [...top].filter(([name]) => !COMMON.includes(name)).toSorted(byName);
  return [
    `Usage:  ${program} [OPTIONS] COMMAND\n\nA container engine for devices, with Docker's commands\n`,
    `\nCommon Commands:\n${commandList(common)}`,
    `\nManagement Commands:\n${commandList(Object.entries(NOUNS).toSorted(byName))}`,
    `\nCommands:\n${commandList(rest)}`,
    `\nGlobal Options:\n${formatFlagHelp(helpRows(globalFlags), columns - 1)}`,
    `\nRun '${program} COMMAND --help' for more information on a command.\n`,
  ].join('');
}
