import type { Command } from '../command.ts';

/**
 * A command of the client with its names: `noun verb`, and for some a name at the top. `load`
 * imports the command's own file and nothing else.
 */
export type CommandEntry = {
  /** '' for commands that only stand at the top. */
  readonly noun: string;
  readonly verb: string;
  readonly aliases?: readonly string[];
  /** `ps` for `container ls`. The same as the verb for most. */
  readonly top?: string;
  /** One line for lists of commands. */
  readonly about: string;
  readonly load: () => Promise<{ readonly command: Command }>;
};
