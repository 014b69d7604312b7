import { type ByteString, byteString, toBytes } from '../byte-string.ts';
import { cleanLayerPath } from '../layer-path.ts';
import { TarReader } from '../tar-reader.ts';
import { EXTENSION_BYTES_MAX, HEADER_BYTES, paddingBytes } from './head-codec.ts';
import { TRAILER_BYTES_MAX } from './layer-codec.ts';
import { ReusedBuffer } from './reused-buffer.ts';
import { ByteReader, ByteWriter } from './varint.ts';

/**
 * The entries of one or several tars, kept small: a head is mostly zeros, of which only the number
 * is kept, and a path is bytes: an entry takes about 200 bytes whatever its content is.
 *
 *   head = (u bytes, bytes, u zeros)*
 */
export class EntryTable {
  readonly #heads = new ByteWriter();
  readonly #headAt: number[] = [];
  readonly #headBytes: number[] = [];
  readonly #contentBytes: number[] = [];
  readonly #paths = new ByteWriter();
  readonly #pathEnd: number[] = [];
  readonly #head = new ReusedBuffer();

  get count(): number {
    return this.#pathEnd.length;
  }

  /** `contentBytes` is 0 for an entry without content. */
  add(path: ByteString, head: Uint8Array, contentBytes: number): void {
    this.#headAt.push(this.#heads.length);
    this.#headBytes.push(head.length);
    packZeros(this.#heads, head);
    this.#contentBytes.push(contentBytes);
    this.#paths.bytes(toBytes(path));
    this.#pathEnd.push(this.#paths.length);
  }

  /** No more are added for now: what was kept ready for them is given back. */
  trim(): void {
    this.#heads.trim();
    this.#paths.trim();
  }

  /** The clean path in its layer. */
  path(index: number): ByteString {
    const end = this.#pathEnd[index] ?? missing(index);
    return byteString(this.#paths.view(), this.#pathEnd[index - 1] ?? 0, end);
  }

  head(index: number): Uint8Array {
    return this.headView(index).slice();
  }

  /** The same; valid until the next call. */
  headView(index: number): Uint8Array {
    const at = this.#headAt[index] ?? missing(index);
    const head = this.#head.take(this.headBytes(index)).fill(0);
    unpackZeros(this.#heads.view().subarray(at), head);
    return head;
  }

  headBytes(index: number): number {
    return this.#headBytes[index] ?? missing(index);
  }

  contentBytes(index: number): number {
    return this.#contentBytes[index] ?? missing(index);
  }
}

function missing(index: number): never {
  throw new Error(`assertion failed: no entry ${index}`);
}

/** Shorter runs of zeros cost more to note than to keep. */
const ZEROS_MIN = 4;

function packZeros(out: ByteWriter, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; ) {
    let end = at;
    let zeros = 0;
    while (end + zeros < bytes.length && zeros < ZEROS_MIN) {
      if (bytes[end + zeros] === 0) zeros += 1;
      else {
        end += zeros + 1;
        zeros = 0;
      }
    }
    while (end + zeros < bytes.length && bytes[end + zeros] === 0) zeros += 1;
    out.unsigned(end - at);
    out.bytes(bytes.subarray(at, end));
    out.unsigned(zeros);
    at = end + zeros;
  }
}

function unpackZeros(packed: Uint8Array, out: Uint8Array): void {
  const from = new ByteReader(packed);
  for (let at = 0; at < out.length; ) {
    const bytes = from.take(from.unsigned());
    out.set(bytes, at);
    at += bytes.length + from.unsigned();
  }
}

/** The entries of one tar within a table of several. */
export type TarSpan = {
  readonly first: number;
  readonly count: number;
  /** The bytes of the tar behind its last entry. */
  readonly trailer: Uint8Array;
  /** False when the tar can only be coded as a whole: there are bytes where zeros should be. */
  readonly isRegular: boolean;
};

/** Content that is skipped is handed to the parser as so many zeros. */
const ZEROS = Buffer.alloc(64 << 10);

/** Reads a tar into an {@link EntryTable}, with or without its contents. */
export class TarScan {
  readonly #table: EntryTable;
  readonly #tar: TarReader;
  readonly #raw = new ByteWriter();
  #padding = 0;
  #contentBytes = 0;
  #isRegular = true;
  readonly #first: number;
  /** Of the last entry so far. */
  path = '' as ByteString;

  constructor(table: EntryTable) {
    this.#table = table;
    this.#first = table.count;
    this.#tar = new TarReader({
      raw: (bytes) => this.#raw.bytes(bytes),
      entry: (entry) => {
        const head = this.#takeRaw();
        if (head.length - HEADER_BYTES > EXTENSION_BYTES_MAX) this.#isRegular = false;
        this.#contentBytes = entry.storedBytes;
        this.path = cleanLayerPath(entry.path);
        this.#table.add(this.path, head, entry.storedBytes);
      },
      content: () => undefined,
      entryEnd: () => {
        this.#padding = paddingBytes(this.#contentBytes);
      },
    });
  }

  /** Bytes since the last content, without the padding that belongs to it; valid until more come. */
  #takeRaw(): Uint8Array {
    const raw = this.#raw.view();
    this.#raw.clear();
    const padding = Math.min(this.#padding, raw.length);
    if (padding < this.#padding) this.#isRegular = false;
    for (let i = 0; i < padding; i++) if (raw[i] !== 0) this.#isRegular = false;
    return raw.subarray(padding);
  }

  /** @throws invalidArgument for what is not tar */
  push(bytes: Uint8Array): void {
    this.#tar.push(bytes);
  }

  /** Says that so many bytes of content come next, and what they are does not matter here. */
  skip(bytes: number): void {
    for (let left = bytes; left > 0; left -= ZEROS.length) {
      this.#tar.push(left < ZEROS.length ? ZEROS.subarray(0, left) : ZEROS);
    }
  }

  /** The tar has no more bytes. */
  end(): TarSpan {
    this.#tar.end();
    const trailer = this.#takeRaw().slice();
    const isRegular = this.#isRegular && trailer.length <= TRAILER_BYTES_MAX;
    return { first: this.#first, count: this.#table.count - this.#first, trailer, isRegular };
  }
}
