import { realpathSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, invalidArgument } from '../../base/errors.ts';
import { type MountInfo, readMountInfo } from '../../kernel/mountinfo.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import type { MountPoint } from './volumes.ts';

/** What the mounts on the host's side mean for a bind of a container. */
export type BindFacts = {
  /** Flags of the mount that the source lies on, which the bind must not lose: `ro`, `nosuid` … */
  readonly sourceFlags: readonly string[];
  /** What is mounted below must be read-only too. */
  readonly readOnlyBelow: boolean;
};

/** Runtimes set the flags of a bind anew: these are named again, so that a container gains nothing. */
const KEPT_FLAGS = ['ro', 'nosuid', 'nodev', 'noexec'];

/** mount_setattr(2), by which runtimes make what lies below read-only: Linux 5.12. */
function hasMountSetattr(sys: Syscalls): boolean {
  try {
    sys.mountSetattr(-1, '', 0, {});
    return true;
  } catch (error) {
    return errnoOf(error) !== 'ENOSYS';
  }
}

/** The mount that a path lies on: the deepest, and the last of those at one place. */
function mountOf(table: readonly MountInfo[], file: string): MountInfo | undefined {
  let found: MountInfo | undefined;
  for (const each of table) {
    const { mountPoint } = each;
    const holds = mountPoint === file || file.startsWith(path.join(mountPoint, '/'));
    if (holds && mountPoint.length >= (found?.mountPoint.length ?? 0)) found = each;
  }
  return found;
}

/**
 * Only where something is mounted below is the runtime told to go there: older ones, which do not
 * know the option, go on working.
 */
function isReadOnlyBelow(
  sys: Syscalls,
  mount: MountPoint,
  table: readonly MountInfo[],
  source: string,
): boolean {
  if (mount.readWrite || !mount.recursive || mount.readOnlyDepth === 'top') return false;
  const folder = path.join(source, '/');
  if (!table.some(({ mountPoint }) => mountPoint.startsWith(folder))) return false;
  if (hasMountSetattr(sys)) return true;
  if (mount.readOnlyDepth === '') return false;
  throw invalidArgument(
    `cannot make ${mount.destination} read-only with all that is mounted below it: this needs Linux 5.12`,
  );
}

/**
 * Facts for each of a container's mounts, in order; a tmpfs has none.
 * @throws invalidArgument when recursive read-only was demanded and the kernel cannot
 */
export function bindFacts(
  sys: Syscalls,
  mounts: readonly MountPoint[],
  hostPaths: readonly string[],
): BindFacts[] {
  const hasBinds = mounts.some(({ type }) => type !== 'tmpfs');
  const table = hasBinds ? readMountInfo() : [];
  return mounts.map((mount, i) => {
    if (mount.type === 'tmpfs') return { sourceFlags: [], readOnlyBelow: false };
    const source = realpathSync(hostPaths[i] ?? '');
    const flags = mountOf(table, source)?.options ?? [];
    return {
      sourceFlags: KEPT_FLAGS.filter((flag) => flags.includes(flag)),
      readOnlyBelow: isReadOnlyBelow(sys, mount, table, source),
    };
  });
}
