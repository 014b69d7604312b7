import { createHash } from 'node:crypto';
import { closeSync, constants, existsSync, openSync, readSync } from 'node:fs';
import path from 'node:path';
import type { DiffId } from '../../base/digest.ts';
import { dataLoss, errnoOf, messageOf } from '../../base/errors.ts';
import { type ByteString, pathArg } from '../../formats/byte-string.ts';
import {
  type ContentPlace,
  type LayerRecord,
  readLayerHeaders,
} from '../../formats/layer-headers.ts';
import { FADV, O_CLOEXEC, O_NOATIME, RESOLVE } from '../../kernel/constants.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { objectPlace, parseObjectPlace, placeInGroup, STAGED_OBJECTS } from './object-place.ts';
import { objectOf, objectsBeside } from './objects.ts';

/** A layer whose tar is wanted. */
export type LayerTarOptions = {
  readonly sys: Syscalls;
  /** Absolute; holds `diff/`, `headers` and perhaps `apart/`. */
  readonly directory: string;
  readonly diffId: DiffId;
};

const OUTPUT_BYTES = 256 << 10;
const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | O_CLOEXEC | O_NOATIME;
const INSIDE = RESOLVE.BENEATH | RESOLVE.NO_SYMLINKS | RESOLVE.NO_MAGICLINKS;

/**
 * The exact tar that a layer was extracted from, in chunks of at most 256 KiB that are the
 * consumer's to keep. The diffID is checked at the end, so what was made of the chunks must not be
 * used before this has ended without an error.
 *
 * @throws dataLoss when a file or the headers are missing or not what they were
 */
export function* layerTar(options: LayerTarOptions): Generator<Buffer> {
  const { diffId } = options;
  const hash = createHash('sha256');
  const chunks = assemble(options);
  for (;;) {
    const { value: chunk, done } = nextOf(chunks, diffId);
    if (done === true) break;
    hash.update(chunk);
    yield chunk;
  }
  const sum = `sha256:${hash.digest('hex')}`;
  if (sum !== diffId) throw dataLoss(`layer ${diffId} is damaged: its files add up to ${sum}`);
}

/** The beginning of a file's content, of which the layer's headers do not speak yet. */
export type LayerTail = {
  /**
   * Below `diff/`; or that of an object (`object-place.ts`), whose group is `objects` when it is one
   * of the layer itself.
   */
  readonly path: ByteString;
  readonly isObject: boolean;
  /** At least 1. */
  readonly bytes: number;
};

/**
 * The first `bytes` bytes of the tar of a layer whose extraction did not come to its end, the last
 * of which may be those of a `tail`.
 * @throws dataLoss when its headers and files do not give so much
 */
export function* layerTarPrefix(
  layer: Omit<LayerTarOptions, 'diffId'>,
  bytes: number,
  tail: LayerTail | undefined,
): Generator<Buffer> {
  let left = bytes - (tail?.bytes ?? 0);
  for (const chunk of assemble(layer, left)) {
    left -= chunk.length;
    yield chunk;
  }
  if (left > 0) throw dataLoss('the part of the layer that is here is shorter than it was');
  if (tail !== undefined) yield* tailOf(layer, tail);
}

function* tailOf(
  { sys, directory }: Omit<LayerTarOptions, 'diffId'>,
  tail: LayerTail,
): Generator<Buffer> {
  using files = new LayerFiles(sys, directory);
  using file = files.openTail(tail);
  for (let at = 0; at < tail.bytes; ) {
    const chunk = Buffer.allocUnsafeSlow(Math.min(OUTPUT_BYTES, tail.bytes - at));
    const read = readSync(file.fd, chunk, 0, chunk.length, at);
    if (read === 0) throw dataLoss('the file that was being written is shorter than it was');
    yield chunk.subarray(0, read);
    at += read;
  }
}

function nextOf(chunks: Generator<Buffer, void>, diffId: DiffId): IteratorResult<Buffer, void> {
  try {
    return chunks.next();
  } catch (error) {
    throw dataLoss(`layer ${diffId} is damaged: ${messageOf(error)}`, { cause: error });
  }
}

/** A stretch of the tar: `take` puts its next bytes into a buffer and says how many. */
type Piece = { left: number; readonly take: (into: Buffer, at: number, bytes: number) => number };

function* assemble(
  { sys, directory }: Omit<LayerTarOptions, 'diffId'>,
  bytesMax = Number.POSITIVE_INFINITY,
): Generator<Buffer, void> {
  if (bytesMax === 0) return;
  using files = new LayerFiles(sys, directory);
  let output = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  let at = 0;
  let left = bytesMax;
  for (const piece of pieces(files)) {
    while (piece.left > 0) {
      const taken = piece.take(output, at, Math.min(piece.left, OUTPUT_BYTES - at, left));
      if (taken === 0) throw dataLoss('a file is shorter than it was');
      piece.left -= taken;
      left -= taken;
      at += taken;
      if (at < OUTPUT_BYTES && left > 0) continue;
      yield output.subarray(0, at);
      if (left === 0) return;
      output = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
      at = 0;
    }
  }
  if (at > 0) yield output.subarray(0, at);
}

function* pieces(files: LayerFiles): Generator<Piece> {
  let contents = 0;
  for (const record of files.records()) {
    if (record.kind === 'raw') {
      const { bytes } = record;
      let from = 0;
      yield {
        left: bytes.length,
        take: (into, at, n) => {
          from += n;
          return bytes.copy(into, at, from - n, from);
        },
      };
    } else if (record.kind === 'contents') {
      using file = files.open(record.place, contents);
      contents += 1;
      for (const { offset, bytes } of record.segments) {
        let from = offset;
        yield {
          left: bytes,
          take: (into, at, n) => {
            const read = readSync(file.fd, into, at, n, from);
            from += read;
            return read;
          },
        };
      }
    }
  }
}

/** The files that a layer's headers speak of: `directory` is the layer's folder. */
export class LayerFiles implements Disposable {
  readonly #sys: Syscalls;
  readonly #directory: string;
  readonly #objects: string;
  #diffFd = -1;
  #apartFd = -1;
  /** By path: what was moved away from it, in the order in which that happened. */
  readonly #moved = new Map<ByteString, { count: number; number: number }[]>();

  constructor(sys: Syscalls, directory: string) {
    this.#sys = sys;
    this.#directory = directory;
    this.#objects = objectsBeside(directory);
    const apart = path.join(directory, 'apart');
    if (!existsSync(apart)) return;
    this.#apartFd = openSync(apart, DIRECTORY);
    for (const record of this.records()) {
      if (record.kind !== 'moved') continue;
      const before = this.#moved.get(record.path) ?? [];
      this.#moved.set(record.path, [...before, { count: record.count, number: record.number }]);
    }
  }

  /** What the layer's tar is made of, in order. @throws dataLoss */
  *records(): Generator<LayerRecord> {
    using file = this.headers();
    yield* readLayerHeaders(file.read);
  }

  /** The file `headers`, open: `read` takes the next bytes of it. */
  headers(): Disposable & { readonly fd: number; readonly read: (n: number) => Buffer } {
    const fd = openSync(path.join(this.#directory, 'headers'), READ);
    const read = (n: number): Buffer => {
      const bytes = Buffer.allocUnsafe(n);
      let at = 0;
      for (let taken = -1; taken !== 0 && at < n; at += taken)
        taken = readSync(fd, bytes, at, n - at, null);
      return bytes.subarray(0, at);
    };
    return { fd, read, [Symbol.dispose]: () => closeSync(fd) };
  }

  /**
   * Opens the content that record number `index` of its kind speaks of. What reading it brings into
   * the page cache is taken out again in the end, unless somebody uses it.
   */
  open(place: ContentPlace, index: number): Disposable & { readonly fd: number } {
    return this.#uncached(this.#openPlace(place, index));
  }

  #openPlace(place: ContentPlace, index: number): number {
    switch (place.kind) {
      case 'apart':
        return this.#openIn(this.#apartFd, String(place.number) as ByteString);
      case 'object':
        return this.#openObject(place.group, place.number);
      case 'content':
        return this.#openContent(place.path, index);
    }
  }

  #openObject(group: string, number: number): number {
    if (group !== '') return openSync(this.objectPath(group, number), READ);
    // The layer's own move from its folder to a group of its name when it is committed.
    const staged = path.join(this.#directory, STAGED_OBJECTS, placeInGroup(number));
    try {
      return openSync(staged, READ);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
    }
    return openSync(this.objectPath(group, number), READ);
  }

  /** Where an object of a committed layer's headers lies. */
  objectPath(group: string, number: number): string {
    const object = { group: group || path.basename(this.#directory), number };
    return path.join(this.#objects, objectPlace(object));
  }

  /** {@link objectPath} of contents that are objects, by their number among the records of contents. */
  objectPaths(): Map<number, string> {
    const paths = new Map<number, string>();
    let contents = 0;
    for (const record of this.records()) {
      if (record.kind !== 'contents') continue;
      const { place } = record;
      if (place.kind === 'object') {
        paths.set(contents, this.objectPath(place.group, place.number));
      }
      contents += 1;
    }
    return paths;
  }

  /** What the layer's names are in; an image of them need not be mounted for its contents. */
  get #diff(): number {
    if (this.#diffFd < 0) this.#diffFd = openSync(path.join(this.#directory, 'diff'), DIRECTORY);
    return this.#diffFd;
  }

  #uncached(fd: number): Disposable & { readonly fd: number } {
    const isUsed = (this.#sys.cachedPages(fd) ?? 0) > 0;
    const dispose = (): void => {
      if (!isUsed) this.#sys.fadvise(fd, 0, 0, FADV.DONTNEED);
      closeSync(fd);
    };
    return { fd, [Symbol.dispose]: dispose };
  }

  /** Opens the file that a tail is the beginning of. @throws dataLoss */
  openTail({ path: file, isObject }: LayerTail): Disposable & { readonly fd: number } {
    if (!isObject) {
      const how = { flags: READ, resolve: INSIDE };
      return this.#uncached(this.#sys.openat2(this.#diff, pathArg(file), how));
    }
    const object = parseObjectPlace(file);
    if (object === undefined) throw dataLoss(`no content is called ${file}`);
    const { group, number } = object;
    return this.#uncached(this.#openObject(group === STAGED_OBJECTS ? '' : group, number));
  }

  #openContent(file: ByteString, index: number): number {
    // The first move after the record, of the file or of a folder it was in, is where it went.
    let best: { count: number; number: number; rest: string } | undefined;
    if (this.#moved.size > 0) {
      for (let end = file.length; end > 0; end = file.lastIndexOf('/', end - 1)) {
        for (const { count, number } of this.#moved.get(file.slice(0, end) as ByteString) ?? []) {
          const isFirst = best === undefined || number < best.number;
          if (count > index && isFirst) best = { count, number, rest: file.slice(end) };
        }
      }
    }
    if (best === undefined) return this.#openIn(this.#diff, file);
    return this.#openIn(this.#apartFd, `${best.number}${best.rest}` as ByteString);
  }

  #openIn(dirFd: number, file: ByteString): number {
    const fd = this.#sys.openat2(dirFd, pathArg(file), { flags: READ, resolve: INSIDE });
    const object = objectOf(this.#sys, this.#objects, fd);
    if (object === undefined) return fd;
    closeSync(fd);
    return openSync(object, READ);
  }

  [Symbol.dispose](): void {
    if (this.#diffFd >= 0) closeSync(this.#diffFd);
    if (this.#apartFd >= 0) closeSync(this.#apartFd);
  }
}
