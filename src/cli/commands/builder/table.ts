import type { CommandEntry } from '../entry.ts';

/** Commands of builds. */
export const builderCommands: readonly CommandEntry[] = [
  {
    noun: 'builder',
    verb: 'build',
    about: 'Build an image from a Dockerfile',
    load: () => import('../image/build.ts'),
  },
  {
    noun: 'builder',
    verb: 'prune',
    about: 'Remove what builds left for the cache',
    load: () => import('./prune.ts'),
  },
];
