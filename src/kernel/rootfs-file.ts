import { closeSync, constants, fstatSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../base/errors.ts';
import { O_CLOEXEC, O_PATH, RESOLVE } from './constants.ts';
import type { PathArg, Syscalls } from './syscalls.ts';

/**
 * Files of a container's root, from outside. Every step of a path is resolved within the root
 * (openat2 RESOLVE_IN_ROOT), so that no symlink of an image leads to a file of the host.
 */

/** The first `bytesMax` bytes as text; '' when there is no such regular file. */
export function readInRoot(
  sys: Syscalls,
  rootfs: string,
  inside: string,
  bytesMax: number,
): string {
  const root = openSync(rootfs, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const fd = openRegularFile(sys, root, inside.replace(/^\/+/, ''), RESOLVE.IN_ROOT);
    if (fd === undefined) return '';
    try {
      const { size } = fstatSync(fd);
      const buffer = Buffer.allocUnsafe(Math.min(size, bytesMax));
      let length = 0;
      while (length < buffer.length) {
        const n = readSync(fd, buffer, length, buffer.length - length, length);
        if (n === 0) break;
        length += n;
      }
      return buffer.toString('utf8', 0, length);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (['ENOENT', 'ENOTDIR', 'EISDIR', 'ELOOP', 'ESPIPE'].includes(errnoOf(error) ?? '')) {
      return '';
    }
    throw error;
  } finally {
    closeSync(root);
  }
}

/**
 * Opens a file for reading if it is a regular one, else gives undefined: opening a FIFO waits, and
 * opening a device does what it does, be it to start a watchdog. The container may put either there
 * at any time, so it is looked at before it is opened, and what was looked at is what is opened.
 */
export function openRegularFile(
  sys: Syscalls,
  dirFd: number,
  place: PathArg,
  resolve: number,
): number | undefined {
  const fd = sys.openat2(dirFd, place, { flags: O_PATH | O_CLOEXEC, resolve });
  try {
    if (!fstatSync(fd).isFile()) return undefined;
    return openSync(`/proc/self/fd/${fd}`, constants.O_RDONLY);
  } finally {
    closeSync(fd);
  }
}

/**
 * Makes a folder with its parents within a root, each owned by `owner` if it is new.
 * @throws a syscall error, ENOTDIR when a file is in the way
 */
export function makeDirectoryInRoot(
  sys: Syscalls,
  rootfs: string,
  inside: string,
  owner: { readonly uid: number; readonly gid: number },
): void {
  let at = openSync(rootfs, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const parts = path.posix
      .normalize(inside)
      .split('/')
      .filter((part) => part !== '');
    for (const [i] of parts.entries()) {
      const below = parts.slice(0, i + 1).join('/');
      const next = openOrMake(sys, { rootfs, parent: at, below, owner });
      closeSync(at);
      at = next;
    }
  } finally {
    closeSync(at);
  }
}

function openOrMake(
  sys: Syscalls,
  args: {
    rootfs: string;
    parent: number;
    below: string;
    owner: { readonly uid: number; readonly gid: number };
  },
): number {
  const root = openSync(args.rootfs, constants.O_RDONLY | constants.O_DIRECTORY);
  const how = {
    flags: constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC,
    resolve: RESOLVE.IN_ROOT,
  };
  try {
    try {
      return sys.openat2(root, args.below, how);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    const name = path.posix.basename(args.below);
    sys.mkdirat(args.parent, name, 0o755);
    sys.fchownat(args.parent, name, args.owner.uid, args.owner.gid, 0);
    return sys.openat2(root, args.below, how);
  } finally {
    closeSync(root);
  }
}
