import { builderCommands } from './builder/table.ts';
import { containerCommands } from './container/table.ts';
import type { CommandEntry } from './entry.ts';
import { imageCommands } from './image/table.ts';
import { networkCommands } from './network/table.ts';
import { systemCommands } from './system/table.ts';
import { volumeCommands } from './volume/table.ts';

/** Groups of commands, with their line of help. */
export const NOUNS: Readonly<Record<string, string>> = {
  builder: 'Manage builds',
  container: 'Manage containers',
  image: 'Manage images',
  network: 'Manage networks',
  system: 'Manage the engine',
  volume: 'Manage volumes',
};

/** The first commands that a new user needs, in the order that help shows them. */
export const COMMON: readonly string[] = [
  'run',
  'exec',
  'ps',
  'build',
  'pull',
  'push',
  'images',
  'login',
  'logout',
  'search',
  'version',
  'info',
];

/** Every command. */
export const COMMANDS: readonly CommandEntry[] = [
  ...builderCommands,
  ...containerCommands,
  ...imageCommands,
  ...networkCommands,
  ...volumeCommands,
  ...systemCommands,
];

/** The command called `name` at the top. */
export function findTop(name: string): CommandEntry | undefined {
  return COMMANDS.find((entry) => entry.top === name);
}

/** The command called `noun verb`, by its name or an alias. */
export function findVerb(noun: string, verb: string): CommandEntry | undefined {
  return COMMANDS.find(
    (entry) =>
      entry.noun === noun && (entry.verb === verb || entry.aliases?.includes(verb) === true),
  );
}
