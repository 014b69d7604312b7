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
import { copyFile } from 'node:fs/promises';
import { setImmediate } from 'node:timers/promises';
import { splitDevice } from '../base/device-number.ts';
import { errnoOf } from '../base/errors.ts';
import { type ByteString, fromText, pathArg, toBytes } from '../formats/byte-string.ts';
import { O_PATH, RESOLVE, S } from './constants.ts';
import { CWD, type Syscalls } from './syscalls.ts';

/**
 * Copies trees with everything that makes a file: owner, mode, times to the nanosecond, xattrs,
 * hard links, devices, sockets left out (they belong to a process). Symlinks are copied, never
 * followed. Neither tree may change meanwhile. Runs on the calling thread in slices of a few
 * milliseconds, so that a daemon goes on serving; large files are copied by a thread.
 */
const SLICE_MS = 4;
/** Copying a file of this size takes less than handing it to a thread. */
const SMALL_BYTES = 256 << 10;

const HOW = constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE;

type Copy = {
  readonly sys: Syscalls;
  /** First copies of files with several names, by device and inode. */
  readonly linked: Map<string, ByteString>;
  sliceEndsMs: number;
};

/** Copies the contents of `from` into the empty folder `to`, which gets `from`'s own attributes as well. */
export async function copyTree(sys: Syscalls, from: string, to: string): Promise<void> {
  const copy = { sys, linked: new Map(), sliceEndsMs: performance.now() + SLICE_MS };
  await copyContents(copy, fromText(from), fromText(to));
  copyAttributes(sys, fromText(from), fromText(to), lstatSync(from, { bigint: true }));
}

async function copyContents(copy: Copy, from: ByteString, to: ByteString): Promise<void> {
  for (const name of readdirSync(toBytes(from), { encoding: 'latin1' })) {
    await copyEntry(copy, `${from}/${name}` as ByteString, `${to}/${name}` as ByteString);
    if (performance.now() < copy.sliceEndsMs) continue;
    await setImmediate();
    copy.sliceEndsMs = performance.now() + SLICE_MS;
  }
}

async function copyEntry(copy: Copy, from: ByteString, to: ByteString): Promise<void> {
  const { sys, linked } = copy;
  const [source, target] = [toBytes(from), toBytes(to)];
  const stats = lstatSync(source, { bigint: true });
  const key = `${stats.dev}:${stats.ino}`;
  if (!stats.isDirectory() && stats.nlink > 1n) {
    const first = linked.get(key);
    if (first !== undefined) {
      sys.linkat(CWD, pathArg(first), CWD, pathArg(to));
      return;
    }
    linked.set(key, to);
  }
  if (stats.isDirectory()) {
    mkdirSync(target, { mode: 0o700 });
    await copyContents(copy, from, to);
  } else if (stats.isSymbolicLink()) {
    symlinkSync(readlinkSync(source, { encoding: 'buffer' }), target);
  } else if (stats.isFile()) {
    if (stats.size > SMALL_BYTES) await copyFile(source, target, HOW);
    else copyFileSync(source, target, HOW);
  } else if (stats.isSocket()) {
    return;
  } else {
    const type = Number(stats.mode) & S.IFMT;
    sys.mknodat(CWD, pathArg(to), type | 0o600, splitDevice(Number(stats.rdev)));
  }
  copyAttributes(sys, from, to, stats);
}

/** Gives `to` the owner, mode, xattrs and times of `from`. Owner first: chown clears setuid bits and capabilities. */
function copyAttributes(sys: Syscalls, from: ByteString, to: ByteString, stats: BigIntStats): void {
  const [source, target] = [pathArg(from), pathArg(to)];
  lchownSync(toBytes(to), Number(stats.uid), Number(stats.gid));
  for (const name of sys.llistxattr(source)) {
    const value = sys.lgetxattr(source, name);
    if (value !== undefined && !name.startsWith('trusted.overlay.')) {
      sys.lsetxattr(target, name, value);
    }
  }
  if (!stats.isSymbolicLink()) sys.fchmodat(CWD, target, Number(stats.mode) & 0o7777);
  const billion = 1_000_000_000n;
  const time = (ns: bigint) => {
    const nsec = ((ns % billion) + billion) % billion;
    return { sec: Number((ns - nsec) / billion), nsec: Number(nsec) };
  };
  sys.utimensat(CWD, target, time(stats.atimeNs), time(stats.mtimeNs));
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
