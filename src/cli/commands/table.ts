import type { Command } from '../command.ts';

/**
 * Every command of the client with its names: `noun verb`, and for some a name at the top.
 * `load` imports the command's own file and nothing else.
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

const containerCommands: readonly CommandEntry[] = [
  {
    noun: 'container',
    verb: 'attach',
    top: 'attach',
    about: "Connect the terminal to a running container's main process",
    load: () => import('./container/attach.ts'),
  },
  {
    noun: 'container',
    verb: 'commit',
    top: 'commit',
    about: "Make an image from a container's changes",
    load: () => import('./container/commit.ts'),
  },
  {
    noun: 'container',
    verb: 'cp',
    top: 'cp',
    about: 'Copy files between a container and the local filesystem',
    load: () => import('./container/cp.ts'),
  },
  {
    noun: 'container',
    verb: 'create',
    top: 'create',
    about: 'Make a new container without starting it',
    load: () => import('./container/create.ts'),
  },
  {
    noun: 'container',
    verb: 'diff',
    top: 'diff',
    about: "List what changed in a container's filesystem",
    load: () => import('./container/diff.ts'),
  },
  {
    noun: 'container',
    verb: 'exec',
    top: 'exec',
    about: 'Run a command in a running container',
    load: () => import('./container/exec.ts'),
  },
  {
    noun: 'container',
    verb: 'export',
    top: 'export',
    about: "Write a container's filesystem as a tar archive",
    load: () => import('./container/export.ts'),
  },
  {
    noun: 'container',
    verb: 'inspect',
    about: 'Show all that is known about containers',
    load: () => import('./container/inspect.ts'),
  },
  {
    noun: 'container',
    verb: 'kill',
    top: 'kill',
    about: 'Send a signal to running containers, SIGKILL by default',
    load: () => import('./container/kill.ts'),
  },
  {
    noun: 'container',
    verb: 'logs',
    top: 'logs',
    about: 'Show what a container wrote',
    load: () => import('./container/logs.ts'),
  },
  {
    noun: 'container',
    verb: 'ls',
    aliases: ['list', 'ps'],
    top: 'ps',
    about: 'List containers',
    load: () => import('./container/ls.ts'),
  },
  {
    noun: 'container',
    verb: 'pause',
    top: 'pause',
    about: 'Freeze the processes of containers',
    load: () => import('./container/pause.ts'),
  },
  {
    noun: 'container',
    verb: 'port',
    top: 'port',
    about: 'List the published ports of a container',
    load: () => import('./container/port.ts'),
  },
  {
    noun: 'container',
    verb: 'prune',
    about: 'Remove all stopped containers',
    load: () => import('./container/prune.ts'),
  },
  {
    noun: 'container',
    verb: 'rename',
    top: 'rename',
    about: 'Give a container another name',
    load: () => import('./container/rename.ts'),
  },
  {
    noun: 'container',
    verb: 'restart',
    top: 'restart',
    about: 'Stop containers and start them again',
    load: () => import('./container/restart.ts'),
  },
  {
    noun: 'container',
    verb: 'rm',
    aliases: ['remove'],
    top: 'rm',
    about: 'Remove containers',
    load: () => import('./container/rm.ts'),
  },
  {
    noun: 'container',
    verb: 'run',
    top: 'run',
    about: 'Make a new container from an image and start it',
    load: () => import('./container/run.ts'),
  },
  {
    noun: 'container',
    verb: 'start',
    top: 'start',
    about: 'Start stopped containers',
    load: () => import('./container/start.ts'),
  },
  {
    noun: 'container',
    verb: 'stats',
    top: 'stats',
    about: 'Show live what containers use',
    load: () => import('./container/stats.ts'),
  },
  {
    noun: 'container',
    verb: 'stop',
    top: 'stop',
    about: 'Stop running containers',
    load: () => import('./container/stop.ts'),
  },
  {
    noun: 'container',
    verb: 'top',
    top: 'top',
    about: 'List the processes of a container',
    load: () => import('./container/top.ts'),
  },
  {
    noun: 'container',
    verb: 'unpause',
    top: 'unpause',
    about: 'Let the processes of paused containers go on',
    load: () => import('./container/unpause.ts'),
  },
  {
    noun: 'container',
    verb: 'update',
    top: 'update',
    about: 'Change the limits of containers',
    load: () => import('./container/update.ts'),
  },
  {
    noun: 'container',
    verb: 'wait',
    top: 'wait',
    about: 'Wait until containers stop, then print their exit codes',
    load: () => import('./container/wait.ts'),
  },
];

const builderCommands: readonly CommandEntry[] = [
  {
    noun: 'builder',
    verb: 'build',
    about: 'Build an image from a Dockerfile',
    load: () => import('./image/build.ts'),
  },
  {
    noun: 'builder',
    verb: 'prune',
    about: 'Remove what builds left for the cache',
    load: () => import('./builder/prune.ts'),
  },
];

const imageCommands: readonly CommandEntry[] = [
  {
    noun: 'image',
    verb: 'build',
    top: 'build',
    about: 'Build an image from a Dockerfile',
    load: () => import('./image/build.ts'),
  },
  {
    noun: 'image',
    verb: 'delta',
    about: 'Make a delta image from one image to another',
    load: () => import('./image/delta.ts'),
  },
  {
    noun: 'image',
    verb: 'delta inspect',
    about: 'Show where the bytes of a delta go',
    load: () => import('./image/delta-inspect.ts'),
  },
  {
    noun: 'image',
    verb: 'delta plan',
    about: 'Show what a pull would download, by each way there is',
    load: () => import('./image/delta-plan.ts'),
  },
  {
    noun: 'image',
    verb: 'history',
    top: 'history',
    about: 'Show how an image was made',
    load: () => import('./image/history.ts'),
  },
  {
    noun: 'image',
    verb: 'import',
    top: 'import',
    about: 'Make an image from a tar archive of a filesystem',
    load: () => import('./image/import.ts'),
  },
  {
    noun: 'image',
    verb: 'inspect',
    about: 'Show all that is known about images',
    load: () => import('./image/inspect.ts'),
  },
  {
    noun: 'image',
    verb: 'load',
    top: 'load',
    about: 'Load images from an archive or from standard input',
    load: () => import('./image/load.ts'),
  },
  {
    noun: 'image',
    verb: 'ls',
    aliases: ['list'],
    top: 'images',
    about: 'List images',
    load: () => import('./image/ls.ts'),
  },
  {
    noun: 'image',
    verb: 'prune',
    about: 'Remove unused images',
    load: () => import('./image/prune.ts'),
  },
  {
    noun: 'image',
    verb: 'pull',
    top: 'pull',
    about: 'Download an image from a registry',
    load: () => import('./image/pull.ts'),
  },
  {
    noun: 'image',
    verb: 'push',
    top: 'push',
    about: 'Upload an image to a registry',
    load: () => import('./image/push.ts'),
  },
  {
    noun: 'image',
    verb: 'rm',
    aliases: ['remove'],
    top: 'rmi',
    about: 'Remove images',
    load: () => import('./image/rm.ts'),
  },
  {
    noun: 'image',
    verb: 'save',
    top: 'save',
    about: 'Write images to an archive or to standard output',
    load: () => import('./image/save.ts'),
  },
  {
    noun: 'image',
    verb: 'tag',
    top: 'tag',
    about: 'Give an image one more name',
    load: () => import('./image/tag.ts'),
  },
  {
    noun: 'image',
    verb: 'verify',
    about: 'Read all of an image again and say what is damaged',
    load: () => import('./image/verify.ts'),
  },
];

const networkCommands: readonly CommandEntry[] = [
  {
    noun: 'network',
    verb: 'connect',
    about: 'Connect a container to a network',
    load: () => import('./network/connect.ts'),
  },
  {
    noun: 'network',
    verb: 'create',
    about: 'Make a network',
    load: () => import('./network/create.ts'),
  },
  {
    noun: 'network',
    verb: 'disconnect',
    about: 'Take a container out of a network',
    load: () => import('./network/disconnect.ts'),
  },
  {
    noun: 'network',
    verb: 'inspect',
    about: 'Show all that is known about networks',
    load: () => import('./network/inspect.ts'),
  },
  {
    noun: 'network',
    verb: 'ls',
    aliases: ['list'],
    about: 'List networks',
    load: () => import('./network/ls.ts'),
  },
  {
    noun: 'network',
    verb: 'prune',
    about: 'Remove all unused networks',
    load: () => import('./network/prune.ts'),
  },
  {
    noun: 'network',
    verb: 'rm',
    aliases: ['remove'],
    about: 'Remove networks',
    load: () => import('./network/rm.ts'),
  },
];

const volumeCommands: readonly CommandEntry[] = [
  {
    noun: 'volume',
    verb: 'create',
    about: 'Make a volume',
    load: () => import('./volume/create.ts'),
  },
  {
    noun: 'volume',
    verb: 'inspect',
    about: 'Show all that is known about volumes',
    load: () => import('./volume/inspect.ts'),
  },
  {
    noun: 'volume',
    verb: 'ls',
    aliases: ['list'],
    about: 'List volumes',
    load: () => import('./volume/ls.ts'),
  },
  {
    noun: 'volume',
    verb: 'prune',
    about: 'Remove unused volumes',
    load: () => import('./volume/prune.ts'),
  },
  {
    noun: 'volume',
    verb: 'rm',
    aliases: ['remove'],
    about: 'Remove volumes that no container uses',
    load: () => import('./volume/rm.ts'),
  },
];

const systemCommands: readonly CommandEntry[] = [
  {
    noun: 'system',
    verb: 'df',
    about: 'Show what takes room on the disk',
    load: () => import('./system/df.ts'),
  },
  {
    noun: 'system',
    verb: 'events',
    top: 'events',
    about: 'Show what happens in the engine, as it happens',
    load: () => import('./system/events.ts'),
  },
  {
    noun: 'system',
    verb: 'info',
    top: 'info',
    about: 'Show the state of the engine and of its host',
    load: () => import('./system/info.ts'),
  },
  {
    noun: 'system',
    verb: 'prune',
    about: 'Remove all that is unused',
    load: () => import('./system/prune.ts'),
  },
  {
    noun: 'system',
    verb: 'check',
    about: 'Find what belongs to nothing in the data root, and known damage',
    load: () => import('./system/check.ts'),
  },
  {
    noun: 'system',
    verb: 'wear',
    about: 'Show what was written to the disk for images since installation, by cause',
    load: () => import('./system/wear.ts'),
  },
  {
    noun: '',
    verb: 'inspect',
    top: 'inspect',
    about: 'Show all that is known about containers, images, networks and volumes',
    load: () => import('./system/inspect.ts'),
  },
  {
    noun: '',
    verb: 'login',
    top: 'login',
    about: 'Log in to a registry',
    load: () => import('./system/login.ts'),
  },
  {
    noun: '',
    verb: 'logout',
    top: 'logout',
    about: 'Log out from a registry',
    load: () => import('./system/logout.ts'),
  },
  {
    noun: '',
    verb: 'search',
    top: 'search',
    about: 'Search Docker Hub for images',
    load: () => import('./system/search.ts'),
  },
  {
    noun: '',
    verb: 'version',
    top: 'version',
    about: 'Show the versions of client and engine',
    load: () => import('./system/version.ts'),
  },
];

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
