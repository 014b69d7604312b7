import { invalidArgument } from '../base/errors.ts';

/** Whether a pull uses deltas: where one helps, not at all, or nothing but. */
export type DeltaMode = 'auto' | 'never' | 'require';

/** @throws invalidArgument for a word that is none of them */
export function parseDeltaMode(text: string): DeltaMode {
  if (text === 'auto' || text === 'never' || text === 'require') return text;
  throw invalidArgument(
    `invalid value for delta: ${JSON.stringify(text)}: use auto, never or require`,
  );
}
