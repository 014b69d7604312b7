import { execFileSync } from 'node:child_process';
import { readMountInfo } from '../../src/kernel/mountinfo.ts';

/** Mount points at or below the folders, innermost first. */
export function mountsBelow(...folders: readonly string[]): string[] {
  return readMountInfo()
    .map((mount) => mount.mountPoint)
    .filter((point) => folders.some((folder) => point === folder || point.startsWith(`${folder}/`)))
    .reverse();
}

/** Unmounts everything at or below the folders. */
export function unmountAllBelow(...folders: readonly string[]): void {
  for (const point of mountsBelow(...folders)) execFileSync('umount', ['--lazy', point]);
}
