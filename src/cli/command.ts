import type { FlagSet, FlagValues } from './flags.ts';
import type { Session } from './session.ts';

/**
 * One command of the client. Each stands in a file of its own, `commands/<noun>/<verb>.ts`, that
 * exports it as `command`; the `table.ts` beside it gives it its names and loads the file when it is
 * called, so a command costs only its own code.
 *
 *   const flags = { time: integer('t', 'Seconds to wait …') };
 *
 *   export const command = defineCommand({
 *     use: '[OPTIONS] CONTAINER [CONTAINER...]',
 *     args: atLeast(1),
 *     flags,
 *     run: async (session, { flags, args }) => { … },
 *   });
 */
export type Command<F extends FlagSet = FlagSet> = {
  /** What stands behind the command's name in its usage. */
  readonly use: string;
  readonly args: ArgumentRule;
  readonly flags: F;
  /** Further paragraphs of help. */
  readonly about?: string;
  /** False: the first operand ends the flags. Default true. */
  readonly interspersed?: boolean;
  /** Gives the exit code; 0 when it gives none. */
  run(session: Session, input: CommandInput<F>): Promise<number | undefined>;
};

export type CommandInput<F extends FlagSet> = {
  readonly flags: FlagValues<F>;
  /** Was the flag given at all? */
  readonly given: (name: keyof F & string) => boolean;
  readonly args: readonly string[];
};

/** How many operands a command takes. */
export type ArgumentRule = { readonly min: number; readonly max: number };

export const noArguments: ArgumentRule = { min: 0, max: 0 };
export const exactly = (count: number): ArgumentRule => ({ min: count, max: count });
export const atLeast = (min: number): ArgumentRule => ({ min, max: Number.POSITIVE_INFINITY });
export const atMost = (max: number): ArgumentRule => ({ min: 0, max });
export const between = (min: number, max: number): ArgumentRule => ({ min, max });

const plural = (count: number): string => `${count} ${count === 1 ? 'argument' : 'arguments'}`;

/** What is wrong with the number of operands; undefined when it is right. */
export function checkArguments(rule: ArgumentRule, count: number): string | undefined {
  if (count >= rule.min && count <= rule.max) return undefined;
  if (rule.max === 0) return 'accepts no arguments';
  if (rule.min === rule.max) return `requires ${plural(rule.min)}`;
  if (rule.max === Number.POSITIVE_INFINITY) return `requires at least ${plural(rule.min)}`;
  if (rule.min === 0) return `requires at most ${plural(rule.max)}`;
  return `requires at least ${rule.min} and at most ${plural(rule.max)}`;
}

/** Gives a command its types. */
export function defineCommand<F extends FlagSet>(command: Command<F>): Command {
  return command;
}
