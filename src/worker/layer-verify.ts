import { type BigIntStats, constants } from 'node:fs';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { dataLoss, errnoOf, isEngineError, messageOf } from '../base/errors.ts';
import { type ByteString, pathArg, toText } from '../formats/byte-string.ts';
import { classifyLayerName, cleanLayerPath, splitLayerPath } from '../formats/layer-path.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { TarReader } from '../formats/tar-reader.ts';
import { O_CLOEXEC, RESOLVE, S } from '../kernel/constants.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { OpenDirectory } from '../kernel/tree-walk.ts';
import { type LayerTarOptions, layerTar } from '../store/layers/layer-tar.ts';

/**
 * Reads a whole layer and compares it with what it was when it came: its tar is made again from
 * the kept headers and the files, and must have the layer's diffID; and each name must be what the
 * tar says of it, because folders, symlinks, owners and modes are in no file's content.
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
    names.check(options.sys, path.join(options.directory, 'diff'));
    return undefined;
  } catch (error) {
    if (signal.aborted) throw error;
    if (isEngineError(error) || errnoOf(error) !== undefined) return messageOf(error);
    throw error;
  }
}

type Expected = TarEntry | 'whiteout';

/** What the entries of a layer come to in the end, by clean path. */
class LayerNames {
  readonly #expected = new Map<ByteString, Expected>();
  /** Some entry lies below a symlink of the layer, and so changes what is said of another path. */
  #hasAliases = false;

  add(entry: TarEntry): void {
    const clean = cleanLayerPath(entry.path);
    if (clean === '') return;
    const { parent, name } = splitLayerPath(clean);
    this.#hasAliases ||= this.#isBelowSymlink(parent);
    const special = classifyLayerName(name);
    if (special.kind === 'whiteout') {
      const target = joined(parent, special.target);
      // What the layer itself has under the name stays.
      if (!this.#expected.has(target)) this.#expected.set(target, 'whiteout');
      return;
    }
    if (special.kind !== 'plain') return;
    // A hard link is its target, whatever its own header says.
    const same = entry.kind === 'hardlink' ? this.#expected.get(cleanLayerPath(entry.link)) : entry;
    if (!isDirectory(same)) this.#drop(clean);
    if (same !== undefined) this.#expected.set(clean, same);
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

  /** @throws dataLoss for the first name that is not as it should be */
  check(sys: Syscalls, diff: string): void {
    if (this.#hasAliases) return; // contents and headers are verified; names would be a guess
    using root = OpenDirectory.open(sys, diff);
    for (const [clean, expected] of this.#expected) {
      const { parent, name } = splitLayerPath(clean);
      using folder = openBelow(sys, root, parent);
      const wrong = difference(folder, name, expected);
      if (wrong !== undefined) throw dataLoss(`/${toText(clean)} ${wrong}`);
    }
  }
}

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

/** What is wrong with a name; undefined when nothing is. */
function difference(
  folder: OpenDirectory,
  name: ByteString,
  expected: Expected,
): string | undefined {
  const stats = folder.stat(name);
  if (stats === undefined) return 'is missing';
  if (expected === 'whiteout') return isWhiteout(stats) ? undefined : 'is no whiteout';
  if (expected.kind === 'hardlink') return undefined;
  if ((Number(stats.mode) & S.IFMT) !== TYPES[expected.kind]) return `is no ${expected.kind}`;
  if (Number(stats.uid) !== expected.uid || Number(stats.gid) !== expected.gid) {
    return `belongs to ${stats.uid}:${stats.gid} instead of ${expected.uid}:${expected.gid}`;
  }
  if (expected.kind === 'symlink') {
    return folder.readLink(name) === expected.link ? undefined : 'leads elsewhere';
  }
  const mode = Number(stats.mode) & 0o7777;
  return mode === expected.mode
    ? undefined
    : `has mode ${mode.toString(8)} instead of ${expected.mode.toString(8)}`;
}

function isWhiteout(stats: BigIntStats): boolean {
  return stats.isCharacterDevice() && stats.rdev === 0n;
}
