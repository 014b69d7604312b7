import { closeSync, constants, lstatSync, mkdirSync, openSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type ByteString, pathArg } from '../formats/byte-string.ts';
import { cleanLayerPath, splitLayerPath } from '../formats/layer-path.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { FileMaker } from '../kernel/file-maker.ts';
import { CWD, type Syscalls } from '../kernel/syscalls.ts';
import type { EarlierFiles } from './earlier-files.ts';
import { inside, type LayerDir, LayerDirs, procPath } from './extract-dirs.ts';
import { explain } from './extract-error.ts';
import { LayerNames } from './layer-names.ts';
import type { LayerSharing } from './layer-sharing.ts';
import type { Writeback } from './writeback.ts';

/** What a layer's files are made with. */
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
  /** For tests: what happens where no thread can make files. */
  readonly withoutThread?: boolean | undefined;
};

/** An entry, and where it belongs. */
export type PlacedEntry = {
  readonly entry: TarEntry;
  /** From the layer's root; it ends with the name, and the rest of it is the parent. */
  readonly clean: ByteString;
  readonly parent: ByteString;
  readonly name: ByteString;
};

/** Finds out where an entry belongs. @throws invalidArgument for what would leave the layer */
export function placed(entry: TarEntry, clean = cleanLayerPath(entry.path)): PlacedEntry {
  const { parent, name } = splitLayerPath(clean);
  return { entry, clean, parent, name };
}

/**
 * The places of a layer that is being extracted: its directories, which names are taken, and what
 * lies apart.
 *
 * Files are made by another thread ({@link FileMaker}) where their names are certain not to be
 * taken ({@link LayerPlaces.free}): only then is it known beforehand what will come of a job.
 * Whoever looks at a name, or makes one that may be taken, does so here, after all jobs are done.
 */
export class LayerPlaces implements Disposable {
  readonly dirs: LayerDirs;
  /** Undefined where there is no such thread. */
  readonly maker: FileMaker<TarEntry> | undefined;
  /** Whose names are being made. */
  entry: TarEntry | undefined;
  readonly #options: LayerTreeOptions;
  readonly #sys: Syscalls;
  readonly #names = new LayerNames();
  /** Some names that were made are gone. */
  #hasCleared = false;
  #apart = 0;
  #apartFd = -1;

  constructor(options: LayerTreeOptions) {
    this.#options = options;
    this.#sys = options.sys;
    const diff = path.join(options.directory, 'diff');
    mkdirSync(diff, { mode: 0o755 });
    const rootFd = openSync(diff, constants.O_RDONLY | constants.O_DIRECTORY);
    this.dirs = new LayerDirs(options.sys, rootFd, {
      take: (place) => this.#names.take(place),
      settle: () => this.maker?.settle(),
      letGo: (dir) => this.#letGo(dir),
      descriptor: (handle) => this.maker?.descriptor(handle) ?? -1,
    });
    if (options.withoutThread !== true) this.maker = FileMaker.open<TarEntry>(explain);
    options.writeback.maker = this.maker;
  }

  /** Some contents lie apart. */
  get hasApart(): boolean {
    return this.#apart > 0;
  }

  /** The directory of a place whose name is certain to be free, and is taken from now on. */
  free({ parent, name }: PlacedEntry): LayerDir | undefined {
    const dir = this.dirs.open(parent);
    return this.#names.take(inside(dir, name)) ? dir : undefined;
  }

  /** A name was made, or is being made; false where that is not certain. */
  isMade(dir: LayerDir, name: ByteString): boolean {
    return !this.#hasCleared && this.#names.has(inside(dir, name));
  }

  /** Says that a name is being made elsewhere than by {@link make}. */
  take(dir: LayerDir, name: ByteString): void {
    if (!this.#names.take(inside(dir, name))) this.maker?.settle();
  }

  /** Runs `make`; when its name is taken, puts what is there out of the way and runs it again. */
  make<T>({ entry, parent, name }: PlacedEntry, make: (dir: LayerDir) => T): T {
    const dir = this.dirs.open(parent);
    this.take(dir, name);
    try {
      return make(dir);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    this.maker?.settle();
    this.#clear(this.dirs.open(parent), name);
    if (entry.kind === 'hardlink') {
      // Its target may just have been moved with a directory.
      const target = splitLayerPath(cleanLayerPath(entry.link));
      lstatSync(procPath(this.dirs.open(target.parent).fd, target.name));
    }
    return make(this.dirs.open(parent));
  }

  #clear(dir: LayerDir, name: ByteString): void {
    this.#hasCleared = true;
    const there = lstatSync(procPath(dir.fd, name));
    const hasContent = there.isDirectory() || (there.isFile() && there.size > 0);
    if (!hasContent) {
      this.#sys.unlinkat(dir.fd, pathArg(name), 0);
      // A directory may be known by a path through it.
      if (there.isSymbolicLink()) this.dirs.forget();
      return;
    }
    const apart = this.nextApart();
    this.#sys.renameat2(dir.fd, pathArg(name), apart.dirFd, String(apart.number), 0);
    this.#options.onMoved(apart.number, inside(dir, name));
    // Descriptors of what was moved would lead out of the tree.
    if (there.isDirectory()) this.dirs.forget();
  }

  /** A name below `apart/` that is free. */
  nextApart(): { readonly dirFd: number; readonly number: number } {
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
    return { dirFd: this.#apartFd, number: this.#apart };
  }

  #letGo(dir: LayerDir): void {
    if (this.maker === undefined || this.entry === undefined) {
      try {
        this.#sys.futimens(dir.fd, dir.atime, dir.mtime);
      } finally {
        closeSync(dir.fd);
      }
      return;
    }
    try {
      this.maker.letGo(this.entry, dir.handle, dir);
    } catch (error) {
      // It was not posted; the slot may still hold a directory of before, which the thread closes.
      const first = this.firstOf(error);
      const fd = dir.handle >= 0 ? dir.handle : this.maker.descriptor(dir.handle);
      if (fd >= 0) closeSync(fd);
      throw first;
    }
  }

  /** What failed first: something on the other thread, where what was posted before has not ended. */
  firstOf(error: unknown): unknown {
    try {
      this.maker?.settle();
    } catch (earlier) {
      return earlier;
    }
    return error;
  }

  /** What to throw for an entry. */
  failed(error: unknown, entry: TarEntry): unknown {
    const first = this.firstOf(error);
    const isExplained = error === this.maker?.failure;
    return first === error && !isExplained ? explain(error, entry) : first;
  }

  [Symbol.dispose](): void {
    // Its jobs use directories.
    this.maker?.[Symbol.dispose]();
    if (this.#apartFd >= 0) closeSync(this.#apartFd);
    this.dirs[Symbol.dispose]();
  }
}

/** A new file in this directory is not given the entry's owner. */
export function needsChown(entry: TarEntry, dir: LayerDir): boolean {
  return entry.uid !== OUR_UID || entry.gid !== OUR_GID || dir.hasSetgid;
}

const OUR_UID = process.geteuid?.() ?? 0;
const OUR_GID = process.getegid?.() ?? 0;
