import {
  type BigIntStats,
  closeSync,
  constants,
  copyFileSync,
  ftruncateSync,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
} from 'node:fs';
import { splitDevice } from '../../base/device-number.ts';
import { dataLoss, errnoOf } from '../../base/errors.ts';
import {
  type ByteString,
  byteString,
  fromText,
  pathArg,
  toBytes,
} from '../../formats/byte-string.ts';
import { isReservedXattr } from '../../formats/layer-path.ts';
import { AT, S, SEEK } from '../../kernel/constants.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import { CWD, type Syscalls } from '../../kernel/syscalls.ts';
import { objectOf } from './objects.ts';
import { isWhiteout } from './whiteout.ts';

/**
 * Copies a layer's files over a tree, the way overlayfs would show them: whiteouts take away, opaque directories hide what was below, directories become one, all else
 * replaces. Owner, mode, xattrs, times, hard links and holes are kept; contents are shared where
 * the filesystem can (reflink). A stub becomes a file with the content of its object.
 *
 * Every directory on the way is looked at before it is entered, on both sides, so no symlink is
 * ever followed. Neither tree may change meanwhile.
 */
export async function applyLayer(
  sys: Syscalls,
  paths: { readonly layer: string; readonly objects: string; readonly tree: string },
): Promise<void> {
  const { layer, objects, tree } = paths;
  const flatten = { sys, objects, linked: new Map<string, ByteString>() };
  await mergeDirectory(flatten, fromText(layer), fromText(tree));
}

type Flatten = {
  readonly sys: Syscalls;
  readonly objects: string;
  /** Inode in the layer to its first copy. */
  readonly linked: Map<string, ByteString>;
};

async function mergeDirectory(flatten: Flatten, from: ByteString, to: ByteString): Promise<void> {
  for (const name of readdirSync(toBytes(from), { encoding: 'buffer' })) {
    const below = byteString(name);
    await mergeEntry(flatten, `${from}/${below}` as ByteString, `${to}/${below}` as ByteString);
  }
  copyAttributes(flatten.sys, from, to, lstatSync(toBytes(from), { bigint: true }));
}

async function mergeEntry(flatten: Flatten, from: ByteString, to: ByteString): Promise<void> {
  const { sys } = flatten;
  const stats = lstatSync(toBytes(from), { bigint: true });
  const there = find(to);
  if (stats.isDirectory()) {
    const isOpaque = sys.lgetxattr(pathArg(from), 'trusted.overlay.opaque') !== undefined;
    const stays = there?.isDirectory() === true && !isOpaque;
    if (there !== undefined && !stays) await removeTreeAt(sys, to);
    if (!stays) sys.mkdirat(CWD, pathArg(to), 0o700);
    await mergeDirectory(flatten, from, to);
    return;
  }
  if (there !== undefined) await removeTreeAt(sys, to);
  if (isWhiteout(sys, pathArg(from), stats)) return;
  copyLeaf(flatten, { from, to, stats });
}

function copyLeaf(
  { sys, objects, linked }: Flatten,
  { from, to, stats }: { from: ByteString; to: ByteString; stats: BigIntStats },
): void {
  if (stats.nlink > 1n) {
    const first = linked.get(String(stats.ino));
    if (first !== undefined) {
      sys.linkat(CWD, pathArg(first), CWD, pathArg(to));
      return;
    }
    linked.set(String(stats.ino), to);
  }
  if (stats.isSymbolicLink()) {
    const target = byteString(readlinkSync(toBytes(from), { encoding: 'buffer' }));
    sys.symlinkat(pathArg(target), CWD, pathArg(to));
  } else if (stats.isFile()) {
    copyContent(sys, contentOf(sys, objects, from), toBytes(to));
  } else {
    const device = splitDevice(Number(stats.rdev));
    sys.mknodat(CWD, pathArg(to), (Number(stats.mode) & S.IFMT) | 0o600, device);
  }
  copyAttributes(sys, from, to, stats);
}

/** Where a file of a layer has its content. */
function contentOf(sys: Syscalls, objects: string, file: ByteString): string | Buffer {
  const fd = openSync(toBytes(file), constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    return objectOf(sys, objects, fd) ?? toBytes(file);
  } finally {
    closeSync(fd);
  }
}

/** Contents are shared where the filesystem can, which keeps holes too; else they are kept by hand. */
function copyContent(sys: Syscalls, from: string | Buffer, to: Buffer): void {
  const { size, blocks } = lstatSync(from);
  if (blocks * 512 >= size) {
    copyFileSync(from, to, constants.COPYFILE_EXCL | constants.COPYFILE_FICLONE);
    return;
  }
  const fromFd = openSync(from, constants.O_RDONLY | constants.O_NOFOLLOW);
  try {
    const toFd = openSync(to, 'wx', 0o600);
    try {
      for (let at = 0; at < size; ) {
        const data = sys.lseek(fromFd, at, SEEK.DATA);
        if (data === undefined) break;
        const end = sys.lseek(fromFd, data, SEEK.HOLE) ?? size;
        for (const fd of [fromFd, toFd]) sys.lseek(fd, data, SEEK.SET);
        for (let left = end - data; left > 0; ) left -= copied(sys, fromFd, toFd, left);
        at = end;
      }
      ftruncateSync(toFd, size);
    } finally {
      closeSync(toFd);
    }
  } finally {
    closeSync(fromFd);
  }
}

function copied(sys: Syscalls, fromFd: number, toFd: number, bytes: number): number {
  const n = sys.copyFileRange(fromFd, toFd, Math.min(bytes, COPY_BYTES));
  if (n === 0) throw dataLoss('a file of a layer is shorter than it was');
  return n;
}

const COPY_BYTES = 64 << 20;

function find(path: ByteString): BigIntStats | undefined {
  try {
    return lstatSync(toBytes(path), { bigint: true });
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

async function removeTreeAt(sys: Syscalls, path: ByteString): Promise<void> {
  await removeTree(sys, toBytes(path));
}

/** Owner first: chown clears setuid bits and capabilities. */
function copyAttributes(sys: Syscalls, from: ByteString, to: ByteString, stats: BigIntStats): void {
  const target = pathArg(to);
  sys.fchownat(CWD, target, Number(stats.uid), Number(stats.gid), AT.SYMLINK_NOFOLLOW);
  for (const name of sys.llistxattr(pathArg(from))) {
    const value = isReservedXattr(name) ? undefined : sys.lgetxattr(pathArg(from), name);
    if (value !== undefined) sys.lsetxattr(target, name, value);
  }
  if (!stats.isSymbolicLink()) sys.fchmodat(CWD, target, Number(stats.mode) & 0o7777);
  const time = (ns: bigint): { sec: number; nsec: number } => {
    const nsec = ((ns % BILLION) + BILLION) % BILLION;
    return { sec: Number((ns - nsec) / BILLION), nsec: Number(nsec) };
  };
  sys.utimensat(CWD, target, time(stats.atimeNs), time(stats.mtimeNs));
}

const BILLION = 1_000_000_000n;
