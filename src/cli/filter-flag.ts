import type { Filters } from '../spec/filters.ts';
import { type Flag, flag } from './flags.ts';

/** `--filter key=value`, several times; values of one key are gathered. */
export function filterFlag(
  shorthand: string,
  usage = 'Show only what fits (key=value)',
): Flag<Filters> {
  return flag<Filters>(shorthand, usage, {
    type: 'filter',
    initial: {},
    parse: (value, before) => {
      if (value === '') return before;
      const at = value.indexOf('=');
      if (at < 0) throw new Error('bad format of filter (expected name=value)');
      const key = value.slice(0, at).trim().toLowerCase();
      const each = value.slice(at + 1).trim();
      return { ...before, [key]: [...new Set([...(before[key] ?? []), each])] };
    },
  });
}
