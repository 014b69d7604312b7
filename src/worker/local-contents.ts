import {
  type BigIntStats,
  closeSync,
  constants,
  existsSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  readSync,
} from 'node:fs';
import path from 'node:path';
import { errnoOf, isEngineError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type ContentRecord, decodeLayerContents } from '../formats/layer-contents.ts';
import { FADV, O_CLOEXEC, O_NOATIME } from '../kernel/constants.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import { objectPlace } from '../store/layers/object-place.ts';
import { CONTENTS, dataRootOf, imagesMarker, metacopyMarker } from '../store/layers/objects.ts';

/** A content that some committed layer has; `group` is never ''. */
export type LocalContent = ContentRecord;

const TABLE_RECORDS = 1024;
/** More files of one size and sum than this are not tried. */
const CANDIDATES_MAX = 4;
const COMPARE_BYTES = 256 << 10;
/** So much is read before its pages are dropped again. */
const DROP_BYTES = 1 << 20;
const READ = constants.O_RDONLY | constants.O_NOFOLLOW | O_CLOEXEC | O_NOATIME;

/**
 * The contents of all layers that are here, found by size and sum. One for each process and data
 * root: a hash table over flat arrays, some 40 bytes for each content.
 *
 * A content that was found here stays as long as the operation that found it has its staging folder
 * (see `store/layers/objects.ts`).
 */
export class LocalContents {
  readonly objects: string;
  readonly #sys: Syscalls;
  readonly #layers: string;
  readonly #known = new Set<string>();
  readonly #groups: string[] = [];
  readonly #groupIndex = new Map<string, number>();
  readonly #buffer = Buffer.allocUnsafeSlow(COMPARE_BYTES);
  #hasMetacopy = false;
  #hasImages = false;
  #count = 0;
  #heads = new Int32Array(TABLE_RECORDS * 2).fill(-1);
  #columns = newColumns(TABLE_RECORDS);

  constructor(sys: Syscalls, dataRoot: string) {
    this.#sys = sys;
    this.#layers = path.join(dataRoot, 'layers');
    this.objects = path.join(dataRoot, 'objects');
  }

  /** The kernel can show a file whose content is an object (overlayfs with data-only layers). */
  get hasMetacopy(): boolean {
    return this.#hasMetacopy;
  }

  /** Layers may be images of their names. */
  get hasImages(): boolean {
    return this.#hasMetacopy && this.#hasImages;
  }

  /** How many there are. */
  get count(): number {
    return this.#count;
  }

  /** Takes in what changed since the last time: layers that were committed. */
  refresh(): void {
    this.#hasMetacopy = existsSync(metacopyMarker(this.objects));
    this.#hasImages = existsSync(imagesMarker(this.objects));
    for (const dir of readdirSync(this.#layers)) {
      if (this.#known.has(dir) || this.#count >= LIMITS.sharedContentsMax) continue;
      this.#known.add(dir);
      this.#load(dir);
    }
  }

  #load(dir: string): void {
    try {
      const layer = decodeLayerContents(readFileSync(path.join(this.#layers, dir, CONTENTS)));
      for (let i = 0; i < layer.count && this.#count < LIMITS.sharedContentsMax; i += 1) {
        const record = layer.at(i);
        this.#insert(record, record.group === '' ? dir : record.group);
      }
    } catch (error) {
      // A layer that is gone by now, has no contents, or has a damaged list of them shares nothing.
      const isAbsent = errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR';
      if (!isAbsent && !isEngineError(error, 'dataLoss')) throw error;
    }
  }

  #insert(record: ContentRecord, group: string): void {
    if (this.#count === this.#columns.sum.length) this.#grow();
    const i = this.#count;
    const { sum, place, number, source, bytes } = this.#columns;
    sum[i] = record.sum;
    place[i] = record.place;
    number[i] = record.number;
    source[i] = this.#indexOf(group) * 2 + (record.isLinked ? 1 : 0);
    bytes[i] = record.bytes;
    this.#count += 1;
    this.#chain(i);
  }

  #indexOf(group: string): number {
    let index = this.#groupIndex.get(group);
    if (index === undefined) {
      index = this.#groups.push(group) - 1;
      this.#groupIndex.set(group, index);
    }
    return index;
  }

  #chain(i: number): void {
    const { sum, bytes, next } = this.#columns;
    const slot = this.#slot(sum[i] ?? 0, bytes[i] ?? 0);
    next[i] = this.#heads[slot] ?? -1;
    this.#heads[slot] = i;
  }

  #slot(sum: number, bytes: number): number {
    return ((sum ^ Math.imul(bytes % 2 ** 32, 0x9e3779b1)) >>> 0) & (this.#heads.length - 1);
  }

  #grow(): void {
    const before = this.#columns;
    this.#columns = newColumns(before.sum.length * 2);
    this.#columns.sum.set(before.sum);
    this.#columns.place.set(before.place);
    this.#columns.number.set(before.number);
    this.#columns.source.set(before.source);
    this.#columns.bytes.set(before.bytes);
    this.#heads = new Int32Array(this.#columns.sum.length * 2).fill(-1);
    for (let i = 0; i < this.#count; i += 1) this.#chain(i);
  }

  /** Contents that may be the wanted one, those of the same path first; each object once. */
  find(wanted: { sum: number; bytes: number; place: number }): LocalContent[] {
    const found: LocalContent[] = [];
    const columns = this.#columns;
    let i = this.#heads[this.#slot(wanted.sum, wanted.bytes)] ?? -1;
    for (; i >= 0 && found.length < CANDIDATES_MAX; i = columns.next[i] ?? -1) {
      if (columns.sum[i] !== wanted.sum || columns.bytes[i] !== wanted.bytes) continue;
      const content = this.#at(i);
      const known = found.findIndex(
        ({ group, number }) => group === content.group && number === content.number,
      );
      if (known < 0) found.push(content);
      else if (content.place === wanted.place) found[known] = content;
    }
    return found.toSorted(
      (a, b) => Number(b.place === wanted.place) - Number(a.place === wanted.place),
    );
  }

  #at(i: number): LocalContent {
    const { sum, place, number, source, bytes } = this.#columns;
    const from = source[i] ?? 0;
    return {
      sum: sum[i] ?? 0,
      place: place[i] ?? 0,
      number: number[i] ?? 0,
      group: this.#groups[from >>> 1] ?? '',
      isLinked: (from & 1) === 1,
      bytes: bytes[i] ?? 0,
    };
  }

  /**
   * Opens a content's object; undefined when it is not there (any more). One that is `source` itself
   * is not read, and so only opened when it has to be.
   */
  open(content: LocalContent, source?: FileIdentity): OpenContent | undefined {
    const file = `${this.objects}/${objectPlace(content)}`;
    try {
      return new OpenContent(this.#sys, { content, file, source }, this.#buffer);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return undefined;
      throw error;
    }
  }
}

/** A file, whatever it is called. */
export type FileIdentity = { readonly dev: number; readonly ino: number };

/** False for numbers that are too large to be told apart. */
function isSameFile(a: FileIdentity, b: FileIdentity): boolean {
  return a.ino === b.ino && a.dev === b.dev && Number.isSafeInteger(a.ino);
}

/** An object open for comparison. What it brings into the page cache it takes out again. */
export class OpenContent implements Disposable {
  readonly content: LocalContent;
  /** Absolute path of the object. */
  readonly file: string;
  /** It is the very file that the content is being read from. */
  readonly isSource: boolean;
  readonly #sys: Syscalls;
  readonly #buffer: Buffer;
  #fd = -1;
  /** In use by somebody: its pages stay. */
  #isCached = true;
  #dropFrom = 0;

  constructor(
    sys: Syscalls,
    {
      content,
      file,
      source,
    }: { content: LocalContent; file: string; source?: FileIdentity | undefined },
    buffer: Buffer,
  ) {
    this.#sys = sys;
    this.content = content;
    this.file = file;
    this.#buffer = buffer;
    this.isSource = source !== undefined && isSameFile(lstatSync(file), source);
    if (!this.isSource) this.#open();
  }

  get stats(): BigIntStats {
    return lstatSync(this.file, { bigint: true });
  }

  get fd(): number {
    if (this.#fd < 0) this.#open();
    return this.#fd;
  }

  #open(): void {
    this.#fd = openSync(this.file, READ);
    this.#isCached = (this.#sys.cachedPages(this.#fd) ?? 0) > 0;
  }

  /** True when these bytes are what it has at `offset`. */
  equals(bytes: Buffer, offset: number): boolean {
    for (let at = 0; at < bytes.length; ) {
      const wanted = Math.min(this.#buffer.length, bytes.length - at);
      const read = readSync(this.fd, this.#buffer, 0, wanted, offset + at);
      if (read === 0) return false;
      if (this.#buffer.compare(bytes, at, at + read, 0, read) !== 0) return false;
      at += read;
    }
    if (offset + bytes.length - this.#dropFrom >= DROP_BYTES) {
      this.#drop(offset + bytes.length - this.#dropFrom);
      this.#dropFrom = offset + bytes.length;
    }
    return true;
  }

  #drop(bytes: number): void {
    if (!this.#isCached) this.#sys.fadvise(this.#fd, this.#dropFrom, bytes, FADV.DONTNEED);
  }

  [Symbol.dispose](): void {
    this.#dropFrom = 0;
    if (this.#fd < 0) return;
    this.#drop(0);
    closeSync(this.#fd);
  }
}

function newColumns(records: number) {
  return {
    sum: new Uint32Array(records),
    place: new Uint32Array(records),
    number: new Uint32Array(records),
    /** Index of the group, doubled, plus 1 when hard links lead to the file. */
    source: new Uint32Array(records),
    bytes: new Float64Array(records),
    next: new Int32Array(records),
  };
}

const byDataRoot = new Map<string, LocalContents>();

/**
 * The contents that a layer in `directory` can share; undefined when it does not lie in the staging
 * area of a data root.
 */
export function localContents(sys: Syscalls, directory: string): LocalContents | undefined {
  const dataRoot = dataRootOf(directory);
  if (dataRoot === undefined || !existsSync(path.join(dataRoot, 'layers'))) return undefined;
  let contents = byDataRoot.get(dataRoot);
  if (contents === undefined) {
    contents = new LocalContents(sys, dataRoot);
    byDataRoot.set(dataRoot, contents);
  }
  contents.refresh();
  return contents;
}
