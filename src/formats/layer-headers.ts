import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { dataLoss } from '../base/errors.ts';
import { asBuffer, type ByteString, byteString, toBytes } from './byte-string.ts';
import type { Segment } from './tar-sparse.ts';

/**
 * What a layer's tar has beside the contents of its files, so that the exact tar comes back from
 * the files: the file `headers` beside the layer's files in `diff/`.
 *
 *   file     = "CORALAY2" chunk*
 *   chunk    = u32 (little-endian) bytes of the frame; a zstd frame of at most 256 KiB of records
 *   record   = u8 kind, then by kind
 *     1 raw      n, n bytes                 bytes of the tar as they are: headers, padding, end
 *     2 content  path, map                  contents of `diff/PATH`
 *     3 apart    number, map                contents of `apart/NUMBER`: in the tar, not in the tree
 *     4 moved    number, count, path        `diff/PATH` as it was after `count` records of kind 2 and
 *                                           3 was replaced, and lies at `apart/NUMBER` now
 *     5 end      n, 32 bytes                bytes of the tar, its sha256 (the diffID); nothing follows
 *     6 object   group, number, map         contents of an object, of a layer whose tree is an image;
 *                                           the layer's own when the group is empty
 *   group    = n, n bytes
 *   path     = n, n bytes; without symlinks on the way, as the tree was then
 *   map      = s, s × (offset, bytes)       the parts of the file that the tar has, in order
 *   n, s, number, count, offset, bytes are unsigned LEB128 integers up to 2^53-1
 *
 * A record is never split over chunks; raw bytes are split into several records.
 */
const MAGIC = Buffer.from('CORALAY2');
const CHUNK_BYTES = 256 << 10;
const RAW_BYTES_MAX = 64 << 10;
const FRAME_BYTES_MAX = 1 << 20;
const KIND = { raw: 1, content: 2, apart: 3, moved: 4, end: 5, object: 6 } as const;
/** As layers' folders are called; nothing for the layer's own. */
const OBJECT_GROUP = /^(?:[a-z2-7]{8})?$/;
/** A map of more segments than this is written as several records. */
const SEGMENTS_PER_RECORD = 4096;

/** How many records describe a content with so many segments. */
export function recordsOfContent(segments: number): number {
  return Math.ceil(segments / SEGMENTS_PER_RECORD);
}

/** Where a stretch of a tar's content lies now. */
export type ContentPlace =
  | { readonly kind: 'content'; readonly path: ByteString }
  | { readonly kind: 'apart'; readonly number: number }
  | { readonly kind: 'object'; readonly group: string; readonly number: number };

export type LayerRecord =
  | { readonly kind: 'raw'; readonly bytes: Buffer }
  | {
      readonly kind: 'contents';
      readonly place: ContentPlace;
      readonly segments: readonly Segment[];
    }
  | {
      readonly kind: 'moved';
      readonly number: number;
      readonly count: number;
      readonly path: ByteString;
    }
  | { readonly kind: 'end'; readonly tarBytes: number; readonly sha256: Buffer };

/** Writes records; finished chunks go to `write`, which must have taken them when it returns. */
export class LayerHeadersWriter {
  readonly #write: (bytes: Uint8Array) => void;
  readonly #chunk = Buffer.allocUnsafe(CHUNK_BYTES);
  #at = 0;
  #raw = Buffer.allocUnsafe(RAW_BYTES_MAX);
  #rawBytes = 0;
  #contents = 0;
  #tarBytes = 0;

  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
    write(MAGIC);
  }

  /** Bytes of the tar that the records so far stand for. */
  get tarBytes(): number {
    return this.#tarBytes;
  }

  /** Records of contents so far. */
  get contents(): number {
    return this.#contents;
  }

  raw(bytes: Buffer): void {
    this.#tarBytes += bytes.length;
    let at = 0;
    while (at < bytes.length) {
      if (this.#rawBytes === RAW_BYTES_MAX) this.#flushRaw();
      const taken = Math.min(bytes.length - at, RAW_BYTES_MAX - this.#rawBytes);
      bytes.copy(this.#raw, this.#rawBytes, at, at + taken);
      this.#rawBytes += taken;
      at += taken;
    }
  }

  contentsOf(place: ContentPlace, segments: readonly Segment[]): void {
    for (let i = 0; i < segments.length; i += SEGMENTS_PER_RECORD) {
      this.#contentsRecord(place, segments.slice(i, i + SEGMENTS_PER_RECORD));
    }
  }

  #contentsRecord(place: ContentPlace, segments: readonly Segment[]): void {
    const pathBytes = place.kind === 'content' ? place.path.length : 0;
    this.#begin(32 + pathBytes + segments.length * 16);
    this.#contents += 1;
    this.#place(place);
    this.#integer(segments.length);
    for (const { offset, bytes } of segments) {
      this.#tarBytes += bytes;
      this.#integer(offset);
      this.#integer(bytes);
    }
  }

  #place(place: ContentPlace): void {
    if (place.kind === 'content') {
      this.#byte(KIND.content);
      this.#path(place.path);
      return;
    }
    this.#byte(KIND[place.kind]);
    if (place.kind === 'object') this.#path(place.group as ByteString);
    this.#integer(place.number);
  }

  /** Says that what was at `path` until now lies at `apart/NUMBER`. */
  moved(number: number, path: ByteString): void {
    this.#begin(32 + path.length);
    this.#byte(KIND.moved);
    this.#integer(number);
    this.#integer(this.#contents);
    this.#path(path);
  }

  /** Hands all records so far on to be written. */
  flush(): void {
    this.#begin(0);
    this.#flush();
  }

  /** Writes what is left; the writer is done. */
  end(tarBytes: number, sha256: Uint8Array): void {
    this.#begin(64);
    this.#byte(KIND.end);
    this.#integer(tarBytes);
    this.#at += asBuffer(sha256).copy(this.#chunk, this.#at);
    this.#flush();
  }

  /** Raw bytes before this record, and room for it. */
  #begin(bytes: number): void {
    this.#flushRaw();
    this.#room(bytes);
  }

  #room(bytes: number): void {
    if (this.#at + bytes > CHUNK_BYTES) this.#flush();
  }

  #flushRaw(): void {
    const bytes = this.#rawBytes;
    if (bytes === 0) return;
    this.#rawBytes = 0;
    this.#room(bytes + 16);
    this.#byte(KIND.raw);
    this.#integer(bytes);
    this.#raw.copy(this.#chunk, this.#at, 0, bytes);
    this.#at += bytes;
  }

  #flush(): void {
    if (this.#at === 0) return;
    const frame = zstdCompressSync(this.#chunk.subarray(0, this.#at));
    this.#at = 0;
    const length = Buffer.alloc(4);
    length.writeUInt32LE(frame.length);
    this.#write(length);
    this.#write(frame);
  }

  #byte(value: number): void {
    this.#chunk[this.#at] = value;
    this.#at += 1;
  }

  #integer(value: number): void {
    let rest = value;
    while (rest >= 128) {
      this.#byte((rest % 128) | 128);
      rest = Math.floor(rest / 128);
    }
    this.#byte(rest);
  }

  #path(path: ByteString): void {
    this.#integer(path.length);
    this.#at += toBytes(path).copy(this.#chunk, this.#at);
  }
}

function damaged(why: string): Error {
  return dataLoss(`cannot read the headers of a layer: ${why}`);
}

/**
 * The records of a `headers` file, in order. `read` gives the next `n` bytes of it, or fewer at its
 * end. Bytes of raw records are only valid until the next record is asked for.
 * @throws dataLoss when the file is damaged
 */
export function* readLayerHeaders(read: (n: number) => Buffer): Generator<LayerRecord> {
  for (const frame of readHeadersFrames(read)) {
    const unpacked = unpackFrame(frame);
    for (const record of recordsOfFrame(unpacked)) {
      yield record;
      if (record.kind === 'end') return;
    }
    // Free at once, and not when garbage is collected.
    unpacked.buffer.transfer(0);
  }
  throw damaged('it is cut off');
}

/**
 * The frames of a `headers` file, for who wants to come back to one.
 * @throws dataLoss when the file is damaged
 */
export function* readHeadersFrames(read: (n: number) => Buffer): Generator<Buffer> {
  if (!read(MAGIC.length).equals(MAGIC)) throw damaged('it is not such a file');
  for (;;) {
    const length = read(4);
    if (length.length === 0) return;
    if (length.length < 4) throw damaged('it is cut off');
    const frameBytes = length.readUInt32LE();
    if (frameBytes > FRAME_BYTES_MAX) throw damaged('a frame is too large');
    const frame = Buffer.from(read(frameBytes));
    if (frame.length < frameBytes) throw damaged('it is cut off');
    yield frame;
  }
}

/**
 * The records of one frame, which {@link unpackFrame} has unpacked. Raw bytes are views of it.
 * @throws dataLoss when it is damaged
 */
export function* recordsOfFrame(unpacked: Buffer): Generator<LayerRecord> {
  const cursor = new Cursor(unpacked);
  while (!cursor.isDone) yield cursor.record();
}

/** A frame's records as bytes. @throws dataLoss when it is damaged */
export function unpackFrame(frame: Buffer): Buffer<ArrayBuffer> {
  try {
    // In one buffer of its own, not in pieces that are joined.
    const how = { maxOutputLength: CHUNK_BYTES, chunkSize: CHUNK_BYTES };
    return zstdDecompressSync(frame, how);
  } catch (cause) {
    throw dataLoss('cannot read the headers of a layer: a frame does not unpack', { cause });
  }
}

class Cursor {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  get isDone(): boolean {
    return this.#at >= this.#bytes.length;
  }

  record(): LayerRecord {
    const kind = this.#byte();
    switch (kind) {
      case KIND.raw:
        return { kind: 'raw', bytes: this.#take(this.#integer()) };
      case KIND.content:
        return this.#contents({ kind: 'content', path: this.#path() });
      case KIND.apart:
        return this.#contents({ kind: 'apart', number: this.#integer() });
      case KIND.object: {
        const group = this.#path();
        if (!OBJECT_GROUP.test(group)) throw damaged('a group of objects');
        return this.#contents({ kind: 'object', group, number: this.#integer() });
      }
      case KIND.moved: {
        const number = this.#integer();
        const count = this.#integer();
        return { kind: 'moved', number, count, path: this.#path() };
      }
      case KIND.end: {
        const tarBytes = this.#integer();
        return { kind: 'end', tarBytes, sha256: this.#take(32) };
      }
      default:
        throw damaged(`a record of kind ${kind}`);
    }
  }

  #contents(place: ContentPlace): LayerRecord {
    const count = this.#integer();
    if (count > SEGMENTS_PER_RECORD) throw damaged('a map is too long');
    const segments: Segment[] = [];
    for (let i = 0; i < count; i += 1) {
      const offset = this.#integer();
      segments.push({ offset, bytes: this.#integer() });
    }
    return { kind: 'contents', place, segments };
  }

  #take(bytes: number): Buffer {
    const end = this.#at + bytes;
    if (end > this.#bytes.length) throw damaged('a record is cut off');
    const taken = this.#bytes.subarray(this.#at, end);
    this.#at = end;
    return taken;
  }

  /** Without a view for it: there are a dozen in each record. */
  #byte(): number {
    const byte = this.#bytes[this.#at];
    if (byte === undefined) throw damaged('a record is cut off');
    this.#at += 1;
    return byte;
  }

  #integer(): number {
    let value = 0;
    for (let scale = 1; ; scale *= 128) {
      const byte = this.#byte();
      value += (byte & 127) * scale;
      if (!Number.isSafeInteger(value)) throw damaged('a number is too large');
      if (byte < 128) return value;
    }
  }

  #path(): ByteString {
    return byteString(this.#take(this.#integer()));
  }
}
