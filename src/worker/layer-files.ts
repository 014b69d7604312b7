import { constants, fchmodSync, fchownSync, ftruncateSync, writeSync } from 'node:fs';
import { assert, errnoOf, messageOf } from '../base/errors.ts';
import { type ByteString, pathArg, toText } from '../formats/byte-string.ts';
import type { ContentRecord } from '../formats/layer-contents.ts';
import type { ContentPlace } from '../formats/layer-headers.ts';
import { isReservedXattr } from '../formats/layer-path.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { AT, O_CLOEXEC } from '../kernel/constants.ts';
import { type MadeFile, type OtherName, PIECE_BYTES } from '../kernel/file-maker.ts';
import { CWD, type Syscalls } from '../kernel/syscalls.ts';
import type { LayerTail } from '../store/layers/layer-tar.ts';
import { objectPlace } from '../store/layers/object-place.ts';
import type { ContentWriter } from './content-writer.ts';
import type { EarlierFile } from './earlier-files.ts';
import { inside, type LayerDir } from './extract-dirs.ts';
import {
  type LayerPlaces,
  type LayerTreeOptions,
  needsChown,
  type PlacedEntry,
  placed,
} from './layer-places.ts';
import type { OpenContent } from './local-contents.ts';

/** A file that is made here, call by call. */
type OpenFile = {
  readonly fd: number;
  readonly entry: TarEntry;
  readonly place: ContentPlace;
  /** False for contents that lie apart and for whole files that were taken over: they are left as they are. */
  readonly isInTree: boolean;
  readonly needsChown: boolean;
};

/** A file that the other thread makes of what is posted to it. */
type PostedFile = {
  readonly at: PlacedEntry;
  readonly entry: TarEntry;
  readonly place: ContentPlace;
  readonly file: MadeFile;
};

/** A file whose content may turn out to be here already: it is made when that is known. */
type HeldFile = PlacedEntry & { readonly writer: ContentWriter };

const CREATE =
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | O_CLOEXEC;
const SETID = 0o6000;
const NOTHING = Buffer.alloc(0);

/**
 * Makes the regular files of a layer that is being extracted, one after another, or finds that
 * their contents are here. What is plain, which is nearly all, is made by another thread
 * ({@link LayerPlaces}); what has attributes or holes, takes a name that may be taken, shares a
 * content or is taken over from an earlier extraction is made here.
 */
export class LayerFiles implements Disposable {
  readonly #options: LayerTreeOptions;
  readonly #sys: Syscalls;
  readonly #places: LayerPlaces;
  #file: OpenFile | undefined;
  #posted: PostedFile | undefined;
  #held: HeldFile | undefined;
  /** Bytes of the current file that were dealt with, in order. */
  #fileAt = 0;
  /** Sum of the sizes of the files so far. */
  fileBytes = 0;
  /** Bytes of content written so far. */
  writtenBytes = 0;

  constructor(options: LayerTreeOptions, places: LayerPlaces) {
    this.#options = options;
    this.#sys = options.sys;
    this.#places = places;
  }

  /** What is there of the current file; see `LayerTree.unfinished`. */
  get unfinished(): LayerTail | undefined {
    const lies = this.#held?.writer.lies;
    if (lies?.content !== undefined) {
      const place = objectPlace(lies.content) as ByteString;
      return { path: place, isObject: true, bytes: lies.bytes };
    }
    const { entry, place } = this.#file ?? this.#posted ?? {};
    if (place?.kind !== 'content' || entry?.segments !== undefined) return undefined;
    const bytes = this.#held === undefined ? this.#fileAt : (lies?.bytes ?? 0);
    return bytes === 0 ? undefined : { path: place.path, isObject: false, bytes };
  }

  get #current(): TarEntry | undefined {
    return this.#held?.entry ?? this.#posted?.entry ?? this.#file?.entry;
  }

  /** Begins a regular file. */
  begin(at: PlacedEntry): void {
    const { entry } = at;
    const { sharing } = this.#options;
    this.#fileAt = 0;
    this.fileBytes += entry.sizeBytes;
    if (sharing?.takes(entry) !== true) {
      if (!this.#post(at, NOTHING, 0)) this.#create(at);
      return;
    }
    const writer = sharing.writer(entry, at.clean, {
      create: () => this.#takeOver(at) ?? { fd: this.#create(at), filledBytes: 0 },
      post: (bytes, offset) => this.#post(at, bytes, offset),
      onWritten: (bytes) => this.#wrote(bytes),
    });
    this.#held = { ...at, writer };
  }

  /** Begins a content that lies apart. */
  beginApart(entry: TarEntry): void {
    const { dirFd, number } = this.#places.nextApart();
    this.#fileAt = 0;
    this.#file = {
      fd: this.#sys.openat2(dirFd, String(number), { flags: CREATE, mode: 0o600 }),
      entry,
      place: { kind: 'apart', number },
      isInTree: false,
      needsChown: false,
    };
    this.fileBytes += entry.sizeBytes;
    this.#options.writeback.opened(this.#file.fd);
  }

  /** Bytes of the current file's content. */
  content(bytes: Buffer, offset: number): void {
    const entry = this.#current;
    assert(entry !== undefined, 'content without a file');
    try {
      if (this.#held !== undefined) this.#held.writer.write(bytes);
      else if (this.#posted !== undefined) this.#post(this.#posted.at, bytes, offset);
      else if (this.#file !== undefined) this.#write(this.#file.fd, bytes, offset);
      this.#fileAt = offset + bytes.length;
    } catch (error) {
      throw this.#places.failed(error, entry);
    }
  }

  #write(fd: number, bytes: Buffer, offset: number): void {
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(fd, bytes, at, bytes.length - at, offset + at);
    }
    this.#wrote(bytes.length);
  }

  #wrote(bytes: number): void {
    this.writtenBytes += bytes;
    this.#options.writeback.wrote(bytes);
  }

  /**
   * Posts the next bytes of a file's content; the last of them complete it. False at its beginning
   * where it has to be made here.
   */
  #post(at: PlacedEntry, bytes: Buffer, offset: number): boolean {
    const { maker } = this.#places;
    const isFirst = offset === 0 && this.#posted === undefined;
    if (isFirst) this.#posted = this.#beginPosted(at);
    const { entry } = at;
    if (this.#posted === undefined || maker === undefined) return false;
    const { file } = this.#posted;
    for (let from = 0; from === 0 || from < bytes.length; from += PIECE_BYTES) {
      const content = bytes.subarray(from, from + PIECE_BYTES);
      const isLast = offset + from + content.length === entry.sizeBytes;
      const object = isLast ? this.#promise(at) : undefined;
      const piece = { content, isFirst: isFirst && from === 0, isLast };
      maker.piece(entry, file, piece, object);
      this.#options.writeback.posted(content.length, isLast);
    }
    this.writtenBytes += bytes.length;
    return true;
  }

  #beginPosted(at: PlacedEntry): PostedFile | undefined {
    const { entry, name } = at;
    const { earlier } = this.#options;
    const isPlain = entry.segments === undefined && entry.xattrs.length === 0;
    if (this.#places.maker === undefined || !isPlain || earlier?.isOver === false) return undefined;
    const dir = this.#places.free(at);
    if (dir === undefined) return undefined;
    const place = { kind: 'content', path: inside(dir, name) } as const;
    return { at, entry, place, file: madeFile(at, dir) };
  }

  /** The name of an object that a posted file gets, where others may share its content. */
  #promise({ entry, clean }: PlacedEntry): OtherName | undefined {
    const sum = this.#held?.writer.sum;
    if (sum === undefined) return undefined;
    return this.#options.sharing?.promise({ path: clean, sum, bytes: entry.sizeBytes });
  }

  /** Ends the current file; gives where its content lies when it has any. */
  end(): ContentPlace | undefined {
    const held = this.#held;
    const entry = this.#current;
    if (entry === undefined) return undefined;
    const posted = this.#posted;
    this.#held = undefined;
    this.#posted = undefined;
    try {
      if (posted !== undefined) return entry.storedBytes > 0 ? posted.place : undefined;
      using found = held?.writer.end();
      if (held !== undefined && found !== undefined) return this.#share(held, found);
      return this.#closeFile(held, held?.writer.sum);
    } catch (error) {
      throw this.#places.failed(error, entry);
    }
  }

  /** Ends the file that is open. With a `sum` it has a content of its own, for others to share. */
  #closeFile(held: PlacedEntry | undefined, sum: number | undefined): ContentPlace | undefined {
    const file = this.#file;
    if (file === undefined) return undefined;
    this.#file = undefined;
    const { entry, place } = file;
    try {
      this.#seal(file);
      if (held !== undefined && sum !== undefined) {
        const { clean, parent, name } = held;
        const at = { dirFd: this.#places.dirs.open(parent).fd, name: pathArg(name) };
        this.#options.sharing?.offer(at, { path: clean, sum, bytes: entry.sizeBytes });
      }
    } finally {
      this.#options.writeback.closed();
    }
    return entry.storedBytes > 0 ? place : undefined;
  }

  #seal({ fd, entry, isInTree, needsChown: chown }: OpenFile): void {
    const last = entry.segments?.at(-1);
    const ends = entry.segments === undefined ? entry.sizeBytes : last && last.offset + last.bytes;
    if (ends !== entry.sizeBytes) ftruncateSync(fd, entry.sizeBytes);
    if (!isInTree) return;
    // chown clears setuid bits and capabilities, so it comes before both.
    if (chown) fchownSync(fd, entry.uid, entry.gid);
    if (chown || (entry.mode & SETID) !== 0) fchmodSync(fd, entry.mode);
    setXattrs(entry, this.#options.onWarning, (name, value) =>
      this.#sys.fsetxattr(fd, name, value),
    );
    this.#sys.futimens(fd, entry.atime, entry.mtime);
  }

  /** Makes a file of a content that is here already. */
  #share(held: HeldFile, found: OpenContent): ContentPlace | undefined {
    const { sharing } = this.#options;
    const { entry, clean } = held;
    if (sharing === undefined) return undefined;
    const linked = this.#link(held, found);
    if (linked !== undefined) {
      sharing.shared(found.content, clean);
      return { kind: 'content', path: linked };
    }
    const fd = this.#create(held);
    const how = sharing.fill(found, clean, fd);
    if (how === 'stub') {
      // All of it is a hole.
      ftruncateSync(fd, entry.sizeBytes);
      return this.#closeFile(held, undefined);
    }
    if (how === 'copy') this.#wrote(entry.sizeBytes);
    return this.#closeFile(held, found.content.sum);
  }

  /** Makes a place the very file of a content when it is right in all; else undefined. */
  #link(at: PlacedEntry, found: OpenContent): ByteString | undefined {
    const { sharing } = this.#options;
    const { entry, clean, name } = at;
    return this.#places.make(at, (dir) => {
      const to = { path: clean, dirFd: dir.fd, name: pathArg(name) };
      return sharing?.link(found, entry, to) === true ? inside(dir, name) : undefined;
    });
  }

  /** Goes on with a file of whose content `writer` has taken a part: makes it. */
  goOn(entry: TarEntry, writer: ContentWriter): EarlierFile {
    const at = placed(entry);
    this.#held = { ...at, writer };
    return this.#takeOver(at) ?? { fd: this.#create(at), filledBytes: 0 };
  }

  /** Makes a file of an object whose content is noted already: the layer's own, or another's. */
  adopt(entry: TarEntry, content: ContentRecord): void {
    const { sharing, writeback } = this.#options;
    assert(sharing !== undefined, 'an object without sharing');
    const at = placed(entry);
    if (content.group !== '') {
      using found = sharing.open(content);
      if (this.#link(at, found) !== undefined) return;
      const stub = this.#create(at);
      sharing.stub(content, stub);
      ftruncateSync(stub, entry.sizeBytes);
      this.#closeFile(undefined, undefined);
      return;
    }
    const { group, number } = content;
    // Its attributes before its name: who goes on after a power cut takes what has one as done.
    const fd = sharing.openOwn(number);
    const place = { kind: 'object', group, number } as const;
    this.#file = { fd, entry, place, isInTree: true, needsChown: true };
    writeback.opened(fd);
    this.#closeFile(undefined, undefined);
    this.#places.make(at, (dir) => sharing.name(number, dir.fd, pathArg(at.name)));
  }

  /** Uses the file that an earlier extraction made of the same entry; undefined when it has none. */
  #takeOver(at: PlacedEntry): EarlierFile | undefined {
    const { entry, name } = at;
    const earlier = this.#options.earlier?.open(at.clean, entry.sizeBytes);
    if (earlier === undefined) return undefined;
    const { fd, filledBytes } = earlier;
    const isInTree = filledBytes < entry.sizeBytes;
    this.#file = this.#places.make(at, (dir) => {
      const from = `/proc/self/fd/${fd}`;
      this.#sys.linkat(CWD, from, dir.fd, pathArg(name), AT.SYMLINK_FOLLOW);
      const place = { kind: 'content', path: inside(dir, name) } as const;
      return { fd, entry, place, isInTree, needsChown: isInTree && needsChown(entry, dir) };
    });
    this.#options.writeback.opened(fd);
    return earlier;
  }

  #create(at: PlacedEntry): number {
    const { entry, name } = at;
    const how = { flags: CREATE, mode: entry.mode & 0o777 };
    const file = this.#places.make(at, (dir) => ({
      fd: this.#sys.openat2(dir.fd, pathArg(name), how),
      entry,
      place: { kind: 'content', path: inside(dir, name) } as const,
      isInTree: true,
      needsChown: needsChown(entry, dir),
    }));
    this.#file = file;
    this.#options.writeback.opened(file.fd);
    return file.fd;
  }

  [Symbol.dispose](): void {
    this.#held?.writer[Symbol.dispose]();
  }
}

/** What a file or symlink is for the thread that makes it. */
export function madeFile({ entry, name }: PlacedEntry, dir: LayerDir): MadeFile {
  const chown = needsChown(entry, dir);
  return {
    dirFd: dir.handle,
    name,
    mode: entry.mode,
    owner: chown ? entry : undefined,
    needsChmod: chown || (entry.mode & SETID) !== 0,
    atime: entry.atime,
    mtime: entry.mtime,
  };
}

/** Sets an entry's attributes; those that cannot be kept here are left out, with a warning. */
export function setXattrs(
  { xattrs, path }: TarEntry,
  onWarning: (message: string) => void,
  set: (name: string, value: Uint8Array) => void,
): void {
  for (const { name, value } of xattrs) {
    if (isReservedXattr(name)) continue;
    try {
      set(name, value);
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== 'EOPNOTSUPP' && errno !== 'EPERM') throw error;
      onWarning(`left out ${name} of ${toText(path)}: ${messageOf(error)}`);
    }
  }
}
