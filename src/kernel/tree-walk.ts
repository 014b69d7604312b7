import {
  type BigIntStats,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
} from 'node:fs';
import { type ByteString, byteString, pathArg, toBytes } from '../formats/byte-string.ts';
import { O_CLOEXEC, O_PATH, RESOLVE } from './constants.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * Directories held by descriptors, so that a tree which others change meanwhile is never left: each
 * step goes from an open directory to a name in it, without following a symlink.
 */
export class OpenDirectory implements Disposable {
  readonly fd: number;
  readonly #sys: Syscalls;

  constructor(sys: Syscalls, fd: number) {
    this.#sys = sys;
    this.fd = fd;
  }

  /** An absolute path of the host that this process trusts. */
  static open(sys: Syscalls, path: string): OpenDirectory {
    return new OpenDirectory(sys, openSync(path, constants.O_RDONLY | constants.O_DIRECTORY));
  }

  /** Path of a name in this directory; valid while it is open. */
  at(name: ByteString): Buffer {
    return Buffer.concat([Buffer.from(`/proc/self/fd/${this.fd}/`), toBytes(name)]);
  }

  /** Sorted by bytes. */
  names(): ByteString[] {
    return readdirSync(`/proc/self/fd/${this.fd}`, { encoding: 'buffer' })
      .map((name) => byteString(name))
      .sort();
  }

  /** The file itself, whatever it is. Undefined when it is gone. */
  stat(name: ByteString): BigIntStats | undefined {
    return lstatSync(this.at(name), { bigint: true, throwIfNoEntry: false });
  }

  /** Target of a symlink. */
  readLink(name: ByteString): ByteString {
    return byteString(readlinkSync(this.at(name), { encoding: 'buffer' }));
  }

  /** @throws ENOTDIR, ELOOP for what is no directory (any more) */
  enter(name: ByteString): OpenDirectory {
    const fd = this.#sys.openat2(this.fd, pathArg(name), {
      flags: constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | O_CLOEXEC,
      resolve: RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS,
    });
    return new OpenDirectory(this.#sys, fd);
  }

  /** A regular file for reading. A FIFO of that name does not hold us up. */
  openFile(name: ByteString): number {
    return this.#sys.openat2(this.fd, pathArg(name), {
      flags: constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | O_CLOEXEC,
      resolve: RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS,
    });
  }

  [Symbol.dispose](): void {
    closeSync(this.fd);
  }
}

/**
 * Opens `inside`, a path as a process with the root `root` sees it; symlinks are followed within
 * the root. With `O_PATH` the last part may be anything and, with `noFollow`, a symlink itself.
 */
export function openInRoot(
  sys: Syscalls,
  root: OpenDirectory,
  inside: string,
  options: { readonly directory: boolean; readonly noFollow?: boolean },
): number {
  const noFollow = options.noFollow === true ? constants.O_NOFOLLOW : 0;
  return sys.openat2(root.fd, inside.replace(/^\/+/, '') || '.', {
    flags: options.directory
      ? constants.O_RDONLY | constants.O_DIRECTORY | noFollow | O_CLOEXEC
      : O_PATH | noFollow | O_CLOEXEC,
    resolve: RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS,
  });
}
