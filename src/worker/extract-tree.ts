import {
  closeSync,
  constants,
  fchmodSync,
  fchownSync,
  ftruncateSync,
  lstatSync,
  mkdirSync,
  openSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { errnoOf, invalidArgument, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type ByteString, pathArg, toText } from '../formats/byte-string.ts';
import type { ContentRecord } from '../formats/layer-contents.ts';
import type { ContentPlace } from '../formats/layer-headers.ts';
import {
  classifyLayerName,
  cleanLayerPath,
  isReservedXattr,
  splitLayerPath,
} from '../formats/layer-path.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { invalidHeader } from '../formats/tar-header.ts';
import { AT, O_CLOEXEC, S } from '../kernel/constants.ts';
import { CWD, type Syscalls } from '../kernel/syscalls.ts';
import type { LayerTail } from '../store/layers/layer-tar.ts';
import { objectPlace } from '../store/layers/object-place.ts';
import { isWhiteout, makeWhiteout } from '../store/layers/whiteout.ts';
import type { ContentWriter } from './content-writer.ts';
import type { EarlierFile, EarlierFiles } from './earlier-files.ts';
import { type LayerDir, LayerDirs, procPath } from './extract-dirs.ts';
import { explain } from './extract-error.ts';
import type { LayerSharing } from './layer-sharing.ts';
import type { OpenContent } from './local-contents.ts';
import type { Writeback } from './writeback.ts';

/**
 * Makes the entries of a layer's tar into files below `diff/`. Whiteouts become what overlayfs
 * reads (a character device 0:0; `trusted.overlay.opaque=y` on a directory). See
 * {@link LayerDirs} for how everything stays inside the layer.
 *
 * An entry whose path is taken replaces what is there, except that two directories become one, as
 * in Docker. Contents that the tar has and the tree has not (replaced files, bodies of whiteouts)
 * go to `apart/NUMBER`, because the exact tar needs them.
 */
export type LayerTreeOptions = {
  readonly sys: Syscalls;
  /** Absolute; gets `diff/` and, when needed, `apart/`. */
  readonly directory: string;
  readonly writeback: Writeback;
  /** Undefined where there is nothing to share with. */
  readonly sharing: LayerSharing | undefined;
  /** An extraction of the same layer that was cut off: files that it wrote are taken over. */
  readonly earlier?: EarlierFiles | undefined;
  /** Attributes that this filesystem or our capabilities cannot hold are left out and told of here. */
  readonly onWarning: (message: string) => void;
  /** The former content of `path` lies at `apart/NUMBER` from now on. */
  readonly onMoved: (number: number, path: ByteString) => void;
};

type OpenFile = {
  readonly fd: number;
  readonly entry: TarEntry;
  readonly place: ContentPlace;
  /** False for contents that lie apart and for whole files that were taken over: they are left as they are. */
  readonly isInTree: boolean;
  readonly needsChown: boolean;
};

/** A file whose content may turn out to be here already: it is made when that is known. */
type HeldFile = {
  readonly entry: TarEntry;
  readonly clean: ByteString;
  readonly parent: ByteString;
  readonly name: ByteString;
  readonly writer: ContentWriter;
};

const CREATE =
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW | O_CLOEXEC;
const SETID = 0o6000;
const OPAQUE = { name: 'trusted.overlay.opaque', value: Buffer.from('y') } as const;

export class LayerTree implements Disposable {
  readonly #options: LayerTreeOptions;
  readonly #sys: Syscalls;
  readonly #dirs: LayerDirs;
  #file: OpenFile | undefined;
  #held: HeldFile | undefined;
  /** Bytes of the file that is open that were written to it, in order. */
  #fileAt = 0;
  #apart = 0;
  #apartFd = -1;
  #fileBytes = 0;
  #writtenBytes = 0;

  constructor(options: LayerTreeOptions) {
    this.#options = options;
    this.#sys = options.sys;
    const diff = path.join(options.directory, 'diff');
    mkdirSync(diff, { mode: 0o755 });
    this.#dirs = new LayerDirs(
      options.sys,
      openSync(diff, constants.O_RDONLY | constants.O_DIRECTORY),
    );
  }

  /** Sum of the sizes of the regular files made so far. */
  get fileBytes(): number {
    return this.#fileBytes;
  }

  /** Some contents lie apart. */
  get hasApart(): boolean {
    return this.#apart > 0;
  }

  /** Bytes of content written so far. */
  get writtenBytes(): number {
    return this.#writtenBytes;
  }

  /**
   * What is there of the current file: its first bytes lie in a file, or in a content that is here
   * already. Undefined without a file, and for one of which nothing is there or that has holes.
   */
  get unfinished(): LayerTail | undefined {
    const lies = this.#held?.writer.lies;
    if (lies?.content !== undefined) {
      const place = objectPlace(lies.content) as ByteString;
      return { path: place, isObject: true, bytes: lies.bytes };
    }
    const { entry, place } = this.#file ?? {};
    if (place?.kind !== 'content' || entry?.segments !== undefined) return undefined;
    const bytes = this.#held === undefined ? this.#fileAt : (lies?.bytes ?? 0);
    return bytes === 0 ? undefined : { path: place.path, isObject: false, bytes };
  }

  /** Carries out one entry; the process's umask must be 0. */
  entry(entry: TarEntry): void {
    try {
      this.#entry(entry);
    } catch (error) {
      throw explain(error, entry);
    }
  }

  #entry(entry: TarEntry): void {
    this.#fileAt = 0;
    const clean = cleanLayerPath(entry.path);
    if (clean === '') {
      this.#root(entry);
      return;
    }
    const { parent, name } = splitLayerPath(clean);
    const special = classifyLayerName(name);
    if (special.kind !== 'plain') {
      if (special.kind === 'opaque') this.#makeOpaque(this.#dirs.open(parent));
      if (special.kind === 'whiteout') this.#whiteout(this.#dirs.open(parent), special.target);
      if (entry.storedBytes > 0) this.#openApart(entry);
      return;
    }
    switch (entry.kind) {
      case 'file':
        this.#regular(entry, clean, parent, name);
        break;
      case 'directory':
        this.#directory(entry, clean, parent, name);
        break;
      case 'hardlink':
        this.#hardLink(entry, clean, parent, name);
        break;
      case 'symlink':
      case 'char':
      case 'block':
      case 'fifo':
        this.#node(entry, parent, name);
        break;
    }
  }

  /** Bytes of the current entry's content. */
  content(bytes: Buffer, offset: number): void {
    const entry = this.#held?.entry ?? this.#file?.entry;
    if (entry === undefined) throw new Error('assertion failed: content without a file');
    try {
      if (this.#held !== undefined) this.#held.writer.write(bytes);
      else if (this.#file !== undefined) this.#write(this.#file.fd, bytes, offset);
      this.#fileAt = offset + bytes.length;
    } catch (error) {
      throw explain(error, entry);
    }
  }

  #write(fd: number, bytes: Buffer, offset: number): void {
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(fd, bytes, at, bytes.length - at, offset + at);
    }
    this.#wrote(bytes.length);
  }

  #wrote(bytes: number): void {
    this.#writtenBytes += bytes;
    this.#options.writeback.wrote(bytes);
  }

  /** Ends the current entry; gives where its content lies when it has any. */
  entryEnd(): ContentPlace | undefined {
    const held = this.#held;
    const entry = held?.entry ?? this.#file?.entry;
    if (entry === undefined) return undefined;
    this.#held = undefined;
    try {
      using found = held?.writer.end();
      if (held !== undefined && found !== undefined) return this.#share(held, found);
      return this.#closeFile(held, held?.writer.sum);
    } catch (error) {
      throw explain(error, entry);
    }
  }

  /** Ends the file that is open. With a `sum` it has a content of its own, for others to share. */
  #closeFile(held: HeldFile | undefined, sum: number | undefined): ContentPlace | undefined {
    const file = this.#file;
    if (file === undefined) return undefined;
    this.#file = undefined;
    const { entry, place } = file;
    try {
      this.#seal(file);
      if (held !== undefined && sum !== undefined) {
        const { clean, parent, name } = held;
        const at = { dirFd: this.#dirs.open(parent).fd, name: pathArg(name), path: clean };
        this.#options.sharing?.offer({ ...at, sum, bytes: entry.sizeBytes });
      }
    } finally {
      this.#options.writeback.closed();
    }
    return entry.storedBytes > 0 ? place : undefined;
  }

  /** Makes a file of a content that is here already. */
  #share(held: HeldFile, found: OpenContent): ContentPlace | undefined {
    const { sharing } = this.#options;
    const { entry, clean, parent, name } = held;
    if (sharing === undefined) return undefined;
    const linked = this.#link(entry, clean, found);
    if (linked !== undefined) {
      sharing.shared(found.content, clean);
      return { kind: 'content', path: linked };
    }
    const fd = this.#create(entry, parent, name);
    const how = sharing.fill(found, clean, fd);
    if (how === 'stub') {
      // All of it is a hole.
      ftruncateSync(fd, entry.sizeBytes);
      return this.#closeFile(held, undefined);
    }
    if (how === 'copy') this.#wrote(entry.sizeBytes);
    return this.#closeFile(held, found.content.sum);
  }

  /** Goes on with a file of whose content `writer` has taken a part: makes it. */
  goOn(entry: TarEntry, writer: ContentWriter): EarlierFile {
    const clean = cleanLayerPath(entry.path);
    const { parent, name } = splitLayerPath(clean);
    this.#held = { entry, clean, parent, name, writer };
    const taken = this.#takeOver(entry, clean, parent, name);
    return taken ?? { fd: this.#create(entry, parent, name), filledBytes: 0 };
  }

  /** Makes a file of an object whose content is noted already: the layer's own, or another's. */
  adopt(entry: TarEntry, content: ContentRecord): void {
    try {
      this.#adopt(entry, content);
    } catch (error) {
      throw explain(error, entry);
    }
  }

  #adopt(entry: TarEntry, content: ContentRecord): void {
    const { sharing, writeback } = this.#options;
    if (sharing === undefined) throw new Error('assertion failed: an object without sharing');
    const clean = cleanLayerPath(entry.path);
    const { parent, name } = splitLayerPath(clean);
    if (content.group !== '') {
      using found = sharing.open(content);
      if (this.#link(entry, clean, found) !== undefined) return;
      const stub = this.#create(entry, parent, name);
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
    sharing.name(number, this.#dirs.open(parent).fd, pathArg(name));
  }

  /** Makes `clean` the very file of a content when it is right in all; else undefined. */
  #link(entry: TarEntry, clean: ByteString, found: OpenContent): ByteString | undefined {
    const { sharing } = this.#options;
    const { parent, name } = splitLayerPath(clean);
    return this.#orReplace(entry, parent, name, (dir) => {
      const at = { path: clean, dirFd: dir.fd, name: pathArg(name) };
      return sharing?.link(found, entry, at) === true ? joined(dir, name) : undefined;
    });
  }

  /** Gives directories their times. Nothing may be added afterwards. */
  finish(): void {
    this.#dirs.forget();
  }

  [Symbol.dispose](): void {
    this.#held?.writer[Symbol.dispose]();
    if (this.#apartFd >= 0) closeSync(this.#apartFd);
    this.#dirs[Symbol.dispose]();
  }

  #root(entry: TarEntry): void {
    if (entry.kind !== 'directory') {
      throw invalidArgument('invalid tar entry "/": the root of a layer is a directory');
    }
    this.#dress(entry, this.#dirs.root);
  }

  #regular(entry: TarEntry, clean: ByteString, parent: ByteString, name: ByteString): void {
    const { sharing } = this.#options;
    this.#fileBytes += entry.sizeBytes;
    if (sharing?.takes(entry) !== true) {
      this.#create(entry, parent, name);
      return;
    }
    const writer = sharing.writer(entry, clean, {
      create: () => {
        const taken = this.#takeOver(entry, clean, parent, name);
        return taken ?? { fd: this.#create(entry, parent, name), filledBytes: 0 };
      },
      onWritten: (bytes) => this.#wrote(bytes),
    });
    this.#held = { entry, clean, parent, name, writer };
  }

  /** Uses the file that an earlier extraction made of the same entry; undefined when it has none. */
  #takeOver(
    entry: TarEntry,
    clean: ByteString,
    parent: ByteString,
    name: ByteString,
  ): EarlierFile | undefined {
    const earlier = this.#options.earlier?.open(clean, entry.sizeBytes);
    if (earlier === undefined) return undefined;
    const { fd, filledBytes } = earlier;
    const isInTree = filledBytes < entry.sizeBytes;
    this.#file = this.#orReplace(entry, parent, name, (dir) => {
      const from = `/proc/self/fd/${fd}`;
      this.#sys.linkat(CWD, from, dir.fd, pathArg(name), AT.SYMLINK_FOLLOW);
      const place = { kind: 'content', path: joined(dir, name) } as const;
      return { fd, entry, place, isInTree, needsChown: isInTree && needsChown(entry, dir) };
    });
    this.#options.writeback.opened(fd);
    return earlier;
  }

  #create(entry: TarEntry, parent: ByteString, name: ByteString): number {
    const how = { flags: CREATE, mode: entry.mode & 0o777 };
    const file = this.#orReplace(entry, parent, name, (dir) => ({
      fd: this.#sys.openat2(dir.fd, pathArg(name), how),
      entry,
      place: { kind: 'content', path: joined(dir, name) } as const,
      isInTree: true,
      needsChown: needsChown(entry, dir),
    }));
    this.#file = file;
    this.#options.writeback.opened(file.fd);
    return file.fd;
  }

  #openApart(entry: TarEntry): void {
    const number = this.#nextApart();
    const name = String(number);
    this.#file = {
      fd: this.#sys.openat2(this.#apartFd, name, { flags: CREATE, mode: 0o600 }),
      entry,
      place: { kind: 'apart', number },
      isInTree: false,
      needsChown: false,
    };
    this.#fileBytes += entry.sizeBytes;
    this.#options.writeback.opened(this.#file.fd);
  }

  #seal({ fd, entry, isInTree, needsChown: chown }: OpenFile): void {
    const last = entry.segments?.at(-1);
    const ends = entry.segments === undefined ? entry.sizeBytes : last && last.offset + last.bytes;
    if (ends !== entry.sizeBytes) ftruncateSync(fd, entry.sizeBytes);
    if (!isInTree) return;
    // chown clears setuid bits and capabilities, so it comes before both.
    if (chown) fchownSync(fd, entry.uid, entry.gid);
    if (chown || (entry.mode & SETID) !== 0) fchmodSync(fd, entry.mode);
    for (const { name, value } of entry.xattrs) {
      this.#xattr(entry, name, () => this.#sys.fsetxattr(fd, name, value));
    }
    this.#sys.futimens(fd, entry.atime, entry.mtime);
  }

  #directory(entry: TarEntry, clean: ByteString, parent: ByteString, name: ByteString): void {
    let wasHidden = false;
    const dir = this.#orReplace(entry, parent, name, (above) => {
      try {
        this.#sys.mkdirat(above.fd, pathArg(name), 0o755);
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST') throw error;
        const place = procPath(above.fd, name);
        const there = lstatSync(place);
        wasHidden = isWhiteout(this.#sys, Buffer.concat([place, Buffer.of(0)]), there);
        if (!there.isDirectory()) throw error;
      }
      const flags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | O_CLOEXEC;
      const fd = this.#sys.openat2(above.fd, pathArg(name), { flags });
      return this.#dirs.adopt(clean, above, name, fd);
    });
    this.#dress(entry, dir);
    if (wasHidden) this.#makeOpaque(dir);
  }

  /** Owner, mode, attributes of an open directory; its times come when it is let go. */
  #dress(entry: TarEntry, dir: LayerDir): void {
    fchownSync(dir.fd, entry.uid, entry.gid);
    fchmodSync(dir.fd, entry.mode);
    for (const { name, value } of entry.xattrs) {
      this.#xattr(entry, name, () => this.#sys.fsetxattr(dir.fd, name, value));
    }
    dir.hasSetgid = (entry.mode & 0o2000) !== 0;
    dir.atime = entry.atime;
    dir.mtime = entry.mtime;
  }

  #hardLink(entry: TarEntry, clean: ByteString, parent: ByteString, name: ByteString): void {
    const target = cleanLayerPath(entry.link);
    if (target === '') throw invalidArgument('invalid hard link to the root of a layer');
    const from = splitLayerPath(target);
    const fromDir = (): LayerDir => this.#dirs.open(from.parent);
    // Nothing is replaced for a link that cannot be made.
    lstatSync(procPath(fromDir().fd, from.name));
    // tar writes a file that was named twice as a link to itself.
    if (target === clean) return;
    this.#options.sharing?.linked(target);
    this.#orReplace(entry, parent, name, () => {
      // Opening one directory may let another go: two that are opened in turn are open in the end.
      fromDir();
      this.#dirs.open(parent);
      const source = fromDir();
      const to = this.#dirs.open(parent);
      this.#sys.linkat(source.fd, pathArg(from.name), to.fd, pathArg(name));
    });
  }

  #node(entry: TarEntry, parent: ByteString, name: ByteString): void {
    const arg = pathArg(name);
    const { major, minor } = entry;
    if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) {
      throw invalidHeader('device numbers are out of range');
    }
    const dir = this.#orReplace(entry, parent, name, (into) => {
      if (entry.kind === 'symlink') {
        this.#sys.symlinkat(pathArg(entry.link), into.fd, arg);
      } else {
        const type = entry.kind === 'char' ? S.IFCHR : entry.kind === 'block' ? S.IFBLK : S.IFIFO;
        this.#sys.mknodat(into.fd, arg, type | (entry.mode & 0o777), { major, minor });
      }
      return into;
    });
    if (needsChown(entry, dir)) {
      this.#sys.fchownat(dir.fd, arg, entry.uid, entry.gid, AT.SYMLINK_NOFOLLOW);
    }
    // The name was made just now and is no symlink, so that chmod follows nothing.
    if (entry.kind !== 'symlink') this.#sys.fchmodat(dir.fd, arg, entry.mode);
    const place = pathArg(`/proc/self/fd/${dir.fd}/${name}` as ByteString);
    for (const xattr of entry.xattrs) {
      this.#xattr(entry, xattr.name, () => {
        this.#sys.lsetxattr(place, xattr.name, xattr.value);
      });
    }
    this.#sys.utimensat(dir.fd, arg, entry.atime, entry.mtime);
  }

  #xattr(entry: TarEntry, name: string, set: () => void): void {
    if (isReservedXattr(name)) return;
    try {
      set();
    } catch (error) {
      const errno = errnoOf(error);
      if (errno !== 'EOPNOTSUPP' && errno !== 'EPERM') throw error;
      this.#options.onWarning(`left out ${name} of ${toText(entry.path)}: ${messageOf(error)}`);
    }
  }

  #makeOpaque(dir: LayerDir): void {
    this.#sys.fsetxattr(dir.fd, OPAQUE.name, OPAQUE.value);
  }

  /**
   * Hides a name of lower layers. What this layer itself has under the name stays: whiteouts speak
   * of lower layers only; a directory then hides the one below it.
   */
  #whiteout(dir: LayerDir, target: ByteString): void {
    try {
      makeWhiteout(this.#sys, dir.fd, pathArg(target));
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      if (lstatSync(procPath(dir.fd, target)).isDirectory()) {
        this.#makeOpaque(this.#dirs.open(joined(dir, target)));
      }
    }
  }

  /** Runs `make`; when its name is taken, puts what is there out of the way and runs it again. */
  #orReplace<T>(
    entry: TarEntry,
    parent: ByteString,
    name: ByteString,
    make: (dir: LayerDir) => T,
  ): T {
    try {
      return make(this.#dirs.open(parent));
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    this.#clear(this.#dirs.open(parent), name);
    if (entry.kind === 'hardlink') {
      // Its target may just have been moved with a directory.
      const target = splitLayerPath(cleanLayerPath(entry.link));
      lstatSync(procPath(this.#dirs.open(target.parent).fd, target.name));
    }
    return make(this.#dirs.open(parent));
  }

  #clear(dir: LayerDir, name: ByteString): void {
    const there = lstatSync(procPath(dir.fd, name));
    const hasContent = there.isDirectory() || (there.isFile() && there.size > 0);
    if (!hasContent) {
      this.#sys.unlinkat(dir.fd, pathArg(name), 0);
      return;
    }
    const number = this.#nextApart();
    this.#sys.renameat2(dir.fd, pathArg(name), this.#apartFd, String(number), 0);
    this.#options.onMoved(number, joined(dir, name));
    // Descriptors of what was moved would lead out of the tree.
    if (there.isDirectory()) this.#dirs.forget();
  }

  #nextApart(): number {
    if (this.#apartFd < 0) {
      const apart = path.join(this.#options.directory, 'apart');
      this.#sys.mkdirat(CWD, apart, 0o700);
      this.#apartFd = openSync(apart, constants.O_RDONLY | constants.O_DIRECTORY);
    }
    this.#apart += 1;
    if (this.#apart > LIMITS.layerReplacedMax) {
      throw invalidArgument(
        `layer that replaces more than ${LIMITS.layerReplacedMax} of its own entries`,
      );
    }
    return this.#apart;
  }
}

function joined(dir: LayerDir, name: ByteString): ByteString {
  return (dir.path === '' ? name : `${dir.path}/${name}`) as ByteString;
}

function needsChown(entry: TarEntry, dir: LayerDir): boolean {
  return entry.uid !== OUR_UID || entry.gid !== OUR_GID || dir.hasSetgid;
}

const OUR_UID = process.geteuid?.() ?? 0;
const OUR_GID = process.getegid?.() ?? 0;
