import {
  type BigIntStats,
  chmodSync,
  closeSync,
  constants,
  lstatSync,
  openSync,
  readdirSync,
  readlinkSync,
} from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../base/errors.ts';
import {
  type ByteString,
  byteString,
  fromText,
  pathArg,
  toBytes,
  toText,
} from '../formats/byte-string.ts';
import { AT, O_CLOEXEC, O_PATH, RESOLVE } from './constants.ts';
import { openRegularFile } from './rootfs-file.ts';
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
  static open(sys: Syscalls, at: string): OpenDirectory {
    return new OpenDirectory(sys, openSync(at, constants.O_RDONLY | constants.O_DIRECTORY));
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

  /** A regular file for reading; undefined for what is none (any more). */
  openFile(name: ByteString): number | undefined {
    const resolve = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS;
    return openRegularFile(this.#sys, this.fd, pathArg(name), resolve);
  }

  /** Removes a name with all below it. Whoever changes it meanwhile may make this fail, not leave it. */
  remove(name: ByteString): void {
    if (this.stat(name)?.isDirectory() !== true) {
      this.#sys.unlinkat(this.fd, pathArg(name), 0);
      return;
    }
    const directory = this.enter(name);
    try {
      for (const each of directory.names()) directory.remove(each);
    } finally {
      directory[Symbol.dispose]();
    }
    this.#sys.unlinkat(this.fd, pathArg(name), AT.REMOVEDIR);
  }

  /** Sets the mode of a file that is no symlink. @throws ELOOP when it has become one */
  chmod(name: ByteString, mode: number): void {
    const fd = this.#sys.openat2(this.fd, pathArg(name), {
      flags: O_PATH | O_CLOEXEC,
      resolve: RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS,
    });
    try {
      chmodSync(`/proc/self/fd/${fd}`, mode);
    } finally {
      closeSync(fd);
    }
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

/** As many as the kernel follows (path_resolution(7)). */
const SYMLINKS_MAX = 40;

/**
 * Where a path ends when all its symlinks are followed within the root, absolute there. Of a path
 * that leads to nothing, as far as it goes and the rest as it is written.
 */
export function followInRoot(sys: Syscalls, root: OpenDirectory, inside: string): string {
  let done = '/';
  const rest = inside.split('/').reverse();
  for (let links = 0; rest.length > 0; ) {
    const next = path.posix.resolve(done, rest.pop() ?? '');
    const target = symlinkInRoot(sys, root, next);
    if (target === undefined) {
      done = next;
      continue;
    }
    links += 1;
    if (links > SYMLINKS_MAX) return path.posix.resolve(next, ...rest.reverse());
    if (target.startsWith('/')) done = '/';
    rest.push(...target.split('/').reverse());
  }
  return done;
}

/** Target of a symlink; undefined for what is none, or not there. */
function symlinkInRoot(sys: Syscalls, root: OpenDirectory, inside: string): string | undefined {
  if (inside === '/') return undefined;
  try {
    const folder = openInRoot(sys, root, path.posix.dirname(inside), { directory: true });
    using parent = new OpenDirectory(sys, folder);
    return toText(parent.readLink(fromText(path.posix.basename(inside))));
  } catch (error) {
    if (['EINVAL', 'ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
}
