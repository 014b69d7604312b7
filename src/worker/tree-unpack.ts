import { closeSync, constants, fchmodSync, fchownSync, ftruncateSync, writeSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, invalidArgument, messageOf } from '../base/errors.ts';
import { type ByteString, fromText, pathArg, toText } from '../formats/byte-string.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import type { TarSink } from '../formats/tar-reader.ts';
import { AT, O_CLOEXEC, S } from '../kernel/constants.ts';
import type { Syscalls, TimeSpec } from '../kernel/syscalls.ts';
import { OpenDirectory, openInRoot } from '../kernel/tree-walk.ts';
import { toHostId, type UserRemap } from '../policy/user-remap.ts';
import { isAbsent } from './tree-view.ts';

export type UnpackOptions = {
  readonly sys: Syscalls;
  /** The container's root: symlinks in it are followed within it. */
  readonly root: OpenDirectory;
  /** Folder to extract into, absolute within the root; it exists. */
  readonly into: string;
  readonly noOverwriteDirNonDir: boolean;
  readonly owner: { readonly uid: number; readonly gid: number } | undefined;
  /** Whom the owners of files are shown as; undefined for the container's own users. */
  readonly users: UserRemap | undefined;
  /** What a filesystem cannot hold is left out and told of here. */
  readonly onWarning: (message: string) => void;
};

type Place = { readonly parent: OpenDirectory; readonly name: ByteString };
type OpenFile = { readonly fd: number; readonly entry: TarEntry };

/** Makes the entries of a user's archive into files of a container, over what is there. */
export class TreeUnpacker implements TarSink {
  readonly #options: UnpackOptions;
  readonly #sys: Syscalls;
  #file: OpenFile | undefined;
  /** The directory that the last entry lay in. */
  #parent: { readonly path: string; readonly directory: OpenDirectory } | undefined;
  /** Times of directories are set in the end, as making files in them changes them. */
  readonly #directoryTimes: { path: string; atime: TimeSpec; mtime: TimeSpec }[] = [];

  constructor(options: UnpackOptions) {
    this.#options = options;
    this.#sys = options.sys;
  }

  readonly entry = (entry: TarEntry): void => {
    try {
      this.#entry(entry);
    } catch (error) {
      const errno = errnoOf(error);
      // What the archive asks for cannot be had; a disk that is full or broken is not its fault.
      if (errno === undefined || ['ENOSPC', 'EDQUOT', 'EIO'].includes(errno)) throw error;
      throw invalidArgument(`cannot extract ${toText(entry.path)}: ${messageOf(error)}`, {
        cause: error,
      });
    }
  };

  readonly content = (bytes: Buffer, offset: number): void => {
    if (this.#file === undefined) return;
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(this.#file.fd, bytes, at, bytes.length - at, offset + at);
    }
  };

  readonly entryEnd = (): void => {
    if (this.#file === undefined) return;
    const { fd, entry } = this.#file;
    this.#file = undefined;
    try {
      if (entry.segments !== undefined) ftruncateSync(fd, entry.sizeBytes);
      const { uid, gid } = this.#ownerOf(entry);
      fchownSync(fd, uid, gid);
      fchmodSync(fd, entry.mode);
      for (const { name, value } of entry.xattrs) {
        this.#xattr(entry, name, () => this.#sys.fsetxattr(fd, name, value));
      }
      this.#sys.futimens(fd, entry.atime, entry.mtime);
    } finally {
      closeSync(fd);
    }
  };

  /** All entries are there. */
  end(): void {
    for (const each of this.#directoryTimes.reverse()) {
      const fd = this.#open(each.path);
      try {
        this.#sys.futimens(fd, each.atime, each.mtime);
      } finally {
        closeSync(fd);
      }
    }
    this.#parent?.directory[Symbol.dispose]();
  }

  #open(inside: string): number {
    return openInRoot(this.#sys, this.#options.root, inside, { directory: true });
  }

  /** Where an entry belongs; the folders above it are made when the archive does not have them. */
  #place(entryPath: ByteString): Place | undefined {
    const text = toText(entryPath);
    const clean = path.posix.normalize(`/${text}`).replace(/(.)\/$/, '$1');
    if (text.split('/').includes('..')) {
      throw invalidArgument(`invalid tar entry ${JSON.stringify(text)}: a name must not hold ..`);
    }
    if (clean === '/') return undefined;
    const full = path.posix.join(this.#options.into, path.posix.dirname(clean));
    if (this.#parent?.path !== full) {
      this.#parent?.directory[Symbol.dispose]();
      this.#parent = undefined;
      this.#parent = { path: full, directory: this.#openOrMake(full) };
    }
    return { parent: this.#parent.directory, name: fromText(path.posix.basename(clean)) };
  }

  #openOrMake(full: string): OpenDirectory {
    try {
      return new OpenDirectory(this.#sys, this.#open(full));
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    const above = this.#openOrMake(path.posix.dirname(full));
    try {
      this.#sys.mkdirat(above.fd, pathArg(fromText(path.posix.basename(full))), 0o755);
    } finally {
      above[Symbol.dispose]();
    }
    return new OpenDirectory(this.#sys, this.#open(full));
  }

  #ownerOf(entry: TarEntry): { readonly uid: number; readonly gid: number } {
    const { users, owner } = this.#options;
    const { uid, gid } = owner ?? entry;
    if (users === undefined) return { uid, gid };
    const mapped = { uid: toHostId(users.uids, uid), gid: toHostId(users.gids, gid) };
    if (mapped.uid === undefined || mapped.gid === undefined) {
      throw invalidArgument(`the owner ${uid}:${gid} is none of the container's users`);
    }
    return { uid: mapped.uid, gid: mapped.gid };
  }

  #entry(entry: TarEntry): void {
    const place = this.#place(entry.path);
    if (place === undefined) return; // the folder itself is left as it is
    const { parent, name } = place;
    const there = parent.stat(name);
    if (entry.kind === 'directory') {
      this.#directory(entry, place, there?.isDirectory() === true);
      return;
    }
    if (there !== undefined) this.#clear(entry, place, there.isDirectory());
    switch (entry.kind) {
      case 'file': {
        const flags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | O_CLOEXEC;
        const fd = this.#sys.openat2(parent.fd, pathArg(name), { flags, mode: 0o600 });
        this.#file = { fd, entry };
        return;
      }
      case 'hardlink':
        this.#hardLink(entry, place);
        return;
      case 'symlink':
        this.#sys.symlinkat(pathArg(entry.link), parent.fd, pathArg(name));
        break;
      case 'char':
      case 'block':
      case 'fifo': {
        const type = entry.kind === 'char' ? S.IFCHR : entry.kind === 'block' ? S.IFBLK : S.IFIFO;
        this.#sys.mknodat(parent.fd, pathArg(name), type | 0o600, entry);
      }
    }
    this.#dressNode(entry, place);
  }

  /** Makes room for an entry that is no directory. */
  #clear(entry: TarEntry, { parent, name }: Place, isDirectory: boolean): void {
    if (isDirectory && this.#options.noOverwriteDirNonDir) {
      throw invalidArgument(
        `cannot overwrite directory ${this.#quoted(entry)} with non-directory ${JSON.stringify(this.#options.into)}`,
      );
    }
    parent.remove(name);
  }

  /** Where the entry would go, in the container. */
  #quoted(entry: TarEntry): string {
    return JSON.stringify(path.posix.join(this.#options.into, toText(entry.path)));
  }

  #directory(entry: TarEntry, { parent, name }: Place, isThere: boolean): void {
    if (!isThere) {
      if (parent.stat(name) !== undefined) {
        if (this.#options.noOverwriteDirNonDir) {
          throw invalidArgument(
            `cannot overwrite non-directory ${this.#quoted(entry)} with directory ${JSON.stringify(this.#options.into)}`,
          );
        }
        this.#sys.unlinkat(parent.fd, pathArg(name), 0);
      }
      this.#sys.mkdirat(parent.fd, pathArg(name), 0o700);
    }
    const directory = parent.enter(name);
    try {
      const { uid, gid } = this.#ownerOf(entry);
      fchownSync(directory.fd, uid, gid);
      fchmodSync(directory.fd, entry.mode);
      for (const { name: key, value } of entry.xattrs) {
        this.#xattr(entry, key, () => this.#sys.fsetxattr(directory.fd, key, value));
      }
    } finally {
      directory[Symbol.dispose]();
    }
    const full = path.posix.join(this.#options.into, toText(entry.path));
    this.#directoryTimes.push({ path: full, atime: entry.atime, mtime: entry.mtime });
  }

  /** The link's target is a name in the archive, so it too lies below the folder. */
  #hardLink(entry: TarEntry, { parent, name }: Place): void {
    const target = path.posix.normalize(`/${toText(entry.link)}`);
    const full = path.posix.join(this.#options.into, path.posix.dirname(target));
    let from: OpenDirectory;
    try {
      from = new OpenDirectory(this.#sys, this.#open(full));
    } catch (error) {
      throw isAbsent(error)
        ? invalidArgument(`invalid hard link ${toText(entry.path)}: its target is not there`, {
            cause: error,
          })
        : error;
    }
    try {
      this.#sys.linkat(
        from.fd,
        pathArg(fromText(path.posix.basename(target))),
        parent.fd,
        pathArg(name),
      );
    } finally {
      from[Symbol.dispose]();
    }
  }

  #dressNode(entry: TarEntry, { parent, name }: Place): void {
    const { uid, gid } = this.#ownerOf(entry);
    this.#sys.fchownat(parent.fd, pathArg(name), uid, gid, AT.SYMLINK_NOFOLLOW);
    if (entry.kind !== 'symlink') parent.chmod(name, entry.mode);
    this.#sys.utimensat(parent.fd, pathArg(name), entry.atime, entry.mtime);
  }

  #xattr(entry: TarEntry, name: string, set: () => void): void {
    try {
      set();
    } catch (error) {
      if (!['EOPNOTSUPP', 'EPERM'].includes(errnoOf(error) ?? '')) throw error;
      this.#options.onWarning(`left out ${name} of ${toText(entry.path)}: ${messageOf(error)}`);
    }
  }
}
