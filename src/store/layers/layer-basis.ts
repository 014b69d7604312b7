import { readSync } from 'node:fs';
import type { DiffId } from '../../base/digest.ts';
import { dataLoss, messageOf } from '../../base/errors.ts';
import { Lru } from '../../base/lru.ts';
import {
  type ContentPlace,
  readHeadersFrames,
  recordsOfFrame,
  unpackFrame,
} from '../../formats/layer-headers.ts';
import { collectGarbage } from '../../kernel/collect-garbage.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { LayerFiles } from './layer-tar.ts';

/** A layer of a basis. */
export type BasisLayer = {
  readonly diffId: DiffId;
  /** Absolute; holds `diff/`, `headers` and perhaps `apart/`. */
  readonly directory: string;
};

type OpenLayer = {
  readonly diffId: DiffId;
  readonly files: LayerFiles;
  readonly headers: ReturnType<LayerFiles['headers']>;
};

/** A frame of some layer's headers, and what has to be known to read it alone. */
type Frame = {
  readonly layer: OpenLayer;
  /** In the file `headers`. */
  readonly offset: number;
  readonly bytes: number;
  /** Where in the basis begins what it describes. */
  readonly start: number;
  /** Records of contents before it. */
  readonly contents: number;
};

/** The stretches of the basis that a frame describes, in order. */
type Stretches = {
  /** Where each begins in the basis, and the end of the last. */
  readonly starts: Float64Array;
  /** Where each begins in its file, or in the unpacked frame. */
  readonly offsets: Float64Array;
  /** The record of contents that each belongs to, counted in this frame; else RAW or ZEROS. */
  readonly contents: Int32Array;
  readonly places: readonly ContentPlace[];
};

/** Bytes of the frame itself. */
const RAW = -1;
/**
 * Zeros: the padding of a file. A delta copies the end of a file together with it, and should not
 * have to unpack a frame for that.
 */
const ZEROS = -2;
const ZERO_BYTES = Buffer.alloc(512);

const OUTPUT_BYTES = 256 << 10;
/** One unpacked frame is 256 KiB and describes some 400 files; more than this find no more of them. */
const UNPACKED_MAX = 2;
/** So many are unpacked before they are collected. */
const COLLECT_FRAMES = 16;
/** What is known of a frame takes 50 kB or so: a delta may jump about in 50,000 files. */
const STRETCHES_MAX = 128;
const FILES_MAX = 32;
/** The magic of a `headers` file, and the length before each frame. */
const HEAD_BYTES = 8;
const LENGTH_BYTES = 4;

/**
 * The exact tars of layers, one behind the other, bottom first, to be read at any place. They are
 * never made: what is not in the layers' files comes from their kept headers. Memory does not
 * depend on the size of either.
 *
 * What is read is not verified: who makes something of it verifies that.
 */
export class LayerBasis implements Disposable {
  /** Length of all tars. */
  readonly bytes: number;
  readonly #layers: OpenLayer[] = [];
  readonly #tars: { readonly diffId: DiffId; readonly at: number; readonly bytes: number }[] = [];
  readonly #frames: Frame[] = [];
  readonly #unpacked = new Lru<Frame, Buffer>(UNPACKED_MAX);
  readonly #stretches = new Lru<Frame, Stretches>(STRETCHES_MAX);
  readonly #open = new Lru<string, Disposable & { readonly fd: number }>(FILES_MAX, (file) =>
    file[Symbol.dispose](),
  );
  readonly #output = Buffer.allocUnsafeSlow(OUTPUT_BYTES);

  /** @throws dataLoss when the headers of a layer are damaged or files are missing */
  constructor(sys: Syscalls, layers: readonly BasisLayer[]) {
    let at = 0;
    try {
      for (const { diffId, directory } of layers) {
        const start = at;
        at = translated(diffId, () => this.#index(sys, diffId, directory, start));
        this.#tars.push({ diffId, at: start, bytes: at - start });
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    this.bytes = at;
  }

  /** Where the tar of a layer lies; undefined when the basis has no such layer. */
  find(diffId: DiffId): { readonly at: number; readonly bytes: number } | undefined {
    return this.#tars.find((each) => each.diffId === diffId);
  }

  /**
   * The bytes of a range, in order; each piece is valid until the next is asked for.
   * @throws dataLoss when a layer's files are not what they were
   */
  *read(at: number, bytes: number): Generator<Buffer> {
    if (at < 0 || bytes < 0 || at + bytes > this.bytes) throw new RangeError('beyond the basis');
    const end = at + bytes;
    const starts = { length: this.#frames.length, at: (i: number) => this.#frames[i]?.start ?? 0 };
    let next = at;
    for (let i = lastNotAfter(starts, next); next < end; i += 1) {
      const frame = this.#frames[i];
      if (frame === undefined) throw new RangeError('beyond the basis');
      const { diffId } = frame.layer;
      const stretches = translated(diffId, () => this.#stretchesOf(frame));
      const count = stretches.contents.length;
      const begins = { length: count, at: (j: number) => stretches.starts[j] ?? 0 };
      for (let j = lastNotAfter(begins, next); next < end && j < count; j += 1) {
        const until = Math.min(end, stretches.starts[j + 1] ?? 0);
        while (next < until) {
          const from = next;
          const piece = translated(diffId, () => this.#piece(frame, stretches, j, from, until));
          next += piece.length;
          yield piece;
        }
      }
    }
  }

  #piece(frame: Frame, stretches: Stretches, j: number, from: number, until: number): Buffer {
    const offset = (stretches.offsets[j] ?? 0) + from - (stretches.starts[j] ?? 0);
    const bytes = until - from;
    const content = stretches.contents[j] ?? RAW;
    if (content === ZEROS) return ZERO_BYTES.subarray(0, bytes);
    if (content === RAW) return this.#unpackedOf(frame).subarray(offset, offset + bytes);
    const place = stretches.places[content];
    if (place === undefined) throw new Error('assertion failed: contents have a place');
    const { files, diffId } = frame.layer;
    const number = frame.contents + content;
    const { fd } = this.#open.get(`${diffId} ${number}`, () => files.open(place, number));
    const read = readSync(fd, this.#output, 0, Math.min(bytes, OUTPUT_BYTES), offset);
    if (read === 0) throw dataLoss('a file is shorter than it was');
    return this.#output.subarray(0, read);
  }

  /** Goes through a layer's headers once. @returns where the basis ends now */
  #index(sys: Syscalls, diffId: DiffId, directory: string, start: number): number {
    const files = new LayerFiles(sys, directory);
    let headers: OpenLayer['headers'];
    try {
      headers = files.headers();
    } catch (error) {
      files[Symbol.dispose]();
      throw error;
    }
    const layer = { diffId, files, headers };
    this.#layers.push(layer);
    let at = start;
    let contents = 0;
    let offset = HEAD_BYTES;
    let tarBytes: number | undefined;
    for (const packed of readHeadersFrames(headers.read)) {
      offset += LENGTH_BYTES;
      const frame = { layer, offset, bytes: packed.length, start: at, contents };
      offset += packed.length;
      for (const record of recordsOfFrame(unpackFrame(packed))) {
        if (record.kind === 'end') tarBytes = record.tarBytes;
        if (record.kind === 'raw') at += record.bytes.length;
        if (record.kind !== 'contents') continue;
        contents += 1;
        for (const { bytes } of record.segments) at += bytes;
      }
      if (at > frame.start) this.#frames.push(frame);
      if (this.#frames.length % COLLECT_FRAMES === 0) collectGarbage();
    }
    if (tarBytes !== at - start) throw dataLoss('its headers do not add up to its tar');
    return at;
  }

  #unpackedOf(frame: Frame): Buffer {
    return this.#unpacked.get(frame, () => {
      const packed = Buffer.allocUnsafe(frame.bytes);
      for (let at = 0; at < packed.length; ) {
        const { fd } = frame.layer.headers;
        const read = readSync(fd, packed, at, packed.length - at, frame.offset + at);
        if (read === 0) throw dataLoss('its headers are cut off');
        at += read;
      }
      return unpackFrame(packed);
    });
  }

  #stretchesOf(frame: Frame): Stretches {
    return this.#stretches.get(frame, () => describe(this.#unpackedOf(frame), frame.start));
  }

  [Symbol.dispose](): void {
    this.#open.clear();
    for (const { files, headers } of this.#layers.splice(0)) {
      headers[Symbol.dispose]();
      files[Symbol.dispose]();
    }
  }
}

function describe(unpacked: Buffer, start: number): Stretches {
  const starts: number[] = [];
  const offsets: number[] = [];
  const contents: number[] = [];
  const places: ContentPlace[] = [];
  let at = start;
  const add = (bytes: number, offset: number, content: number): void => {
    if (bytes === 0) return;
    starts.push(at);
    offsets.push(offset);
    contents.push(content);
    at += bytes;
  };
  for (const record of recordsOfFrame(unpacked)) {
    if (record.kind === 'raw') {
      const { length, byteOffset } = record.bytes;
      const zeros = leadingZeros(record.bytes);
      add(zeros, 0, ZEROS);
      add(length - zeros, byteOffset - unpacked.byteOffset + zeros, RAW);
    } else if (record.kind === 'contents') {
      for (const { bytes, offset } of record.segments) add(bytes, offset, places.length);
      places.push(record.place);
    }
  }
  starts.push(at);
  return {
    starts: Float64Array.from(starts),
    offsets: Float64Array.from(offsets),
    contents: Int32Array.from(contents),
    places,
  };
}

function leadingZeros(bytes: Buffer): number {
  const max = Math.min(bytes.length, ZERO_BYTES.length);
  let count = 0;
  while (count < max && bytes[count] === 0) count += 1;
  return count;
}

/** Index of the last one that does not begin after `at`; they are in order, the first begins before. */
function lastNotAfter(
  list: { readonly length: number; readonly at: (i: number) => number },
  at: number,
): number {
  let low = 0;
  let high = list.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if (list.at(middle) <= at) low = middle;
    else high = middle;
  }
  return low;
}

function translated<T>(diffId: DiffId, body: () => T): T {
  try {
    return body();
  } catch (cause) {
    throw dataLoss(`layer ${diffId} of the base is damaged: ${messageOf(cause)}`, { cause });
  }
}
