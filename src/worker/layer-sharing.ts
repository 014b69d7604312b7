import { randomBytes } from 'node:crypto';
import { closeSync, constants, mkdirSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../base/errors.ts';
import { newShortName } from '../base/id.ts';
import type { ByteString } from '../formats/byte-string.ts';
import {
  GROUP_CHARS,
  HEAD_BYTES,
  LayerContentsWriter,
  placeSum,
} from '../formats/layer-contents.ts';
import { isReservedXattr } from '../formats/layer-path.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { FADV, O_CLOEXEC } from '../kernel/constants.ts';
import type { OtherName } from '../kernel/file-maker.ts';
import { CWD, type Syscalls } from '../kernel/syscalls.ts';
import {
  bucketOf,
  type ObjectName,
  placeInGroup,
  STAGED_OBJECTS,
} from '../store/layers/object-place.ts';
import { CONTENTS, METACOPY, NO_VALUE, REDIRECT, redirectTo } from '../store/layers/objects.ts';
import { ContentWriter, type ContentWriterOptions, copyBytes } from './content-writer.ts';
import {
  type FileIdentity,
  type LocalContent,
  type LocalContents,
  localContents,
  type OpenContent,
} from './local-contents.ts';

/** One file of one layer has at most so many names more; ext4 allows 65,000. */
const LINKS_MAX = 32_000;
const BILLION = 1_000_000_000n;
const CREATE = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | O_CLOEXEC;

/**
 * What a layer that is being extracted shares with those that are here, and what it offers to those
 * to come: each file that it writes gets a name in its `objects/`.
 *
 * A content that is here is used again in the cheapest way that leaves the layer as it should be:
 * a hard link of the same file at the same path with the same owner, mode, mtime and attributes (at
 * another path two files of one image could become names of one inode, which programs that copy
 * trees would take for hard links); a stub; a reflink; a copy.
 */
export class LayerSharing implements Disposable {
  readonly #sys: Syscalls;
  readonly #local: LocalContents;
  readonly #directory: string;
  readonly #contents = new LayerContentsWriter();
  readonly #head = Buffer.allocUnsafeSlow(HEAD_BYTES);
  /** The file that the content that comes is being read from, where it is the whole of one. */
  source: FileIdentity | undefined;
  #objectsFd = -1;
  #objects = 0;
  /** The folder that the last object lies in. */
  #bucket = '';
  #sharedFiles = 0;
  #sharedBytes = 0;
  #listBytes = 0;

  constructor(sys: Syscalls, local: LocalContents, directory: string) {
    this.#sys = sys;
    this.#local = local;
    this.#directory = directory;
  }

  /** For a layer in `directory`; undefined where there is nothing to share with. */
  static of(sys: Syscalls, directory: string): LayerSharing | undefined {
    const local = localContents(sys, directory);
    return local === undefined ? undefined : new LayerSharing(sys, local, directory);
  }

  /** Bytes of contents that did not have to be written. */
  get sharedBytes(): number {
    return this.#sharedBytes;
  }

  /** Files whose content lies in another layer's. */
  get sharedFiles(): number {
    return this.#sharedFiles;
  }

  /** Files whose content others may share. */
  get offeredFiles(): number {
    return this.#objects;
  }

  /** A layer's names may become an image of names: overlayfs can show one, and there is something to share. */
  get mayBeImage(): boolean {
    return this.#local.hasImages && this.#local.count > 0;
  }

  /** The name that the layer's folder and its group in `objects/` will have. */
  readonly group = newShortName({ bytes: randomBytes }, GROUP_CHARS);

  /** Bytes of the list of contents. */
  get listBytes(): number {
    return this.#listBytes;
  }

  /** True for files whose content is looked for and noted. */
  takes(entry: TarEntry): boolean {
    return entry.sizeBytes > 0 && entry.segments === undefined && this.#contents.hasRoom;
  }

  /** Begins the content of a file; at most one at a time. */
  writer(
    entry: TarEntry,
    path: ByteString,
    to: Pick<ContentWriterOptions, 'create' | 'post' | 'onWritten'>,
  ): ContentWriter {
    return new ContentWriter({
      sys: this.#sys,
      local: this.#local,
      head: this.#head,
      sizeBytes: entry.sizeBytes,
      place: placeSum(path),
      source: () => this.source,
      ...to,
    });
  }

  /** Makes `name` the very file that the content was found in, if it is right in all; else false. */
  link(
    found: OpenContent,
    entry: TarEntry,
    at: { path: ByteString; dirFd: number; name: string | Uint8Array },
  ): boolean {
    const { content } = found;
    if (content.isLinked || content.place !== placeSum(at.path)) return false;
    if (!this.#isSame(found, entry)) return false;
    try {
      this.#sys.linkat(CWD, found.file, at.dirFd, at.name);
    } catch (error) {
      if (errnoOf(error) === 'EMLINK' || errnoOf(error) === 'ENOENT') return false;
      throw error;
    }
    return true;
  }

  #isSame(found: OpenContent, entry: TarEntry): boolean {
    const { file, stats } = found;
    const mtimeNs = BigInt(entry.mtime.sec) * BILLION + BigInt(entry.mtime.nsec);
    if (
      stats.mtimeNs !== mtimeNs ||
      stats.uid !== BigInt(entry.uid) ||
      stats.gid !== BigInt(entry.gid) ||
      (Number(stats.mode) & 0o7777) !== (entry.mode & 0o7777) ||
      stats.nlink >= LINKS_MAX
    ) {
      return false;
    }
    const names = this.#sys.llistxattr(file);
    const wanted = entry.xattrs.filter(({ name }) => !isReservedXattr(name));
    return (
      names.length === wanted.length &&
      wanted.every(({ name, value }) => {
        const has = this.#sys.fgetxattr(found.fd, name);
        return has !== undefined && Buffer.compare(has, value) === 0;
      })
    );
  }

  /**
   * Gives an empty file the content that was found: as a stub, which says where it is, by a reflink,
   * or, where neither works, by a copy.
   */
  fill(found: OpenContent, path: ByteString, fd: number): 'stub' | 'reflink' | 'copy' {
    const { bytes } = found.content;
    if (this.#local.hasMetacopy) {
      this.stub(found.content, fd);
      this.shared(found.content, path);
      return 'stub';
    }
    if (this.#reflink(found, fd)) {
      this.#sharedBytes += bytes;
      return 'reflink';
    }
    copyBytes(this.#sys, found.fd, fd, bytes);
    return 'copy';
  }

  /** Opens a content that was found here. */
  open(content: LocalContent): OpenContent {
    const found = this.#local.open(content);
    if (found === undefined) throw new Error('assertion failed: a content that is used went');
    return found;
  }

  /** Makes an empty file say where its content is. */
  stub(object: ObjectName, fd: number): void {
    this.#sys.fsetxattr(fd, METACOPY, NO_VALUE);
    this.#sys.fsetxattr(fd, REDIRECT, redirectTo(object));
  }

  #reflink(found: OpenContent, fd: number): boolean {
    try {
      this.#sys.clone(fd, found.fd);
      return true;
    } catch (error) {
      if (!NO_REFLINK.has(errnoOf(error) ?? '')) throw error;
      return false;
    }
  }

  /** Notes that the file at `path` has a content that is here. */
  shared({ sum, group, number, bytes }: LocalContent, path: ByteString): void {
    this.#contents.add({ sum, place: placeSum(path), group, number, bytes });
    this.#sharedBytes += bytes;
    this.#sharedFiles += 1;
  }

  /** Notes a file that has a content of its own, for layers to come. */
  offer(at: { dirFd: number; name: string | Uint8Array }, content: OwnContent): void {
    const object = this.promise(content);
    this.#sys.linkat(at.dirFd, at.name, object.dirFd, object.name);
  }

  /** The same for a file that is yet to be made: gives the name that it must get in the end. */
  promise(content: OwnContent): OtherName {
    const number = this.#nextObject();
    this.offered({ number, ...content });
    return { dirFd: this.#objectsFd, name: placeInGroup(number) };
  }

  #nextObject(): number {
    if (this.#objectsFd < 0) this.#objectsFd = openFolder(this.#directory);
    this.#objects += 1;
    const bucket = bucketOf(this.#objects);
    if (bucket !== this.#bucket) this.#sys.mkdirat(this.#objectsFd, bucket, 0o711);
    this.#bucket = bucket;
    return this.#objects;
  }

  /** Makes an object that is in no tree: {@link offered} says what it is in the end. */
  create(): { readonly fd: number; readonly number: number } {
    const number = this.#nextObject();
    const how = { flags: CREATE, mode: 0o600 };
    return { fd: this.#sys.openat2(this.#objectsFd, placeInGroup(number), how), number };
  }

  /** Notes the content of an object of the layer itself, and gives it as others would find it. */
  offered(object: OwnContent & { readonly number: number }): LocalContent {
    const { number, path: at, sum, bytes } = object;
    const content = { sum, place: placeSum(at), group: '', number, bytes, isLinked: false };
    this.#contents.add(content);
    return content;
  }

  /** Opens an object of the layer itself. */
  openOwn(number: number): number {
    const how = { flags: constants.O_RDWR | constants.O_NOFOLLOW | O_CLOEXEC };
    return this.#sys.openat2(this.#objectsFd, placeInGroup(number), how);
  }

  /** Gives an object of the layer itself a name in its tree. */
  name(number: number, dirFd: number, name: string | Uint8Array): void {
    this.#sys.linkat(this.#objectsFd, placeInGroup(number), dirFd, name);
  }

  /** The layer has a hard link to this path. */
  linked(path: ByteString): void {
    this.#contents.linked(path);
  }

  /** Writes the list of the layer's contents. */
  finish(): void {
    if (this.#contents.count === 0) return;
    const bytes = this.#contents.encode();
    const file = path.join(this.#directory, CONTENTS);
    const { O_WRONLY, O_CREAT, O_EXCL } = constants;
    const fd = openSync(file, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o600);
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      this.#sys.fadvise(fd, 0, 0, FADV.DONTNEED);
    } finally {
      closeSync(fd);
    }
    this.#listBytes = bytes.length;
  }

  [Symbol.dispose](): void {
    if (this.#objectsFd >= 0) closeSync(this.#objectsFd);
  }
}

/** A content that the layer brings. */
type OwnContent = { readonly path: ByteString; readonly sum: number; readonly bytes: number };

/** What FICLONE says where there are no reflinks. */
const NO_REFLINK = new Set(['EOPNOTSUPP', 'ENOTTY', 'EXDEV', 'EINVAL', 'ENOSYS']);

function openFolder(directory: string): number {
  const folder = path.join(directory, STAGED_OBJECTS);
  mkdirSync(folder, { mode: 0o711 });
  return openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC);
}
