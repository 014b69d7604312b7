import {
  chmodSync,
  closeSync,
  constants,
  ftruncateSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  openSync,
  rmSync,
  symlinkSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { errnoOf, messageOf } from '../../base/errors.ts';
import { type ByteString, toBytes, toText } from '../../formats/byte-string.ts';
import type { TarEntry } from '../../formats/tar-entry.ts';
import { TarReader } from '../../formats/tar-reader.ts';
import { EXIT, ExitError } from '../exit.ts';
import type { Landing } from './places.ts';

/**
 * Unpacks what a container sent below a folder of ours. The archive is not trusted: its first
 * entry is the top of the tree, all others must lie below it, and no symlink that it brings is
 * ever followed. Files belong to who runs the command.
 *
 * @throws ExitError for what does not fit what is there, or an archive that leads outside
 */
export async function unpackTree(
  archive: AsyncIterable<Uint8Array>,
  landing: Landing,
): Promise<void> {
  const tree = new Unpacking(landing);
  const reader = new TarReader({
    entry: (entry) => tree.entry(entry),
    content: (bytes, offset) => tree.content(bytes, offset),
    entryEnd: () => tree.entryEnd(),
  });
  try {
    for await (const chunk of archive) reader.push(chunk);
    reader.end();
    tree.end();
  } catch (cause) {
    if (errnoOf(cause) === undefined || cause instanceof ExitError) throw cause;
    throw new ExitError(EXIT.failure, messageOf(cause), { cause });
  } finally {
    tree[Symbol.dispose]();
  }
}

type Times = { readonly place: Buffer; readonly entry: TarEntry };

const NEW_FILE =
  constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | (constants.O_NOFOLLOW ?? 0);

class Unpacking implements Disposable {
  readonly #directory: string;
  readonly #name: string;
  /** Path of the first entry; what all others begin with. */
  #top: string | undefined;
  #file: { readonly fd: number; readonly place: Buffer; readonly entry: TarEntry } | undefined;
  /** Modes and times of folders are set in the end: what comes into them changes the times. */
  readonly #folders: Times[] = [];

  constructor({ directory, name }: Landing) {
    this.#directory = directory;
    this.#name = name;
  }

  readonly content = (bytes: Buffer, offset: number): void => {
    if (this.#file === undefined) return;
    for (let at = 0; at < bytes.length; ) {
      at += writeSync(this.#file.fd, bytes, at, bytes.length - at, offset + at);
    }
  };

  readonly entryEnd = (): void => {
    if (this.#file === undefined) return;
    const { fd, place, entry } = this.#file;
    this.#file = undefined;
    try {
      if (entry.segments !== undefined) ftruncateSync(fd, entry.sizeBytes);
    } finally {
      closeSync(fd);
    }
    dress(place, entry);
  };

  entry(entry: TarEntry): void {
    const parts = this.#partsOf(entry.path);
    const place = this.#placeOf(parts, entry);
    const there = lstatSync(place, { throwIfNoEntry: false });
    if (entry.kind === 'directory') {
      if (there !== undefined && !there.isDirectory()) throw this.#clash(entry, place, false);
      if (there === undefined) mkdirSync(place, { mode: 0o700 });
      // The folder that receives a tree's contents is not the tree's.
      if (parts.length > 0 || this.#name !== '') this.#folders.push({ place, entry });
      return;
    }
    if (there?.isDirectory() === true) throw this.#clash(entry, place, true);
    if (there !== undefined) rmSync(place);
    this.#make(entry, place);
  }

  #make(entry: TarEntry, place: Buffer): void {
    switch (entry.kind) {
      case 'file':
        this.#file = { fd: openSync(place, NEW_FILE, 0o600), place, entry };
        return;
      case 'symlink':
        symlinkSync(toBytes(entry.link), place);
        lutimesSync(place, secondsOf(entry.atime), secondsOf(entry.mtime));
        return;
      case 'hardlink':
        linkSync(this.#placeOf(this.#partsOf(entry.link), entry), place);
        return;
      case 'directory':
        return;
      case 'char':
      case 'block':
      case 'fifo':
        throw new ExitError(
          EXIT.failure,
          `cannot copy ${toText(entry.path)}: devices and pipes are not copied out of containers`,
        );
    }
  }

  /** What of an entry's path lies below the top. */
  #partsOf(entryPath: ByteString): string[] {
    const clean = path.posix.normalize(`/${entryPath}`).replace(/\/$/, '');
    if (entryPath.split('/').includes('..')) throw outside(entryPath);
    this.#top ??= clean;
    if (clean === this.#top) return [];
    if (!clean.startsWith(`${this.#top}/`)) throw outside(entryPath);
    return clean.slice(this.#top.length + 1).split('/');
  }

  /** Where they are here; every folder on the way must be one, and no symlink to one. */
  #placeOf(parts: readonly string[], entry: TarEntry): Buffer {
    const names = (this.#name === '' ? [] : [this.#name]).map((name) => Buffer.from(name));
    const below = parts.map((part) => toBytes(part as ByteString));
    let place = Buffer.from(this.#directory);
    for (const [i, part] of [...names, ...below].entries()) {
      if (i > 0 && !lstatSync(place).isDirectory()) throw outside(entry.path);
      place = Buffer.concat([place, Buffer.from('/'), part]);
    }
    return place;
  }

  #clash(entry: TarEntry, place: Buffer, isFolder: boolean): ExitError {
    const [there, here] = isFolder
      ? ['directory', 'non-directory']
      : ['non-directory', 'directory'];
    return new ExitError(
      EXIT.failure,
      `cannot overwrite ${there} "${place.toString()}" with ${here} "${toText(entry.path)}"`,
    );
  }

  /** Everything is there. */
  end(): void {
    for (const { place, entry } of this.#folders.reverse()) dress(place, entry);
  }

  [Symbol.dispose](): void {
    if (this.#file !== undefined) closeSync(this.#file.fd);
  }
}

function dress(place: Buffer, entry: TarEntry): void {
  // Without the owner, what set-ID bits promise is not ours to promise.
  chmodSync(place, entry.mode & 0o1777);
  lutimesSync(place, secondsOf(entry.atime), secondsOf(entry.mtime));
}

function secondsOf({ sec, nsec }: TarEntry['mtime']): number {
  return sec + nsec / 1e9;
}

function outside(entryPath: ByteString): ExitError {
  return new ExitError(
    EXIT.failure,
    `refusing ${JSON.stringify(toText(entryPath))}: the archive leads out of what was asked for`,
  );
}
