import { closeSync, constants, existsSync, fstatSync, ftruncateSync, openSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../base/errors.ts';
import { type ByteString, pathArg } from '../formats/byte-string.ts';
import { O_CLOEXEC, RESOLVE } from '../kernel/constants.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import type { LayerTail } from '../store/layers/layer-tar.ts';
import { METACOPY } from '../store/layers/objects.ts';

const READ = constants.O_RDONLY | constants.O_NOFOLLOW | O_CLOEXEC;
const WRITE = constants.O_RDWR | constants.O_NOFOLLOW | O_CLOEXEC;
const INSIDE = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS;

/** A file of an earlier extraction, and how much of the content it is to have is in it. */
export type EarlierFile = { readonly fd: number; readonly filledBytes: number };

/**
 * The files that a cut-off extraction of a layer has written, up to its checkpoint. The same layer
 * is being extracted again, and its bytes up to there are read from these very files, so that the
 * file at a path has the content that the tar has there: a layer that takes a path twice has no
 * checkpoint. What was written after the checkpoint counts for nothing: it may never have come to
 * the disk.
 */
export class EarlierFiles implements Disposable {
  readonly #sys: Syscalls;
  readonly #tail: LayerTail | undefined;
  /** False for one that was about to become an image of names: it has few contents of its own. */
  readonly hasTree: boolean;
  #diffFd: number;

  /** Those of the extraction in `directory`, of whose last file only a `tail` may be there. */
  constructor(sys: Syscalls, directory: string, tail: LayerTail | undefined) {
    this.#sys = sys;
    this.#tail = tail?.isObject === true ? undefined : tail;
    const diff = path.join(directory, 'diff');
    const flags = constants.O_RDONLY | constants.O_DIRECTORY;
    this.#diffFd = existsSync(diff) ? openSync(diff, flags) : -1;
    this.hasTree = this.#diffFd >= 0;
  }

  /** Nothing is found in it any more. */
  get isOver(): boolean {
    return this.#diffFd < 0;
  }

  /** Opens the file at a clean path when its content lies in it; undefined when not. */
  open(clean: ByteString, sizeBytes: number): EarlierFile | undefined {
    if (this.#diffFd < 0) return undefined;
    const isTail = clean === this.#tail?.path;
    const flags = isTail ? WRITE : READ;
    let fd: number;
    try {
      fd = this.#sys.openat2(this.#diffFd, pathArg(clean), { flags, resolve: INSIDE });
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(errnoOf(error) ?? '')) return undefined;
      throw error;
    }
    const stats = fstatSync(fd);
    const filledBytes = isTail ? this.#tail.bytes : sizeBytes;
    const isFit = isTail ? stats.size >= filledBytes : stats.size === sizeBytes;
    if (stats.isFile() && isFit && stats.nlink < LINKS_MAX && !this.#isStub(fd)) {
      if (isTail) ftruncateSync(fd, filledBytes);
      return { fd, filledBytes };
    }
    closeSync(fd);
    return undefined;
  }

  #isStub(fd: number): boolean {
    return this.#sys.fgetxattr(fd, METACOPY) !== undefined;
  }

  /** Nothing is found in it from now on. */
  [Symbol.dispose](): void {
    if (this.#diffFd >= 0) closeSync(this.#diffFd);
    this.#diffFd = -1;
  }
}

/** ext4 allows 65,000. */
const LINKS_MAX = 60_000;
