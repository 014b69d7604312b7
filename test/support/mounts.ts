import { execFileSync } from 'node:child_process';
import { type MountInfo, readMountInfo } from '../../src/kernel/mountinfo.ts';

/** Mount points at or below the folders, innermost first. */
export function mountsBelow(...folders: readonly string[]): string[] {
  return below(readMountInfo(), folders);
}

/** The same as a process sees them: a daemon may have a mount namespace of its own. */
export function mountsOf(pid: number, ...folders: readonly string[]): string[] {
  return below(readMountInfo(`/proc/${pid}/mountinfo`), folders);
}

function below(mounts: readonly MountInfo[], folders: readonly string[]): string[] {
  return mounts
    .map((mount) => mount.mountPoint)
    .filter((point) => folders.some((folder) => point === folder || point.startsWith(`${folder}/`)))
    .reverse();
}

/** Unmounts everything at or below the folders. */
export function unmountAllBelow(...folders: readonly string[]): void {
  for (const point of mountsBelow(...folders)) execFileSync('umount', ['--lazy', point]);
}
