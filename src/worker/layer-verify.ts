import { closeSync, constants, fstatSync, lstatSync, openSync } from 'node:fs';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { splitDevice } from '../base/device-number.ts';
import { dataLoss, errnoOf, isEngineError, messageOf } from '../base/errors.ts';
import { type ByteString, pathArg, toText } from '../formats/byte-string.ts';
import { recordsOfContent } from '../formats/layer-headers.ts';
import {
  classifyLayerName,
  cleanLayerPath,
  isReservedXattr,
  splitLayerPath,
} from '../formats/layer-path.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { TarReader } from '../formats/tar-reader.ts';
import { O_CLOEXEC, O_TMPFILE, RESOLVE, S } from '../kernel/constants.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { OpenDirectory } from '../kernel/tree-walk.ts';
import { imageDamage } from '../store/layers/layer-images.ts';
import { LayerFiles, type LayerTarOptions, layerTar } from '../store/layers/layer-tar.ts';
import { objectOf, objectsBeside } from '../store/layers/objects.ts';
import { isWhiteout } from '../store/layers/whiteout.ts';

/**
 * Reads a whole layer and compares it with what it was when it came: its tar is made again from
 * the kept headers and the files, and must have the layer's diffID; and each name must be what the
 * tar says of it, because folders, symlinks, owners, modes and attributes are in no file's content;
 * and there must be no other names.
 *
 * Returns what is wrong, or undefined. @throws the signal's reason
 */
export async function verifyLayer(
  options: LayerTarOptions,
  signal: AbortSignal,
): Promise<string | undefined> {
  const names = new LayerNames();
  const reader = new TarReader({
    entry: (entry) => names.add(entry),
    content: () => undefined,
    entryEnd: () => undefined,
  });
  try {
    for (const chunk of layerTar(options)) {
      reader.push(chunk);
      await setImmediate(); // a cancellation must be heard
      signal.throwIfAborted();
    }
    reader.end();
    const damage = imageDamage(options.directory);
    if (damage !== undefined) return damage;
    using files = new LayerFiles(options.sys, options.directory);
    names.check(options.sys, options.directory, files.objectPaths());
    return undefined;
  } catch (error) {
    if (signal.aborted) throw error;
    if (isEngineError(error) || errnoOf(error) !== undefined) return messageOf(error);
    throw error;
  }
}

type Expected = TarEntry | 'whiteout';

/** The layer's own folder. */
const ROOT = '' as ByteString;

/** What the entries of a layer come to in the end, by clean path. */
class LayerNames {
  readonly #expected = new Map<ByteString, Expected>();
  /** Every path that an entry has made, folders on the way to it included. */
  readonly #paths = new Set<ByteString>([ROOT]);
  /** Folders that hide what lower layers have in them. */
  readonly #opaque = new Set<ByteString>();
  /** Of entries with contents: the number of their first record among all of contents. */
  readonly #records = new Map<TarEntry, number>();
  #recordCount = 0;
  /** Some entry lies below a symlink of the layer, and so changes what is said of another path. */
  #hasAliases = false;

  add(entry: TarEntry): void {
    if (entry.storedBytes > 0) {
      this.#records.set(entry, this.#recordCount);
      this.#recordCount += recordsOfContent(entry.segments?.length ?? 1);
    }
    const clean = cleanLayerPath(entry.path);
    if (clean === ROOT) {
      this.#expected.set(ROOT, entry);
      return;
    }
    const { parent, name } = splitLayerPath(clean);
    this.#hasAliases ||= this.#isBelowSymlink(parent);
    const special = classifyLayerName(name);
    if (special.kind === 'whiteout') {
      const target = joined(parent, special.target);
      // What the layer itself has under the name stays.
      if (!this.#expected.has(target)) this.#expected.set(target, 'whiteout');
      this.#notePath(target);
      return;
    }
    if (special.kind === 'opaque') this.#opaque.add(parent);
    this.#notePath(special.kind === 'plain' ? clean : parent);
    if (special.kind !== 'plain') return;
    // A hard link is its target, whatever its own header says.
    const same = entry.kind === 'hardlink' ? this.#expected.get(cleanLayerPath(entry.link)) : entry;
    if (!isDirectory(same)) this.#drop(clean);
    if (same !== undefined) this.#expected.set(clean, same);
  }

  #notePath(clean: ByteString): void {
    for (let at = clean; !this.#paths.has(at); at = splitLayerPath(at).parent) this.#paths.add(at);
  }

  #isBelowSymlink(folder: ByteString): boolean {
    for (let at = folder; at !== ''; at = splitLayerPath(at).parent) {
      const there = this.#expected.get(at);
      if (there !== undefined && there !== 'whiteout' && there.kind === 'symlink') return true;
    }
    return false;
  }

  /** A name that is taken gives way, with all below it. */
  #drop(clean: ByteString): void {
    if (!isDirectory(this.#expected.get(clean))) return;
    for (const key of this.#expected.keys()) {
      if (key.startsWith(`${clean}/`)) this.#expected.delete(key);
    }
  }

  /**
   * `objects`: paths of contents that are objects, by their records.
   * @throws dataLoss for the first name that is not as it should be
   */
  check(sys: Syscalls, directory: string, objects: ReadonlyMap<number, string>): void {
    if (this.#hasAliases) return; // contents and headers are verified; names would be a guess
    using root = OpenDirectory.open(sys, path.join(directory, 'diff'));
    const keeps = attributeProbe(sys, directory);
    const beside = objectsBeside(directory);
    const objectOfEntry = (entry: TarEntry) => objects.get(this.#records.get(entry) ?? -1);
    for (const [clean, expected] of this.#expected) {
      const { parent, name } = clean === ROOT ? HERE : splitLayerPath(clean);
      using folder = openBelow(sys, root, parent);
      const wrong =
        expected === 'whiteout'
          ? wrongWhiteout(sys, folder, name)
          : (difference(folder, name, expected) ??
            wrongAttribute(sys, folder.at(name), expected, keeps) ??
            wrongContent(sys, folder.at(name), beside, objectOfEntry(expected)));
      if (wrong !== undefined) throw dataLoss(`/${toText(clean)} ${wrong}`);
    }
    for (const clean of this.#opaque) {
      using folder = openBelow(sys, root, clean);
      if (sys.fgetxattr(folder.fd, OPAQUE) === undefined) {
        throw dataLoss(`/${toText(clean)} does not hide what lies below it any more`);
      }
    }
    this.#checkNothingElse(root, ROOT);
  }

  #checkNothingElse(folder: OpenDirectory, at: ByteString): void {
    for (const name of folder.names()) {
      const clean = joined(at, name);
      if (!this.#paths.has(clean)) throw dataLoss(`/${toText(clean)} is not of this layer`);
      if (folder.stat(name)?.isDirectory() !== true) continue;
      using below = folder.enter(name);
      this.#checkNothingElse(below, clean);
    }
  }
}

const HERE = { parent: ROOT, name: '.' as ByteString };
const OPAQUE = 'trusted.overlay.opaque';

function joined(parent: ByteString, name: ByteString): ByteString {
  return (parent === '' ? name : `${parent}/${name}`) as ByteString;
}

function isDirectory(expected: Expected | undefined): boolean {
  return expected !== undefined && expected !== 'whiteout' && expected.kind === 'directory';
}

function openBelow(sys: Syscalls, root: OpenDirectory, folder: ByteString): OpenDirectory {
  const flags = constants.O_RDONLY | constants.O_DIRECTORY | O_CLOEXEC;
  const resolve = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS;
  const place = folder === '' ? '.' : pathArg(folder);
  return new OpenDirectory(sys, sys.openat2(root.fd, place, { flags, resolve }));
}

const TYPES: Readonly<Record<Exclude<TarEntry['kind'], 'hardlink'>, number>> = {
  file: S.IFREG,
  directory: S.IFDIR,
  symlink: S.IFLNK,
  char: S.IFCHR,
  block: S.IFBLK,
  fifo: S.IFIFO,
};

function wrongWhiteout(sys: Syscalls, folder: OpenDirectory, name: ByteString): string | undefined {
  const stats = folder.stat(name);
  if (stats === undefined) return 'is missing';
  const place = Buffer.concat([folder.at(name), Buffer.of(0)]);
  return isWhiteout(sys, place, stats) ? undefined : 'is no whiteout';
}

/** What is wrong with a name; undefined when nothing is. */
function difference(
  folder: OpenDirectory,
  name: ByteString,
  expected: TarEntry,
): string | undefined {
  const stats = folder.stat(name);
  if (stats === undefined) return 'is missing';
  if (expected.kind === 'hardlink') return undefined;
  if ((Number(stats.mode) & S.IFMT) !== TYPES[expected.kind]) return `is no ${expected.kind}`;
  if (Number(stats.uid) !== expected.uid || Number(stats.gid) !== expected.gid) {
    return `belongs to ${stats.uid}:${stats.gid} instead of ${expected.uid}:${expected.gid}`;
  }
  if (expected.kind === 'char' || expected.kind === 'block') {
    const { major, minor } = splitDevice(Number(stats.rdev));
    if (major !== expected.major || minor !== expected.minor) {
      return `is device ${major}:${minor} instead of ${expected.major}:${expected.minor}`;
    }
  }
  if (expected.kind === 'symlink') {
    return folder.readLink(name) === expected.link ? undefined : 'leads elsewhere';
  }
  const mode = Number(stats.mode) & 0o7777;
  if (mode !== expected.mode) {
    return `has mode ${mode.toString(8)} instead of ${expected.mode.toString(8)}`;
  }
  // A stub's content is elsewhere, but its size is its own.
  if (expected.kind === 'file' && Number(stats.size) !== expected.sizeBytes) {
    return `has ${stats.size} bytes instead of ${expected.sizeBytes}`;
  }
  return undefined;
}

/** Attributes that mean something to who runs the file; others are the host's own (`security.selinux`). */
const MEANT = /^(?:user\.|security\.capability$|system\.posix_acl_)/;

/** What is wrong with the attributes of `file`; `keeps` tells what the filesystem can hold at all. */
function wrongAttribute(
  sys: Syscalls,
  file: Buffer,
  entry: TarEntry,
  keeps: (name: string) => boolean,
): string | undefined {
  // A hard link has those of its target; of what is no file the filesystem may refuse some.
  if (entry.kind !== 'file' && entry.kind !== 'directory') return undefined;
  const place = Buffer.concat([file, Buffer.of(0)]);
  const wanted = entry.xattrs.filter(({ name }) => !isReservedXattr(name));
  for (const { name, value } of wanted) {
    const has = sys.lgetxattr(place, name);
    if (has === undefined && keeps(name)) return `has lost its ${name}`;
    if (has !== undefined && Buffer.compare(has, value) !== 0) return `has another ${name}`;
  }
  const isWanted = new Set(wanted.map(({ name }) => name));
  const more = sys
    .llistxattr(place)
    .find((name) => MEANT.test(name) && !isReservedXattr(name) && !isWanted.has(name));
  return more === undefined ? undefined : `has a ${more}, which is not of this layer`;
}

/** A file must be the object that its content is read from, or lead to it. */
function wrongContent(
  sys: Syscalls,
  file: Buffer,
  objects: string,
  object: string | undefined,
): string | undefined {
  if (object === undefined) return undefined;
  const fd = openSync(file, constants.O_RDONLY | constants.O_NOFOLLOW | O_CLOEXEC);
  try {
    const leadsTo = objectOf(sys, objects, fd);
    if (leadsTo === object) return undefined;
    const [has, wanted] = [fstatSync(fd), lstatSync(object)];
    const isObject = leadsTo === undefined && has.dev === wanted.dev && has.ino === wanted.ino;
    return isObject ? undefined : 'has another content than it had';
  } finally {
    closeSync(fd);
  }
}

/** Tells, by a file without a name, whether files in `directory` can have an attribute. */
function attributeProbe(sys: Syscalls, directory: string): (name: string) => boolean {
  return (name) => {
    try {
      const fd = openSync(directory, O_TMPFILE | constants.O_DIRECTORY | constants.O_RDWR, 0o600);
      try {
        sys.fsetxattr(fd, name, Buffer.from('x'));
        return true;
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      // A value that makes no sense is refused by who knows the attribute.
      return errnoOf(error) === 'EINVAL';
    }
  };
}
