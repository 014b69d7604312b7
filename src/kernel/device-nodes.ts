import { type Dirent, lstatSync, readdirSync, type Stats, statSync } from 'node:fs';
import path from 'node:path';
import { splitDevice } from '../base/device-number.ts';
import { errnoOf } from '../base/errors.ts';

/** A device node as it is found on the host. */
export type DeviceNode = {
  readonly path: string;
  readonly type: 'c' | 'b';
  readonly major: number;
  readonly minor: number;
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
};

function nodeOf(file: string, stats: Stats): DeviceNode | undefined {
  const type = stats.isCharacterDevice() ? 'c' : stats.isBlockDevice() ? 'b' : undefined;
  if (type === undefined) return undefined;
  return {
    path: file,
    type,
    ...splitDevice(stats.rdev),
    fileMode: stats.mode & 0o7777,
    uid: stats.uid,
    gid: stats.gid,
  };
}

/** The device at a path, through symlinks; undefined when there is none. */
export function findDevice(file: string): DeviceNode | undefined {
  try {
    return nodeOf(file, statSync(file));
  } catch (error) {
    if (NOT_THERE.has(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}

/** What the kernel says of paths that lead nowhere. */
const NOT_THERE = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ELOOP']);

/** Folders of /dev that a container has its own of. */
const SKIPPED = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev']);

/** Every device below a folder: all of the host's for `/dev`. Symlinks are left out. */
export function devicesBelow(folder: string): DeviceNode[] {
  const found: DeviceNode[] = [];
  let entries: Dirent[];
  try {
    entries = readdirSync(folder, { withFileTypes: true });
  } catch (error) {
    if (NOT_THERE.has(errnoOf(error) ?? '')) return found;
    throw error;
  }
  for (const entry of entries) {
    const full = path.join(folder, entry.name);
    if (entry.isDirectory()) {
      if (!SKIPPED.has(entry.name)) found.push(...devicesBelow(full));
    } else if (entry.isCharacterDevice() || entry.isBlockDevice()) {
      if (full === '/dev/console') continue;
      const stats = lstatSync(full, { throwIfNoEntry: false });
      const node = stats === undefined ? undefined : nodeOf(full, stats);
      if (node !== undefined) found.push(node);
    }
  }
  return found;
}
