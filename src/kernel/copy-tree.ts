import {
  type BigIntStats,
  closeSync,
  constants,
  copyFileSync,
  lchownSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readlinkSync,
  symlinkSync,
} from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../base/errors.ts';
import { O_PATH, RESOLVE, S } from './constants.ts';
import { CWD, type Syscalls } from './syscalls.ts';

/**
 * Copies trees with everything that makes a file: owner, mode, times to the nanosecond, xattrs,
 * hard links, devices, sockets left out (they belong to a process). Symlinks are copied, never
 * followed. Neither tree may change meanwhile.
 */

/** Copies the contents of `from` into the empty folder `to`, which gets `from`'s own attributes as well. */
export function copyTree(sys: Syscalls, from: string, to: string): void {
  const linked = new Map<string, string>();
  copyContents(sys, from, to, linked);
  copyAttributes(sys, from, to, lstatSync(from, { bigint: true }));
}

function copyContents(sys: Syscalls, from: string, to: string, linked: Map<string, string>): void {
  for (const name of readdirSync(from, { encoding: 'buffer' })) {
    // A name need not be UTF-8; latin1 round-trips its bytes only through Buffers.
    const text = name.toString('utf8');
    const exact = Buffer.from(text, 'utf8').equals(name);
    if (!exact) throw new Error(`cannot copy ${from}: a name in it is not UTF-8`);
    copyEntry(sys, path.join(from, text), path.join(to, text), linked);
  }
}

function copyEntry(sys: Syscalls, from: string, to: string, linked: Map<string, string>): void {
  const stats = lstatSync(from, { bigint: true });
  const key = `${stats.dev}:${stats.ino}`;
  if (!stats.isDirectory() && stats.nlink > 1n) {
    const first = linked.get(key);
    if (first !== undefined) {
      sys.linkat(CWD, first, CWD, to);
      return;
    }
    linked.set(key, to);
  }
  if (stats.isDirectory()) {
    mkdirSync(to, { mode: 0o700 });
    copyContents(sys, from, to, linked);
  } else if (stats.isSymbolicLink()) {
    symlinkSync(readlinkSync(from), to);
  } else if (stats.isFile()) {
    copyFileSync(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
  } else if (stats.isSocket()) {
    return;
  } else {
    const type = Number(stats.mode) & S.IFMT;
    const rdev = Number(stats.rdev);
    const major = (rdev >>> 8) & 0xfff;
    const minor = (rdev & 0xff) | ((rdev >>> 12) & 0xfff00);
    sys.mknodat(CWD, to, type | 0o600, { major, minor });
  }
  copyAttributes(sys, from, to, stats);
}

/** Gives `to` the owner, mode, xattrs and times of `from`. Owner first: chown clears setuid bits and capabilities. */
export function copyAttributes(sys: Syscalls, from: string, to: string, stats: BigIntStats): void {
  lchownSync(to, Number(stats.uid), Number(stats.gid));
  for (const name of sys.llistxattr(from)) {
    const value = sys.lgetxattr(from, name);
    if (value !== undefined && !name.startsWith('trusted.overlay.')) {
      sys.lsetxattr(to, name, value);
    }
  }
  if (!stats.isSymbolicLink()) sys.fchmodat(CWD, to, Number(stats.mode) & 0o7777);
  const billion = 1_000_000_000n;
  const time = (ns: bigint) => {
    const nsec = ((ns % billion) + billion) % billion;
    return { sec: Number((ns - nsec) / billion), nsec: Number(nsec) };
  };
  sys.utimensat(CWD, to, time(stats.atimeNs), time(stats.mtimeNs));
}

/**
 * The host path of `inside`, a path as a process with the root `root` would see it: symlinks are
 * resolved within the root. Undefined when there is nothing. For use while nothing else writes
 * below `root`.
 */
export function resolveInRoot(sys: Syscalls, root: string, inside: string): string | undefined {
  const dir = openSync(root, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    const fd = sys.openat2(dir, inside.replace(/^\/+/, '') || '.', {
      flags: O_PATH,
      resolve: RESOLVE.IN_ROOT,
    });
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } finally {
      closeSync(fd);
    }
  } catch (error) {
    if (isAbsent(error)) return undefined;
    throw error;
  } finally {
    closeSync(dir);
  }
}

function isAbsent(error: unknown): boolean {
  const errno = errnoOf(error);
  return errno === 'ENOENT' || errno === 'ENOTDIR' || errno === 'ELOOP';
}
