import { closeSync, constants, fstatSync, readlinkSync } from 'node:fs';
import { errnoOf, invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type ByteString, byteString, pathArg, toBytes, toText } from '../formats/byte-string.ts';
import { cleanLayerPath, splitLayerPath } from '../formats/layer-path.ts';
import type { TarTime } from '../formats/tar-header.ts';
import { O_CLOEXEC, RESOLVE } from '../kernel/constants.ts';
import type { Syscalls } from '../kernel/syscalls.ts';

/**
 * The directories of a layer that is being extracted, as open descriptors.
 *
 * Containment: a directory is only ever opened from the layer's root with RESOLVE_IN_ROOT, so that
 * symlinks that the layer brought, absolute or with `..`, resolve inside it; everything else is
 * done relative to such a descriptor with a single name that is not `.` or `..` and is never
 * followed. Nobody else writes below the root meanwhile, and directories are never moved but to
 * `apart/`, after which all descriptors are let go ({@link LayerDirs.forget}).
 *
 * Times: adding a name to a directory changes its mtime, so each open directory carries the times
 * it must have and gets them when it is let go. A directory that is opened again has the right
 * times by then. This keeps memory constant however many directories a layer has.
 */
export type LayerDir = {
  /** What jobs of a `FileMaker` take for it: the descriptor, or its number while it is being made. */
  readonly handle: number;
  /** Waits until it is there. */
  readonly fd: number;
  /** From the layer's root, without symlinks; '' is the root. */
  readonly path: ByteString;
  atime: TarTime;
  mtime: TarTime;
  /** New files get the directory's group instead of ours. */
  hasSetgid: boolean;
  /** Keys of the cache that lead here. */
  readonly aliases: Set<ByteString>;
};

/** What making directories depends on besides the kernel. */
export type DirsHost = {
  /** Notes that a name is made; true when it is certain that there was none. */
  readonly take: (path: ByteString) => boolean;
  /** Waits until all names that are being made elsewhere are there. */
  readonly settle: () => void;
  /** Gives a directory its times and closes it, when nothing more that was begun goes into it. */
  readonly letGo: (dir: LayerDir) => void;
  /** The descriptor of a directory that is made elsewhere; -1 while it is not there. */
  readonly descriptor: (handle: number) => number;
};

const OPEN_DIRS_MAX = 256;
const { O_NOFOLLOW } = constants;
const OPEN_DIR = constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC;
const LINKS_MAX = 40;

export class LayerDirs implements Disposable {
  readonly root: LayerDir;
  readonly #sys: Syscalls;
  readonly #host: DirsHost;
  readonly #rootPath: ByteString;
  /** By path as asked for; the first is the one that was not used for longest. */
  readonly #byAlias = new Map<ByteString, LayerDir>();
  /** By {@link LayerDir.path}. The root is in neither map. */
  readonly #byPath = new Map<ByteString, LayerDir>();
  #last: { path: ByteString; dir: LayerDir };

  constructor(sys: Syscalls, rootFd: number, host: DirsHost) {
    this.#sys = sys;
    this.#host = host;
    this.#rootPath = realPath(rootFd);
    this.root = describe(rootFd, '' as ByteString);
    this.#last = { path: '' as ByteString, dir: this.root };
  }

  /**
   * The directory at a clean path; what is missing on the way is made (mode 0755, owned by root).
   * @throws invalidArgument when something else than a directory is in the way
   */
  open(path: ByteString): LayerDir {
    if (path === this.#last.path) return this.#last.dir;
    const cached = path === '' ? this.root : this.#byAlias.get(path);
    const dir = cached === undefined ? this.#openAnew(path, 0) : this.#touch(cached);
    this.#last = { path, dir };
    return dir;
  }

  #openAnew(path: ByteString, links: number): LayerDir {
    const { parent, name } = splitLayerPath(path);
    const above = parent === '' ? this.root : this.#byAlias.get(parent);
    if (above !== undefined && this.#host.take(inside(above, name))) {
      this.#sys.mkdirat(above.fd, pathArg(name), 0o755);
      return this.#openMade(path, above, name);
    }
    this.#host.settle();
    let fd: number;
    try {
      fd = this.#resolve(path);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw notADirectory(path, error);
      return this.#make(path, links);
    }
    const real = realPath(fd).slice(this.#rootPath.length + 1) as ByteString;
    const known = real === '' ? this.root : this.#byPath.get(real);
    if (known !== undefined) {
      closeSync(fd);
      return this.#alias(path, known);
    }
    return this.#keep(path, describe(fd, real));
  }

  #resolve(path: ByteString): number {
    return this.#sys.openat2(this.root.fd, pathArg(path), {
      flags: OPEN_DIR,
      resolve: RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS,
    });
  }

  /** Makes a directory that is missing. Where a symlink leads to nothing, what it leads to is made. */
  #make(path: ByteString, links: number): LayerDir {
    const { parent, name } = splitLayerPath(path);
    const above =
      parent === '' ? this.root : (this.#byAlias.get(parent) ?? this.#openAnew(parent, links));
    this.#host.take(inside(above, name));
    try {
      this.#sys.mkdirat(above.fd, pathArg(name), 0o755);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
      if (links >= LINKS_MAX) throw notADirectory(path, error);
      const target = byteString(readlinkSync(procPath(above.fd, name), 'buffer'));
      const from = target.startsWith('/') ? '' : `/${above.path}`;
      return this.#openAnew(cleanLayerPath(`${from}/${target}` as ByteString), links + 1);
    }
    return this.#openMade(path, above, name);
  }

  #openMade(path: ByteString, above: LayerDir, name: ByteString): LayerDir {
    const fd = this.#sys.openat2(above.fd, pathArg(name), { flags: OPEN_DIR | O_NOFOLLOW });
    return this.#keep(path, describe(fd, inside(above, name)));
  }

  /**
   * Takes over a directory of `above` that was opened, or is being made, and gives it the times that
   * it is to have. Whether it has the setgid bit is the caller's to say.
   */
  adopt(
    path: ByteString,
    above: LayerDir,
    made: Pick<LayerDir, 'handle' | 'atime' | 'mtime'> & { readonly name: ByteString },
  ): LayerDir {
    const { name, handle, atime, mtime } = made;
    const real = inside(above, name);
    const known = this.#byPath.get(real);
    if (known === undefined) return this.#keep(path, this.#opened(handle, real, { atime, mtime }));
    if (handle >= 0) closeSync(handle);
    known.atime = atime;
    known.mtime = mtime;
    return this.#alias(path, known);
  }

  #opened(handle: number, path: ByteString, times: Pick<LayerDir, 'atime' | 'mtime'>): LayerDir {
    const host = this.#host;
    return {
      ...{ handle, path, atime: times.atime, mtime: times.mtime },
      get fd() {
        if (handle >= 0) return handle;
        host.settle();
        return host.descriptor(handle);
      },
      hasSetgid: false,
      aliases: new Set(),
    };
  }

  #keep(path: ByteString, dir: LayerDir): LayerDir {
    if (dir.path.length > LIMITS.tarPathBytesMax) {
      closeSync(dir.fd);
      throw invalidArgument('tar entry in a directory whose path is too long');
    }
    if (this.#byPath.size >= OPEN_DIRS_MAX) {
      const oldest = this.#byPath.values().next().value;
      if (oldest !== undefined) this.#release(oldest);
    }
    this.#byPath.set(dir.path, dir);
    return this.#alias(path, dir);
  }

  #alias(path: ByteString, dir: LayerDir): LayerDir {
    if (dir !== this.root && dir.aliases.size < LINKS_MAX) {
      dir.aliases.add(path);
      this.#byAlias.set(path, dir);
    }
    return this.#touch(dir);
  }

  /** Used last: goes to the end of the order in which directories are let go. */
  #touch(dir: LayerDir): LayerDir {
    if (this.#byPath.delete(dir.path)) this.#byPath.set(dir.path, dir);
    return dir;
  }

  #release(dir: LayerDir): void {
    for (const alias of dir.aliases) this.#byAlias.delete(alias);
    this.#byPath.delete(dir.path);
    if (this.#last.dir === dir) this.#last = { path: '' as ByteString, dir: this.root };
    this.#host.letGo(dir);
  }

  /** Lets all directories go and gives them their times; for when one was moved, and at the end. */
  forget(): void {
    for (const dir of [...this.#byPath.values()]) this.#release(dir);
    this.#host.settle();
    this.#sys.futimens(this.root.fd, this.root.atime, this.root.mtime);
  }

  [Symbol.dispose](): void {
    for (const { handle } of this.#byPath.values()) {
      const fd = handle >= 0 ? handle : this.#host.descriptor(handle);
      if (fd >= 0) closeSync(fd);
    }
    this.#byPath.clear();
    this.#byAlias.clear();
    closeSync(this.root.fd);
  }
}

/** The path of a name in a directory, without symlinks. */
export function inside(dir: LayerDir, name: ByteString): ByteString {
  return (dir.path === '' ? name : `${dir.path}/${name}`) as ByteString;
}

function describe(fd: number, path: ByteString): LayerDir {
  const stats = fstatSync(fd, { bigint: true });
  const time = (ns: bigint): TarTime => {
    const nsec = ((ns % BILLION) + BILLION) % BILLION;
    return { sec: Number((ns - nsec) / BILLION), nsec: Number(nsec) };
  };
  return {
    ...{ handle: fd, fd, path },
    atime: time(stats.atimeNs),
    mtime: time(stats.mtimeNs),
    hasSetgid: (stats.mode & 0o2000n) !== 0n,
    aliases: new Set(),
  };
}

const BILLION = 1_000_000_000n;

function realPath(fd: number): ByteString {
  return byteString(readlinkSync(`/proc/self/fd/${fd}`, 'buffer'));
}

function notADirectory(path: ByteString, cause: unknown): Error {
  return invalidArgument(
    `invalid tar entry below ${JSON.stringify(toText(path))}: it is not a directory`,
    { cause },
  );
}

/** A path to `name` in an open directory, for calls of node:fs. The last name is not followed by l… calls. */
export function procPath(fd: number, name: ByteString): Buffer {
  return Buffer.concat([Buffer.from(`/proc/self/fd/${fd}/`), toBytes(name)]);
}
