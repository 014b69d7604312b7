import { closeSync, constants, type Dirent, opendirSync, openSync } from 'node:fs';
import { setImmediate } from 'node:timers/promises';
import { errnoOf } from '../base/errors.ts';
import { type ByteString, byteString, pathArg } from '../formats/byte-string.ts';
import { AT, O_CLOEXEC, RENAME } from './constants.ts';
import { libraryFunctions } from './ffi-node.ts';
import { CWD, type Syscalls } from './syscalls.ts';

/**
 * Removes a tree of any depth and any names without following symlinks. Runs on the calling thread
 * in slices of a few milliseconds, so that a daemon goes on serving; what is deep is moved up to
 * the top first, so that neither descriptors nor paths grow with depth. Nothing else may change the
 * tree meanwhile; one that is gone already is fine.
 *
 * A slice is one call of `native/remover.so.c`: in JavaScript, which the daemon interprets, each name
 * takes half as much again. Where that library is not, or says no, JavaScript does it, and tells what
 * is wrong.
 */
const SLICE_MS = 4;
/** Entries between two looks at the clock. */
const STEPS_A_LOOK = 16;
const LISTED_AT_ONCE = 256;
const DEPTH_MAX = 32;

const OPEN = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | O_CLOEXEC;

type Removal = {
  readonly sys: Syscalls;
  readonly topFd: number;
  /** Directories that were moved to the top, still to be removed. */
  readonly moved: string[];
  movedCount: number;
  /** Entries so far. */
  steps: number;
  sliceEndsMs: number;
};

/**
 * Removes `tree`, a file or a directory. The signal stops it between two slices. Without the library
 * when `isPortable`.
 */
export async function removeTree(
  sys: Syscalls,
  tree: string | Buffer,
  options: { signal?: AbortSignal; isPortable?: boolean } = {},
): Promise<void> {
  const place = typeof tree === 'string' ? tree : pathArg(byteString(tree));
  options.signal?.throwIfAborted();
  let topFd: number;
  try {
    topFd = openSync(tree, OPEN);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT') return;
    if (errno !== 'ENOTDIR' && errno !== 'ELOOP') throw error;
    sys.unlinkat(CWD, place, 0);
    return;
  }
  try {
    const isEmpty = options.isPortable !== true && (await emptyNatively(topFd, options.signal));
    if (!isEmpty) await emptyPortably(sys, topFd, options.signal);
  } finally {
    closeSync(topFd);
  }
  sys.unlinkat(CWD, place, AT.REMOVEDIR);
}

let remover: { readonly found: ReturnType<typeof load> } | undefined;

function load() {
  return libraryFunctions('remover.so', {
    empty: 'int remover_empty(int top, uint32_t slice_us)',
  });
}

/** What it returns when there is more to do. */
const MORE = 1;

/** False when that is not all there was to do. */
async function emptyNatively(topFd: number, signal: AbortSignal | undefined): Promise<boolean> {
  remover ??= { found: load() };
  for (;;) {
    const left = remover.found?.empty(topFd, SLICE_MS * 1000);
    if (left !== MORE) return left === 0;
    await setImmediate();
    signal?.throwIfAborted();
  }
}

async function emptyPortably(
  sys: Syscalls,
  topFd: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const removal: Removal = {
    sys,
    topFd,
    moved: [],
    movedCount: 0,
    steps: 0,
    sliceEndsMs: performance.now() + SLICE_MS,
  };
  await removeContents(removal, topFd, 0, signal);
  for (let name = removal.moved.pop(); name !== undefined; name = removal.moved.pop()) {
    await removeDirectory(removal, topFd, name, 0, signal);
  }
}

async function removeContents(
  removal: Removal,
  fd: number,
  depth: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { sys } = removal;
  using entries = listing(fd);
  for (let entry = entries.next(); entry !== undefined; entry = entries.next()) {
    const name = pathArg(entry.name as ByteString);
    if (!entry.isDirectory()) sys.unlinkat(fd, name, 0);
    else if (depth < DEPTH_MAX) await removeDirectory(removal, fd, name, depth + 1, signal);
    else moveToTop(removal, fd, name);
    removal.steps += 1;
    if (removal.steps % STEPS_A_LOOK === 0 && performance.now() >= removal.sliceEndsMs) {
      await setImmediate();
      signal?.throwIfAborted();
      removal.sliceEndsMs = performance.now() + SLICE_MS;
    }
  }
}

/**
 * Entries of an open directory, read a few at a time: a directory may have millions. Names are
 * strings of bytes.
 */
function listing(fd: number): Disposable & { next: () => Dirent | undefined } {
  const how = { encoding: 'latin1', bufferSize: LISTED_AT_ONCE } as const;
  const dir = opendirSync(`/proc/self/fd/${fd}`, how);
  return {
    next: () => dir.readSync() ?? undefined,
    [Symbol.dispose]: () => dir.closeSync(),
  };
}

function moveToTop(removal: Removal, fd: number, name: string | Uint8Array): void {
  for (;;) {
    const atTop = `.removed-${removal.movedCount}`;
    removal.movedCount += 1;
    try {
      removal.sys.renameat2(fd, name, removal.topFd, atTop, RENAME.NOREPLACE);
      removal.moved.push(atTop);
      return;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
  }
}

async function removeDirectory(
  removal: Removal,
  above: number,
  name: string | Uint8Array,
  depth: number,
  signal: AbortSignal | undefined,
): Promise<void> {
  const { sys } = removal;
  const fd = sys.openat2(above, name, { flags: OPEN });
  try {
    await removeContents(removal, fd, depth, signal);
  } finally {
    closeSync(fd);
  }
  sys.unlinkat(above, name, AT.REMOVEDIR);
}
