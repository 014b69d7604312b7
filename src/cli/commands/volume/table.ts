import type { CommandEntry } from '../entry.ts';

/** Commands of volumes. */
export const volumeCommands: readonly CommandEntry[] = [
  {
    noun: 'volume',
    verb: 'create',
    about: 'Make a volume',
    load: () => import('./create.ts'),
  },
  {
    noun: 'volume',
    verb: 'inspect',
    about: 'Show all that is known about volumes',
    load: () => import('./inspect.ts'),
  },
  {
    noun: 'volume',
    verb: 'ls',
    aliases: ['list'],
    about: 'List volumes',
    load: () => import('./ls.ts'),
  },
  {
    noun: 'volume',
    verb: 'prune',
    about: 'Remove unused volumes',
    load: () => import('./prune.ts'),
  },
  {
    noun: 'volume',
    verb: 'rm',
    aliases: ['remove'],
    about: 'Remove volumes that no container uses',
    load: () => import('./rm.ts'),
  },
];
