import {
  chmodSync,
  type Dirent,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../base/errors.ts';
import { readMountInfo } from './mountinfo.ts';

/**
 * The host's control groups. Source: kernel admin-guide/cgroup-v1 and cgroup-v2.
 *
 *   v2       /sys/fs/cgroup is one cgroup2 hierarchy
 *   v1       one hierarchy for each controller or pair below /sys/fs/cgroup
 *   hybrid   v1, and a cgroup2 without controllers at /sys/fs/cgroup/unified
 */
export type Cgroups = {
  readonly version: 1 | 2;
  /** Mount points: one for v2; for v1 every hierarchy, named ones too. */
  readonly hierarchies: readonly string[];
  /** Mount point of a controller (`memory`, `freezer`); undefined when the host has it off. */
  readonly mountOf: (controller: string) => string | undefined;
};

/** What this process sees mounted. */
export function detectCgroups(): Cgroups {
  const mounts = readMountInfo();
  const unified = mounts.findLast(
    (each) => each.type === 'cgroup2' && each.mountPoint === '/sys/fs/cgroup',
  );
  if (unified !== undefined) {
    const root = unified.mountPoint;
    const file = path.join(root, 'cgroup.controllers');
    const controllers = new Set(readFileSync(file, 'utf8').trim().split(' '));
    // These are no controllers in v2, but there all the same.
    for (const each of ['freezer', 'devices', 'cpuacct']) controllers.add(each);
    return {
      version: 2,
      hierarchies: [root],
      mountOf: (name) => (controllers.has(name === 'blkio' ? 'io' : name) ? root : undefined),
    };
  }
  const byController = new Map<string, string>();
  const hierarchies: string[] = [];
  for (const mount of mounts) {
    if (mount.type !== 'cgroup') continue;
    hierarchies.push(mount.mountPoint);
    for (const option of mount.superOptions.split(',')) byController.set(option, mount.mountPoint);
  }
  return { version: 1, hierarchies, mountOf: (name) => byController.get(name) };
}

/** Absolute folders of one cgroup in every hierarchy that has it. */
export function cgroupFolders(cgroups: Cgroups, folder: string): string[] {
  return cgroups.hierarchies
    .map((root) => path.join(root, folder))
    .filter((dir) => existsSync(dir));
}

/**
 * Removes a cgroup whose processes are gone, with what is below it. True when nothing is left;
 * false when some process still lives in it.
 */
export function removeCgroup(cgroups: Cgroups, folder: string): boolean {
  let isGone = true;
  for (const root of cgroups.hierarchies) isGone = removeTree(path.join(root, folder)) && isGone;
  return isGone;
}

function removeTree(dir: string): boolean {
  try {
    rmdirSync(dir);
    return true;
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT') return true;
    if (errno !== 'EBUSY' && errno !== 'ENOTEMPTY') throw error;
  }
  // Busy: with processes, or with cgroups below, which are removed first.
  const below = entriesOf(dir)
    .filter((entry) => entry.isDirectory())
    .map((entry) => path.join(dir, entry.name));
  if (below.length === 0 || !below.every(removeTree)) return false;
  try {
    rmdirSync(dir);
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return true;
    if (errnoOf(error) === 'EBUSY') return false;
    throw error;
  }
}

/** PIDs in a cgroup and below it. */
export function cgroupPids(cgroups: Cgroups, folder: string): number[] {
  const root = cgroups.mountOf('pids') ?? cgroups.mountOf('memory') ?? cgroups.hierarchies[0] ?? '';
  const pids: number[] = [];
  const visit = (dir: string): void => {
    for (const line of readIfThere(path.join(dir, 'cgroup.procs')).split('\n')) {
      // 0 is a process that this one's PID namespace does not hold.
      if (Number(line) > 0) pids.push(Number(line));
    }
    for (const entry of entriesOf(dir)) {
      if (entry.isDirectory()) visit(path.join(dir, entry.name));
    }
  };
  visit(path.join(root, folder));
  return pids;
}

/** None of a cgroup that is gone. */
function entriesOf(dir: string): Dirent[] {
  try {
    return readdirSync(dir, { withFileTypes: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** A file's text; '' when there is none. */
export function readIfThere(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    const errno = errnoOf(error);
    // ENODEV: a cgroup that is being removed.
    if (errno === 'ENOENT' || errno === 'ENODEV' || errno === 'EOPNOTSUPP') return '';
    throw error;
  }
}

const FREEZE_POLL_MS = 2;

/**
 * Freezes or thaws a cgroup's processes and waits until they are. Source: cgroup-v1
 * freezer-subsystem, cgroup-v2 `cgroup.freeze`.
 * @throws the error of the file when the host has no freezer
 */
export async function setFrozen(
  cgroups: Cgroups,
  folder: string,
  frozen: boolean,
  sleep: (ms: number) => Promise<void>,
  timeoutMs = 10_000,
): Promise<void> {
  const dir = path.join(cgroups.mountOf('freezer') ?? '/sys/fs/cgroup/freezer', folder);
  const tries = Math.ceil(timeoutMs / FREEZE_POLL_MS);
  for (let i = 0; i < tries; i += 1) {
    if (cgroups.version === 2) {
      if (i === 0) writeFileSync(path.join(dir, 'cgroup.freeze'), frozen ? '1' : '0');
      const events = readFileSync(path.join(dir, 'cgroup.events'), 'utf8');
      if (/^frozen (\d)$/m.exec(events)?.[1] === (frozen ? '1' : '0')) return;
    } else {
      // A process that forks meanwhile stays FREEZING until it is told again.
      writeFileSync(path.join(dir, 'freezer.state'), frozen ? 'FROZEN' : 'THAWED');
      const state = readFileSync(path.join(dir, 'freezer.state'), 'utf8').trim();
      if (state === (frozen ? 'FROZEN' : 'THAWED')) return;
    }
    await sleep(FREEZE_POLL_MS);
  }
  if (frozen) await setFrozen(cgroups, folder, false, sleep, timeoutMs);
  throw new Error(`cannot ${frozen ? 'freeze' : 'thaw'} ${folder}: it takes too long`);
}

/** True when a cgroup's processes are frozen, or about to be; false on a host without a freezer. */
export function isFrozen(cgroups: Cgroups, folder: string): boolean {
  const dir = path.join(cgroups.mountOf('freezer') ?? '', folder);
  return cgroups.version === 2
    ? /^frozen 1$/m.test(readIfThere(path.join(dir, 'cgroup.events')))
    : ['FREEZING', 'FROZEN'].includes(readIfThere(path.join(dir, 'freezer.state')).trim());
}

/** The file whose counter `oom_kill` grows when the kernel kills in this cgroup. */
export function oomFile(cgroups: Cgroups, folder: string): string | undefined {
  const mount = cgroups.mountOf('memory');
  if (mount === undefined) return undefined;
  return path.join(mount, folder, cgroups.version === 2 ? 'memory.events' : 'memory.oom_control');
}

/**
 * Takes limits of a cgroup away: runtimes can set them, but not all can do this.
 * @throws the error of the file
 */
export function liftLimits(
  cgroups: Cgroups,
  folder: string,
  limits: { readonly pids: boolean; readonly cpuQuota: boolean },
): void {
  const lift = (controller: string, file: string, value: string): void => {
    const mount = cgroups.mountOf(controller);
    if (mount !== undefined) writeFileSync(path.join(mount, folder, file), value);
  };
  if (limits.pids) lift('pids', 'pids.max', 'max');
  if (!limits.cpuQuota) return;
  if (cgroups.version === 2) lift('cpu', 'cpu.max', 'max');
  else lift('cpu', 'cpu.cfs_quota_us', '-1');
}

/** Lets all users see into the cgroups above a container's, which are made where they are missing. */
export function openCgroupParents(cgroups: Cgroups, folder: string): void {
  for (const root of cgroups.hierarchies) {
    for (let at = path.posix.dirname(folder); at.length > 1; at = path.posix.dirname(at)) {
      const parent = path.join(root, at);
      mkdirSync(parent, { recursive: true, mode: 0o755 });
      chmodSync(parent, 0o755);
    }
  }
}
