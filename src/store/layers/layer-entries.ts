import { fstatSync, readSync } from 'node:fs';
import { dataLoss, messageOf } from '../../base/errors.ts';
import { type ByteString, toText } from '../../formats/byte-string.ts';
import { EntryTable, TarScan, type TarSpan } from '../../formats/delta/entry-table.ts';
import type { ContentPlace } from '../../formats/layer-headers.ts';
import type { Segment } from '../../formats/tar-sparse.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { LayerFiles } from './layer-tar.ts';

/** Where the content of an entry lies: pieces of files, in the order of the tar. */
type Piece = {
  readonly place: ContentPlace;
  /** Its number among the layer's records of contents. */
  readonly record: number;
  readonly segments: readonly Segment[];
};

/** In place of a record's number: the entry has no content, or one that is described apart. */
const NO_CONTENT = -1;
const APART = -2;

const OPEN_FILES_MAX = 8;
const PAGE_BYTES = 64 << 10;
/** Pages of files that are read here and there. */
const PAGES = 4;

/**
 * All entries of an image's layers, bottom first, with random access to their contents: what deltas
 * are made and used with. Heads are made from what is kept beside each layer; contents are read
 * from the layers' files as they are asked for.
 */
export class LayerEntries implements Disposable {
  readonly table = new EntryTable();
  readonly spans: TarSpan[] = [];
  readonly #files: LayerFiles[] = [];
  /** Of an entry whose content is a whole file, as nearly all are: its record. */
  readonly #records: number[] = [];
  /** Where that file is another than the one at its path. */
  readonly #objects = new Map<number, ContentPlace>();
  /** The other ones: sparse, or lying elsewhere. */
  readonly #apart = new Map<number, readonly Piece[]>();
  /** By entry and record. */
  readonly #open = new Map<string, Disposable & { readonly fd: number }>();
  readonly #pages = new PageCache();

  /**
   * `directories` of the layers, bottom first.
   * @throws dataLoss when what is kept of a layer is damaged
   */
  constructor(sys: Syscalls, directories: readonly string[]) {
    try {
      for (const directory of directories) this.#scan(new LayerFiles(sys, directory));
      this.table.trim();
    } catch (cause) {
      this[Symbol.dispose]();
      throw dataLoss(`cannot read a layer of the base: ${messageOf(cause)}`, { cause });
    }
  }

  #scan(files: LayerFiles): void {
    this.#files.push(files);
    const scan = new TarScan(this.table);
    let contents = 0;
    for (const record of files.records()) {
      if (record.kind === 'raw') scan.push(record.bytes);
      else if (record.kind === 'contents') {
        const { place, segments } = record;
        this.#note(scan.path, { place, record: contents, segments });
        contents += 1;
        scan.skip(segments.reduce((sum, { bytes }) => sum + bytes, 0));
      }
    }
    this.spans.push(scan.end());
    while (this.#records.length < this.table.count) this.#records.push(NO_CONTENT);
  }

  /** Takes note of where the content of the last entry lies, or the next piece of it. */
  #note(path: ByteString, piece: Piece): void {
    const entry = this.table.count - 1;
    while (this.#records.length <= entry) this.#records.push(NO_CONTENT);
    const { place, segments } = piece;
    const isWhole =
      (place.kind === 'object' || (place.kind === 'content' && place.path === path)) &&
      segments.length === 1 &&
      segments[0]?.offset === 0 &&
      segments[0].bytes === this.table.contentBytes(entry);
    if (isWhole) {
      this.#records[entry] = piece.record;
      if (place.kind === 'object') this.#objects.set(entry, place);
      return;
    }
    this.#records[entry] = APART;
    this.#apart.set(entry, [...(this.#apart.get(entry) ?? []), piece]);
  }

  #piecesOf(entry: number): readonly Piece[] {
    const record = this.#records[entry] ?? NO_CONTENT;
    if (record < 0) return this.#apart.get(entry) ?? [];
    const path = this.table.path(entry);
    const place = this.#objects.get(entry) ?? ({ kind: 'content', path } as const);
    return [{ place, record, segments: [{ offset: 0, bytes: this.table.contentBytes(entry) }] }];
  }

  get count(): number {
    return this.table.count;
  }

  /** Valid until the next call. */
  head(index: number): Uint8Array {
    return this.table.headView(index);
  }

  /** Undefined for an entry without content. */
  contentBytes(index: number): number | undefined {
    return this.table.contentBytes(index) || undefined;
  }

  /**
   * Fills `into` from an entry's content; false when that goes beyond its end.
   * @throws dataLoss when a file cannot be opened or read
   */
  read(index: number, into: Uint8Array, position: number): boolean {
    if (position + into.length > this.table.contentBytes(index)) return false;
    const isWhole = into.length === this.table.contentBytes(index);
    if (isWhole || into.length >= PAGE_BYTES / 2) return this.#readDirect(index, into, position);
    return this.#pages.read(index, into, position, (page, at) => {
      const left = Math.min(page.length, this.table.contentBytes(index) - at);
      return this.#readDirect(index, page.subarray(0, left), at) ? left : 0;
    });
  }

  /** The file that is an entry's content as a whole; undefined where it is not one. */
  identity(index: number): { readonly dev: number; readonly ino: number } | undefined {
    const [piece] = this.#piecesOf(index);
    if (piece === undefined || (this.#records[index] ?? NO_CONTENT) < 0) return undefined;
    return fstatSync(this.#fileOf(index, piece).fd);
  }

  #readDirect(index: number, into: Uint8Array, position: number): boolean {
    let skip = position;
    let at = 0;
    for (const piece of this.#piecesOf(index)) {
      for (const { offset, bytes } of piece.segments) {
        if (skip >= bytes) {
          skip -= bytes;
          continue;
        }
        const wanted = Math.min(bytes - skip, into.length - at);
        const { fd } = this.#fileOf(index, piece);
        for (let done = 0; done < wanted; ) {
          const read = this.#readSome(fd, into.subarray(at + done, at + wanted), {
            index,
            position: offset + skip + done,
          });
          if (read === 0) return false; // the file is shorter than it was
          done += read;
        }
        at += wanted;
        skip = 0;
        if (at === into.length) return true;
      }
    }
    return at === into.length;
  }

  /** A disk that cannot give what it has is damage: whoever has the content from elsewhere goes on. */
  #readSome(
    fd: number,
    into: Uint8Array,
    from: { readonly index: number; readonly position: number },
  ): number {
    try {
      return readSync(fd, into, 0, into.length, from.position);
    } catch (cause) {
      throw this.#unreadable(from.index, cause);
    }
  }

  #unreadable(entry: number, cause: unknown): Error {
    const path = toText(this.table.path(entry));
    return dataLoss(`cannot read /${path} of the base: ${messageOf(cause)}`, { cause });
  }

  #fileOf(index: number, piece: Piece): { readonly fd: number } {
    const key = `${index} ${piece.record}`;
    const known = this.#open.get(key);
    if (known !== undefined) return known;
    for (const [oldest, file] of this.#open) {
      if (this.#open.size < OPEN_FILES_MAX) break;
      file[Symbol.dispose]();
      this.#open.delete(oldest);
    }
    const layer = this.spans.findLastIndex(({ first }) => first <= index);
    const files = this.#files[layer];
    if (files === undefined) throw new Error('assertion failed: an entry without a layer');
    const opened = this.#openFile(files, piece, index);
    this.#open.set(key, opened);
    return opened;
  }

  #openFile(files: LayerFiles, { place, record }: Piece, entry: number) {
    try {
      return files.open(place, record);
    } catch (cause) {
      throw this.#unreadable(entry, cause);
    }
  }

  [Symbol.dispose](): void {
    for (const file of this.#open.values()) file[Symbol.dispose]();
    this.#open.clear();
    for (const files of this.#files) files[Symbol.dispose]();
  }
}

/** A few pages of contents, so that many small reads become few. */
class PageCache {
  readonly #pages = new Map<string, { bytes: Buffer; length: number }>();
  /** The page that was read last, which is most often the next one too. */
  #last: { index: number; at: number; bytes: Buffer; length: number } = {
    index: -1,
    at: 0,
    bytes: Buffer.alloc(0),
    length: 0,
  };

  read(
    index: number,
    into: Uint8Array,
    position: number,
    load: (page: Buffer, at: number) => number,
  ): boolean {
    for (let done = 0; done < into.length; ) {
      const place = position + done;
      const at = place - (place % PAGE_BYTES);
      if (this.#last.index !== index || this.#last.at !== at) {
        this.#last = { index, at, ...this.#page(index, at, load) };
      }
      const { bytes, length } = this.#last;
      if (place - at >= length) return false;
      const end = Math.min(place - at + into.length - done, length);
      into.set(bytes.subarray(place - at, end), done);
      done += end - (place - at);
    }
    return true;
  }

  #page(
    index: number,
    at: number,
    load: (page: Buffer, at: number) => number,
  ): { bytes: Buffer; length: number } {
    const key = `${index} ${at}`;
    const known = this.#pages.get(key);
    if (known !== undefined) return known;
    let bytes: Buffer | undefined;
    if (this.#pages.size >= PAGES) {
      const [oldest] = this.#pages;
      if (oldest !== undefined) {
        this.#pages.delete(oldest[0]);
        bytes = oldest[1].bytes;
      }
    }
    bytes ??= Buffer.allocUnsafeSlow(PAGE_BYTES);
    const page = { bytes, length: load(bytes, at) };
    this.#pages.set(key, page);
    return page;
  }
}
