import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import path from 'node:path';
import { mountsBelow, mountsOf } from './mounts.ts';

/** What a daemon holds of the machine, by name, so that a test can show that nothing leaked. */
export type Resources = {
  /** Mount points below its roots, as it sees them; while it does not run, as the test does. */
  readonly mounts: readonly string[];
  /** Control groups that name one of the containers. */
  readonly cgroups: readonly string[];
  /** Files in its `netns` folder. */
  readonly netns: readonly string[];
  /** Kinds of descriptors of the daemon (`socket`, `/dev/null` …); ephemeral ones included. */
  readonly descriptors: readonly string[];
  /** Command lines of processes whose command line or working folder names its roots. */
  readonly processes: readonly string[];
};

type Owner = { readonly dataRoot: string; readonly execRoot: string; readonly pid: number };

/** Takes stock. `containerIds` are the containers whose control groups are looked for. */
export function takeStock(owner: Owner, containerIds: readonly string[] = []): Resources {
  return {
    mounts:
      owner.pid === 0
        ? mountsBelow(owner.dataRoot, owner.execRoot)
        : mountsOf(owner.pid, owner.dataRoot, owner.execRoot),
    cgroups: cgroupsNaming(containerIds),
    netns: list(path.join(owner.execRoot, 'netns')),
    descriptors: descriptorsOf(owner.pid),
    processes: processesOf(owner),
  };
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return []; // gone, or not made yet
  }
}

function cgroupsNaming(ids: readonly string[]): string[] {
  if (ids.length === 0) return [];
  const found: string[] = [];
  const walk = (folder: string, depth: number): void => {
    for (const name of list(folder)) {
      if (name.includes('.') && !name.endsWith('.scope') && !name.endsWith('.slice')) continue;
      const at = path.join(folder, name);
      if (ids.some((id) => name.includes(id))) found.push(at);
      else if (depth > 0) walk(at, depth - 1);
    }
  };
  walk('/sys/fs/cgroup', 4);
  return found;
}

function descriptorsOf(pid: number): string[] {
  const folder = `/proc/${pid}/fd`;
  return list(folder)
    .map((fd) => {
      try {
        return readlinkSync(path.join(folder, fd)).replace(/:\[\d+\]$/, '');
      } catch {
        return undefined; // closed meanwhile
      }
    })
    .filter((target) => target !== undefined)
    .sort();
}

function processesOf(owner: Owner): string[] {
  const found: string[] = [];
  for (const pid of list('/proc').filter((name) => /^\d+$/.test(name))) {
    if (Number(pid) === owner.pid) continue;
    try {
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim();
      const folder = readlinkSync(`/proc/${pid}/cwd`);
      const names = [owner.dataRoot, owner.execRoot];
      if (names.some((root) => command.includes(root) || folder.startsWith(root))) {
        found.push(command);
      }
    } catch {
      // it ended meanwhile
    }
  }
  return found.sort();
}

/** PSS and private memory of a process in kB, from /proc/PID/smaps_rollup. */
export function memoryOf(pid: number): { pssKb: number; privateKb: number; rssKb: number } {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  const field = (name: string): number =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(text)?.[1] ?? 0);
  return {
    pssKb: field('Pss'),
    privateKb: field('Private_Clean') + field('Private_Dirty'),
    rssKb: field('Rss'),
  };
}
