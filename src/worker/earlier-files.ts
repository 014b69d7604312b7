import { closeSync, constants, fstatSync, openSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../base/errors.ts';
import { type ByteString, pathArg } from '../formats/byte-string.ts';
import { O_CLOEXEC, RESOLVE } from '../kernel/constants.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { METACOPY } from '../store/layers/objects.ts';

const READ = constants.O_RDONLY | constants.O_NOFOLLOW | O_CLOEXEC;
const INSIDE = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS;

/**
 * The files that a cut-off extraction of a layer has written. The same layer is being extracted
 * again, and its bytes up to the cut are read from these very files, so that the file at a path has
 * the content that the tar has there: a layer that takes a path twice has no checkpoint.
 */
export class EarlierFiles implements Disposable {
  readonly #sys: Syscalls;
  readonly #diffFd: number;

  /** Those of the extraction in `directory`. */
  constructor(sys: Syscalls, directory: string) {
    this.#sys = sys;
    const flags = constants.O_RDONLY | constants.O_DIRECTORY;
    this.#diffFd = openSync(path.join(directory, 'diff'), flags);
  }

  /** Opens the file at a clean path when its content lies in it; undefined when not. */
  open(clean: ByteString, sizeBytes: number): number | undefined {
    let fd: number;
    try {
      fd = this.#sys.openat2(this.#diffFd, pathArg(clean), { flags: READ, resolve: INSIDE });
    } catch (error) {
      if (['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(errnoOf(error) ?? '')) return undefined;
      throw error;
    }
    const stats = fstatSync(fd);
    const isWhole = stats.isFile() && stats.size === sizeBytes && stats.nlink < LINKS_MAX;
    if (isWhole && this.#sys.fgetxattr(fd, METACOPY) === undefined) return fd;
    closeSync(fd);
    return undefined;
  }

  [Symbol.dispose](): void {
    closeSync(this.#diffFd);
  }
}

/** ext4 allows 65,000. */
const LINKS_MAX = 60_000;
