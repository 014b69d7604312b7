import { once } from 'node:events';
import { type BigIntStats, closeSync, fstatSync, readSync } from 'node:fs';
import type { Writable } from 'node:stream';
import { splitDevice } from '../base/device-number.ts';
import { errnoOf, forbidden } from '../base/errors.ts';
import { type ByteString, fromText, toText } from '../formats/byte-string.ts';
import type { TarKind } from '../formats/tar-entry.ts';
import { encodeTarHeader, TAR_END, tarPadding } from '../formats/tar-writer.ts';
import { S } from '../kernel/constants.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import type { OpenDirectory } from '../kernel/tree-walk.ts';
import { toContainerId, type UserRemap } from '../policy/user-remap.ts';

/** Attributes that belong to a file wherever it goes. */
const XATTRS = /^(?:security\.capability$|user\.)/;
const CHUNK_BYTES = 256 << 10;
const BILLION = 1_000_000_000n;

/**
 * Writes trees as a tar, as fast as it is read. The tree may change meanwhile: a file that is gone
 * is left out, one that has shrunk is filled up with zeros, one that has grown is cut.
 */
export class TreePacker {
  readonly #sys: Syscalls;
  readonly #output: Writable;
  readonly #signal: AbortSignal;
  /** First name of each file that has several. */
  readonly #linked = new Map<string, ByteString>();
  readonly #oneFilesystem: bigint | undefined;
  /** Content goes through this one buffer: what is made anew for each piece is collected late. */
  readonly #chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);
  readonly #users: UserRemap | undefined;

  /**
   * @param options.device entries of directories on other filesystems are left out
   * @param options.users whom the files' owners are shown as; undefined for the container's own
   */
  constructor(
    sys: Syscalls,
    output: Writable,
    options: {
      readonly signal: AbortSignal;
      readonly device?: bigint;
      readonly users: UserRemap | undefined;
    },
  ) {
    this.#sys = sys;
    this.#output = output;
    this.#signal = options.signal;
    this.#oneFilesystem = options.device;
    this.#users = options.users;
  }

  /** One entry with everything below it, called `as` in the archive. */
  async tree(parent: OpenDirectory, name: ByteString, as: ByteString): Promise<void> {
    const stats = parent.stat(name);
    if (stats === undefined) return;
    if (!stats.isDirectory()) {
      await this.entry(parent, name, as);
      return;
    }
    await this.#header('directory', { parent, name, as, stats });
    if (this.#oneFilesystem !== undefined && stats.dev !== this.#oneFilesystem) return;
    let directory: OpenDirectory;
    try {
      directory = parent.enter(name);
    } catch (error) {
      if (isGone(error)) return;
      throw error;
    }
    try {
      await this.contents(directory, as);
    } finally {
      directory[Symbol.dispose]();
    }
  }

  /** What is in an open directory. */
  async contents(directory: OpenDirectory, as: ByteString): Promise<void> {
    const prefix = as === '' || as.endsWith('/') ? as : `${as}/`;
    for (const name of directory.names()) {
      await this.tree(directory, name, `${prefix}${name}` as ByteString);
    }
  }

  /** The header of a directory alone. */
  async directory(parent: OpenDirectory, name: ByteString, as: ByteString): Promise<void> {
    const stats = parent.stat(name);
    if (stats?.isDirectory()) await this.#header('directory', { parent, name, as, stats });
  }

  /** One entry that is no directory. Sockets are left out: they mean nothing elsewhere. */
  async entry(parent: OpenDirectory, name: ByteString, as: ByteString): Promise<void> {
    const stats = parent.stat(name);
    if (stats === undefined || stats.isSocket() || stats.isDirectory()) return;
    const key = `${stats.dev}:${stats.ino}`;
    const first = stats.nlink > 1n ? this.#linked.get(key) : undefined;
    if (first !== undefined) {
      await this.#header('hardlink', { parent, name, as, stats, link: first });
      return;
    }
    if (stats.nlink > 1n) this.#linked.set(key, as);
    if (stats.isFile()) await this.#file(parent, name, as);
    else await this.#header(kindOf(stats), { parent, name, as, stats });
  }

  /** An empty file, for marks. */
  async mark(as: ByteString): Promise<void> {
    await this.#write(encodeTarHeader({ kind: 'file', path: as, mode: 0o600 }));
  }

  async end(): Promise<void> {
    await this.#write(TAR_END);
  }

  async #file(parent: OpenDirectory, name: ByteString, as: ByteString): Promise<void> {
    let fd: number | undefined;
    try {
      fd = parent.openFile(name);
    } catch (error) {
      if (isGone(error)) return;
      // Files of /sys that can only be written, and what another machine does not let us read.
      if (errnoOf(error) !== 'EACCES') throw error;
      throw forbidden(`cannot read ${toText(as)}: permission denied`, { cause: error });
    }
    if (fd === undefined) return;
    try {
      const stats = fstatSync(fd, { bigint: true });
      const sizeBytes = Number(stats.size);
      await this.#header('file', { parent, name, as, stats });
      for (let at = 0; at < sizeBytes; ) {
        const chunk = this.#chunk.subarray(0, sizeBytes - at);
        const n = readSync(fd, chunk, 0, chunk.length, at);
        if (n < chunk.length) chunk.fill(0, n);
        await this.#flush(chunk);
        at += chunk.length;
      }
      await this.#write(tarPadding(sizeBytes));
    } finally {
      closeSync(fd);
    }
  }

  async #header(
    kind: TarKind,
    of: {
      readonly parent: OpenDirectory;
      readonly name: ByteString;
      readonly as: ByteString;
      readonly stats: BigIntStats;
      readonly link?: ByteString;
    },
  ): Promise<void> {
    const { parent, name, stats } = of;
    let { link } = of;
    try {
      if (kind === 'symlink') link = parent.readLink(name);
    } catch (error) {
      // Also /proc/self, which leads nowhere for who is not in its PID namespace.
      if (isGone(error)) return;
      throw error;
    }
    const { major, minor } = splitDevice(Number(stats.rdev));
    const header = encodeTarHeader({
      kind,
      path: of.as === '' ? fromText('./') : of.as,
      mode: Number(stats.mode) & 0o7777,
      sizeBytes: kind === 'file' ? Number(stats.size) : 0,
      ...(link === undefined ? {} : { link }),
      uid: this.#idOf('uids', stats.uid),
      gid: this.#idOf('gids', stats.gid),
      mtime: timeOf(stats.mtimeNs),
      ...(kind === 'char' || kind === 'block' ? { major, minor } : {}),
      xattrs: kind === 'hardlink' ? [] : this.#xattrs(parent, name),
    });
    await this.#write(header);
  }

  /** The ID in the container that a file's owner has. */
  #idOf(kind: 'uids' | 'gids', id: bigint): number {
    return this.#users === undefined ? Number(id) : toContainerId(this.#users[kind], Number(id));
  }

  #xattrs(parent: OpenDirectory, name: ByteString): { name: string; value: Uint8Array }[] {
    const path = parent.at(name);
    const place = Buffer.concat([path, Buffer.of(0)]);
    try {
      return this.#sys.llistxattr(place).flatMap((each) => {
        if (!XATTRS.test(each)) return [];
        const value = this.#sys.lgetxattr(place, each);
        return value === undefined ? [] : [{ name: each, value }];
      });
    } catch (error) {
      if (isGone(error) || errnoOf(error) === 'EOPNOTSUPP') return [];
      throw error;
    }
  }

  /** Writes bytes that are the caller's again afterwards. */
  async #flush(bytes: Uint8Array): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.#output.write(bytes, (error) => (error ? reject(error) : resolve()));
    });
  }

  async #write(bytes: Uint8Array): Promise<void> {
    if (bytes.length === 0 || this.#output.write(bytes)) return;
    await once(this.#output, 'drain', { signal: this.#signal });
  }
}

function isGone(error: unknown): boolean {
  return ['ENOENT', 'ENOTDIR', 'ELOOP', 'ESTALE', 'ENXIO', 'ESRCH'].includes(errnoOf(error) ?? '');
}

function kindOf(stats: BigIntStats): TarKind {
  switch (Number(stats.mode) & S.IFMT) {
    case S.IFLNK:
      return 'symlink';
    case S.IFCHR:
      return 'char';
    case S.IFBLK:
      return 'block';
    default:
      return 'fifo';
  }
}

function timeOf(ns: bigint): { sec: number; nsec: number } {
  const nsec = ((ns % BILLION) + BILLION) % BILLION;
  return { sec: Number((ns - nsec) / BILLION), nsec: Number(nsec) };
}
