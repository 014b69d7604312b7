import type { CommandEntry } from '../entry.ts';

/** Commands of the engine. */
export const systemCommands: readonly CommandEntry[] = [
  {
    noun: 'system',
    verb: 'df',
    about: 'Show what takes room on the disk',
    load: () => import('./df.ts'),
  },
  {
    noun: 'system',
    verb: 'events',
    top: 'events',
    about: 'Show what happens in the engine, as it happens',
    load: () => import('./events.ts'),
  },
  {
    noun: 'system',
    verb: 'info',
    top: 'info',
    about: 'Show the state of the engine and of its host',
    load: () => import('./info.ts'),
  },
  {
    noun: 'system',
    verb: 'prune',
    about: 'Remove all that is unused',
    load: () => import('./prune.ts'),
  },
  {
    noun: 'system',
    verb: 'check',
    about: 'Find what belongs to nothing in the data root, and known damage',
    load: () => import('./check.ts'),
  },
  {
    noun: 'system',
    verb: 'wear',
    about: 'Show what was written to the disk for images since installation, by cause',
    load: () => import('./wear.ts'),
  },
  {
    noun: '',
    verb: 'inspect',
    top: 'inspect',
    about: 'Show all that is known about containers, images, networks and volumes',
    load: () => import('./inspect.ts'),
  },
  {
    noun: '',
    verb: 'login',
    top: 'login',
    about: 'Log in to a registry',
    load: () => import('./login.ts'),
  },
  {
    noun: '',
    verb: 'logout',
    top: 'logout',
    about: 'Log out from a registry',
    load: () => import('./logout.ts'),
  },
  {
    noun: '',
    verb: 'search',
    top: 'search',
    about: 'Search Docker Hub for images',
    load: () => import('./search.ts'),
  },
  {
    noun: '',
    verb: 'version',
    top: 'version',
    about: 'Show the versions of client and engine',
    load: () => import('./version.ts'),
  },
];
