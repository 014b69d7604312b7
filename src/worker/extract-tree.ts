import { constants, fchmodSync, fchownSync, lstatSync } from 'node:fs';
import { errnoOf, invalidArgument } from '../base/errors.ts';
import { type ByteString, pathArg } from '../formats/byte-string.ts';
import type { ContentRecord } from '../formats/layer-contents.ts';
import type { ContentPlace } from '../formats/layer-headers.ts';
import { classifyLayerName, cleanLayerPath, splitLayerPath } from '../formats/layer-path.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { invalidHeader } from '../formats/tar-header.ts';
import { AT, O_CLOEXEC, S } from '../kernel/constants.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import type { LayerTail } from '../store/layers/layer-tar.ts';
import { isWhiteout, makeWhiteout } from '../store/layers/whiteout.ts';
import type { ContentWriter } from './content-writer.ts';
import type { EarlierFile } from './earlier-files.ts';
import { inside, type LayerDir, procPath } from './extract-dirs.ts';
import { LayerFiles, madeFile, setXattrs } from './layer-files.ts';
import {
  LayerPlaces,
  type LayerTreeOptions,
  needsChown,
  type PlacedEntry,
  placed,
} from './layer-places.ts';

const OPEN_DIR = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW | O_CLOEXEC;
const OPAQUE = { name: 'trusted.overlay.opaque', value: Buffer.from('y') } as const;

/**
 * Makes the entries of a layer's tar into files below `diff/`. Whiteouts become what overlayfs
 * reads (a character device 0:0; `trusted.overlay.opaque=y` on a directory). See `LayerDirs` for how
 * everything stays inside the layer, and {@link LayerPlaces} for what is made on another thread.
 *
 * An entry whose path is taken replaces what is there, except that two directories become one, as
 * in Docker. Contents that the tar has and the tree has not (replaced files, bodies of whiteouts)
 * go to `apart/NUMBER`, because the exact tar needs them.
 */
export class LayerTree implements Disposable {
  readonly #options: LayerTreeOptions;
  readonly #sys: Syscalls;
  readonly #places: LayerPlaces;
  readonly #files: LayerFiles;

  constructor(options: LayerTreeOptions) {
    this.#options = options;
    this.#sys = options.sys;
    this.#places = new LayerPlaces(options);
    this.#files = new LayerFiles(options, this.#places);
  }

  /** Sum of the sizes of the regular files made so far. */
  get fileBytes(): number {
    return this.#files.fileBytes;
  }

  /** Some contents lie apart. */
  get hasApart(): boolean {
    return this.#places.hasApart;
  }

  /** Bytes of content written so far. */
  get writtenBytes(): number {
    return this.#files.writtenBytes;
  }

  /**
   * What is there of the current file: its first bytes lie in a file, or in a content that is here
   * already. Undefined without a file, and for one of which nothing is there or that has holes. It
   * is there when the writeback is finished.
   */
  get unfinished(): LayerTail | undefined {
    return this.#files.unfinished;
  }

  /**
   * Carries out one entry, or leaves it to the other thread; the process's umask must be 0. What
   * fails there is thrown by this for a later entry, or by {@link finish}.
   */
  entry(entry: TarEntry): void {
    this.#places.entry = entry;
    try {
      this.#entry(entry);
    } catch (error) {
      throw this.#places.failed(error, entry);
    }
  }

  #entry(entry: TarEntry): void {
    const clean = cleanLayerPath(entry.path);
    if (clean === '') {
      this.#root(entry);
      return;
    }
    const at = placed(entry, clean);
    const special = classifyLayerName(at.name);
    if (special.kind !== 'plain') {
      const dir = (): LayerDir => this.#places.dirs.open(at.parent);
      if (special.kind === 'opaque') this.#makeOpaque(dir());
      if (special.kind === 'whiteout') this.#whiteout(dir(), special.target);
      if (entry.storedBytes > 0) this.#files.beginApart(entry);
      return;
    }
    switch (entry.kind) {
      case 'file':
        this.#files.begin(at);
        break;
      case 'directory':
        if (!this.#postDirectory(at)) this.#directory(at);
        break;
      case 'hardlink':
        this.#hardLink(at);
        break;
      case 'symlink':
      case 'char':
      case 'block':
      case 'fifo':
        if (!this.#postSymlink(at)) this.#node(at);
        break;
    }
  }

  /** Bytes of the current entry's content. */
  content(bytes: Buffer, offset: number): void {
    this.#files.content(bytes, offset);
  }

  /** Ends the current entry; gives where its content lies when it has any. */
  entryEnd(): ContentPlace | undefined {
    return this.#files.end();
  }

  /** Goes on with a file of whose content `writer` has taken a part: makes it. */
  goOn(entry: TarEntry, writer: ContentWriter): EarlierFile {
    return this.#files.goOn(entry, writer);
  }

  /** Makes a file of an object whose content is noted already: the layer's own, or another's. */
  adopt(entry: TarEntry, content: ContentRecord): void {
    this.#places.entry = entry;
    try {
      this.#files.adopt(entry, content);
    } catch (error) {
      throw this.#places.failed(error, entry);
    }
  }

  /** Waits for the other thread and gives directories their times. Nothing may be added afterwards. */
  finish(): void {
    this.#places.dirs.forget();
  }

  /** What failed first, this or an entry before it. */
  firstOf(error: unknown): unknown {
    return this.#places.firstOf(error);
  }

  [Symbol.dispose](): void {
    this.#files[Symbol.dispose]();
    this.#places[Symbol.dispose]();
  }

  #root(entry: TarEntry): void {
    if (entry.kind !== 'directory') {
      throw invalidArgument('invalid tar entry "/": the root of a layer is a directory');
    }
    this.#places.maker?.settle();
    const { root } = this.#places.dirs;
    root.atime = entry.atime;
    root.mtime = entry.mtime;
    this.#dress(entry, root);
  }

  #postDirectory(at: PlacedEntry): boolean {
    const { entry, clean, name } = at;
    const { atime, mtime } = entry;
    const { dirs, maker } = this.#places;
    if (maker === undefined || entry.xattrs.length > 0) return false;
    const above = this.#places.free(at);
    if (above === undefined) return false;
    const made = madeFile(at, above);
    const needsChmod = made.needsChmod || (entry.mode & ~0o777) !== 0;
    const handle = maker.directory(entry, { ...made, needsChmod });
    const dir = dirs.adopt(clean, above, { name, handle, atime, mtime });
    dir.hasSetgid = (entry.mode & 0o2000) !== 0;
    return true;
  }

  #directory(at: PlacedEntry): void {
    const { entry, clean, name } = at;
    const { atime, mtime } = entry;
    let wasHidden = false;
    const dir = this.#places.make(at, (above) => {
      try {
        this.#sys.mkdirat(above.fd, pathArg(name), 0o755);
      } catch (error) {
        if (errnoOf(error) !== 'EEXIST') throw error;
        const place = procPath(above.fd, name);
        const there = lstatSync(place);
        wasHidden = isWhiteout(this.#sys, Buffer.concat([place, Buffer.of(0)]), there);
        if (!there.isDirectory()) throw error;
      }
      const handle = this.#sys.openat2(above.fd, pathArg(name), { flags: OPEN_DIR });
      return this.#places.dirs.adopt(clean, above, { name, handle, atime, mtime });
    });
    this.#dress(entry, dir);
    if (wasHidden) this.#makeOpaque(dir);
  }

  /** Owner, mode, attributes of an open directory; its times come when it is let go. */
  #dress(entry: TarEntry, dir: LayerDir): void {
    fchownSync(dir.fd, entry.uid, entry.gid);
    fchmodSync(dir.fd, entry.mode);
    setXattrs(entry, this.#options.onWarning, (name, value) =>
      this.#sys.fsetxattr(dir.fd, name, value),
    );
    dir.hasSetgid = (entry.mode & 0o2000) !== 0;
  }

  #hardLink(at: PlacedEntry): void {
    const { entry, clean, parent, name } = at;
    const { dirs, maker } = this.#places;
    const target = cleanLayerPath(entry.link);
    if (target === '') throw invalidArgument('invalid hard link to the root of a layer');
    const from = splitLayerPath(target);
    // Opening one directory may let another go: two that are opened in turn are open in the end.
    const openBoth = (): { source: LayerDir; to: LayerDir } => {
      dirs.open(from.parent);
      dirs.open(parent);
      return { source: dirs.open(from.parent), to: dirs.open(parent) };
    };
    const isMade = this.#places.isMade(dirs.open(from.parent), from.name);
    if (maker !== undefined && isMade && this.#places.free(at) !== undefined) {
      this.#options.sharing?.linked(target);
      const { source, to } = openBoth();
      maker.link(entry, { dirFd: to.handle, name }, { dirFd: source.handle, name: from.name });
      return;
    }
    maker?.settle();
    // Nothing is replaced for a link that cannot be made.
    lstatSync(procPath(dirs.open(from.parent).fd, from.name));
    // tar writes a file that was named twice as a link to itself.
    if (target === clean) return;
    this.#options.sharing?.linked(target);
    this.#places.make(at, () => {
      const { source, to } = openBoth();
      this.#sys.linkat(source.fd, pathArg(from.name), to.fd, pathArg(name));
    });
  }

  #postSymlink(at: PlacedEntry): boolean {
    const { entry } = at;
    const { maker } = this.#places;
    if (maker === undefined || entry.kind !== 'symlink' || entry.xattrs.length > 0) return false;
    checkDevice(entry);
    const dir = this.#places.free(at);
    if (dir !== undefined) maker.symlink(entry, madeFile(at, dir), entry.link);
    return dir !== undefined;
  }

  #node(at: PlacedEntry): void {
    const { entry, name } = at;
    const arg = pathArg(name);
    checkDevice(entry);
    const dir = this.#places.make(at, (into) => {
      if (entry.kind === 'symlink') {
        this.#sys.symlinkat(pathArg(entry.link), into.fd, arg);
      } else {
        const type = entry.kind === 'char' ? S.IFCHR : entry.kind === 'block' ? S.IFBLK : S.IFIFO;
        this.#sys.mknodat(into.fd, arg, type | (entry.mode & 0o777), entry);
      }
      return into;
    });
    if (needsChown(entry, dir)) {
      this.#sys.fchownat(dir.fd, arg, entry.uid, entry.gid, AT.SYMLINK_NOFOLLOW);
    }
    // The name was made just now and is no symlink, so that chmod follows nothing.
    if (entry.kind !== 'symlink') this.#sys.fchmodat(dir.fd, arg, entry.mode);
    const place = pathArg(`/proc/self/fd/${dir.fd}/${name}` as ByteString);
    setXattrs(entry, this.#options.onWarning, (xattr, value) =>
      this.#sys.lsetxattr(place, xattr, value),
    );
    this.#sys.utimensat(dir.fd, arg, entry.atime, entry.mtime);
  }

  #makeOpaque(dir: LayerDir): void {
    this.#sys.fsetxattr(dir.fd, OPAQUE.name, OPAQUE.value);
  }

  /**
   * Hides a name of lower layers. What this layer itself has under the name stays: whiteouts speak
   * of lower layers only; a directory then hides the one below it.
   */
  #whiteout(dir: LayerDir, target: ByteString): void {
    this.#places.take(dir, target);
    try {
      makeWhiteout(this.#sys, dir.fd, pathArg(target));
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      if (lstatSync(procPath(dir.fd, target)).isDirectory()) {
        this.#makeOpaque(this.#places.dirs.open(inside(dir, target)));
      }
    }
  }
}

function checkDevice({ major, minor }: TarEntry): void {
  if (major < 0 || major > 0xfff || minor < 0 || minor > 0xfffff) {
    throw invalidHeader('device numbers are out of range');
  }
}
