import type { CommandEntry } from '../entry.ts';

/** Commands of networks. */
export const networkCommands: readonly CommandEntry[] = [
  {
    noun: 'network',
    verb: 'connect',
    about: 'Connect a container to a network',
    load: () => import('./connect.ts'),
  },
  {
    noun: 'network',
    verb: 'create',
    about: 'Make a network',
    load: () => import('./create.ts'),
  },
  {
    noun: 'network',
    verb: 'disconnect',
    about: 'Take a container out of a network',
    load: () => import('./disconnect.ts'),
  },
  {
    noun: 'network',
    verb: 'inspect',
    about: 'Show all that is known about networks',
    load: () => import('./inspect.ts'),
  },
  {
    noun: 'network',
    verb: 'ls',
    aliases: ['list'],
    about: 'List networks',
    load: () => import('./ls.ts'),
  },
  {
    noun: 'network',
    verb: 'prune',
    about: 'Remove all unused networks',
    load: () => import('./prune.ts'),
  },
  {
    noun: 'network',
    verb: 'rm',
    aliases: ['remove'],
    about: 'Remove networks',
    load: () => import('./rm.ts'),
  },
];
