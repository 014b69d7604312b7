import { integer, text } from './flags.ts';

/** Flags of the commands that end a container's process. */
export const STOP_FLAGS = {
  signal: text('s', 'Signal to stop it with'),
  time: integer('', 'Seconds to wait before it is killed', { deprecated: 'use --timeout instead' }),
  timeout: integer('t', 'Seconds to wait before it is killed; -1 waits for ever'),
};

/** The query that {@link STOP_FLAGS} ask for. */
export function stopQuery(of: {
  readonly flags: { readonly signal: string; readonly time: number; readonly timeout: number };
  readonly given: (name: 'time' | 'timeout') => boolean;
}): { readonly signal: string; readonly t: number | undefined } {
  const { flags, given } = of;
  const t = given('timeout') ? flags.timeout : given('time') ? flags.time : undefined;
  return { signal: flags.signal, t };
}
