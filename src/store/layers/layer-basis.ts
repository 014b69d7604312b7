import { readSync } from 'node:fs';
import type { DiffId } from '../../base/digest.ts';
import { dataLoss, messageOf } from '../../base/errors.ts';
import {
  type ContentPlace,
  readHeadersFrames,
  recordsOfFrame,
} from '../../formats/layer-headers.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { LayerFiles } from './layer-tar.ts';

/** A layer of a basis. */
export type BasisLayer = {
  readonly diffId: DiffId;
  /** Absolute; holds `diff/`, `headers` and perhaps `apart/`. */
  readonly directory: string;
};

/** A stretch of a tar: bytes of its own, or of a file. */
type Stretch = {
  /** In the basis. */
  readonly at: number;
  readonly bytes: number;
  readonly raw: Buffer | undefined;
  readonly place: ContentPlace | undefined;
  /** Number of the record among the layer's contents. */
  readonly content: number;
  /** In the file. */
  readonly offset: number;
};

/** A frame of some layer's headers, and what has to be known to read it alone. */
type Frame = {
  readonly layer: OpenLayer;
  /** In the file `headers`. */
  readonly offset: number;
  readonly bytes: number;
  /** Of the basis, before it. */
  readonly at: number;
  /** Records of contents before it. */
  readonly contents: number;
};

type OpenLayer = {
  readonly diffId: DiffId;
  readonly files: LayerFiles;
  readonly headers: ReturnType<LayerFiles['headers']>;
};

const OUTPUT_BYTES = 256 << 10;
/** Frames that are kept unpacked: one is 256 KiB and describes some 400 files. */
const FRAMES_MAX = 8;
const FILES_MAX = 32;
/** The magic of a `headers` file, and the length before each frame. */
const HEAD_BYTES = 8;
const LENGTH_BYTES = 4;

/**
 * The exact tars of layers, one behind the other, bottom first, to be read at any place. They are
 * never made: what is not in the layers' files comes from their kept headers. Memory does not
 * depend on their size, but for 40 bytes for each 400 files or so.
 *
 * What is read is not verified: who makes something of it verifies that.
 */
export class LayerBasis implements Disposable {
  /** Length of all tars. */
  readonly bytes: number;
  readonly #layers: OpenLayer[] = [];
  readonly #starts: { readonly diffId: DiffId; readonly at: number; readonly bytes: number }[] = [];
  readonly #frames: Frame[] = [];
  /** The frames and files that were read last, the latest at the end. */
  readonly #stretches = new Map<Frame, readonly Stretch[]>();
  readonly #open = new Map<string, Disposable & { readonly fd: number }>();
  readonly #output = Buffer.allocUnsafeSlow(OUTPUT_BYTES);

  /** @throws dataLoss when the headers of a layer are damaged or files are missing */
  constructor(sys: Syscalls, layers: readonly BasisLayer[]) {
    let at = 0;
    try {
      for (const { diffId, directory } of layers) {
        const start = at;
        at = translated(diffId, () => this.#index(sys, diffId, directory, start));
        this.#starts.push({ diffId, at: start, bytes: at - start });
      }
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
    this.bytes = at;
  }

  /** Where the tar of a layer lies; undefined when the basis has no such layer. */
  find(diffId: DiffId): { readonly at: number; readonly bytes: number } | undefined {
    return this.#starts.find((each) => each.diffId === diffId);
  }

  /**
   * The bytes of a range, in order; each piece is valid until the next is asked for.
   * @throws dataLoss when a layer's files are not what they were
   */
  *read(at: number, bytes: number): Generator<Buffer> {
    if (at < 0 || bytes < 0 || at + bytes > this.bytes) throw new RangeError('beyond the basis');
    const end = at + bytes;
    let next = at;
    for (let i = lastNotAfter(this.#frames, next); next < end; i += 1) {
      const frame = this.#frames[i];
      if (frame === undefined) throw new RangeError('beyond the basis');
      const stretches = this.#unpacked(frame);
      for (let j = lastNotAfter(stretches, next); next < end && j < stretches.length; j += 1) {
        const stretch = stretches[j];
        if (stretch === undefined) break;
        const until = Math.min(end, stretch.at + stretch.bytes);
        while (next < until) {
          const piece = translated(frame.layer.diffId, () =>
            this.#piece(frame.layer, stretch, next - stretch.at, until - next),
          );
          next += piece.length;
          yield piece;
        }
      }
    }
  }

  #piece(layer: OpenLayer, stretch: Stretch, from: number, bytes: number): Buffer {
    if (stretch.raw !== undefined) return stretch.raw.subarray(from, from + bytes);
    const { fd } = this.#file(layer, stretch);
    const wanted = Math.min(bytes, OUTPUT_BYTES);
    const read = readSync(fd, this.#output, 0, wanted, stretch.offset + from);
    if (read === 0) throw dataLoss('a file is shorter than it was');
    return this.#output.subarray(0, read);
  }

  #file(layer: OpenLayer, { place, content }: Stretch): { readonly fd: number } {
    const key = `${layer.diffId} ${content}`;
    const known = this.#open.get(key);
    if (known !== undefined) {
      this.#open.delete(key);
      this.#open.set(key, known);
      return known;
    }
    if (place === undefined) throw new Error('assertion failed: a stretch has bytes or a place');
    if (this.#open.size >= FILES_MAX) {
      const [oldest] = this.#open;
      if (oldest !== undefined) {
        oldest[1][Symbol.dispose]();
        this.#open.delete(oldest[0]);
      }
    }
    const file = layer.files.open(place, content);
    this.#open.set(key, file);
    return file;
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
      const frame = { layer, offset, bytes: packed.length, at, contents };
      offset += packed.length;
      for (const record of recordsOfFrame(packed)) {
        if (record.kind === 'end') tarBytes = record.tarBytes;
        else if (record.kind === 'contents') contents += 1;
        if (record.kind === 'raw') at += record.bytes.length;
        if (record.kind === 'contents') for (const { bytes } of record.segments) at += bytes;
      }
      if (at > frame.at) this.#frames.push(frame);
    }
    if (tarBytes !== at - start) throw dataLoss('its headers do not add up to its tar');
    return at;
  }

  #unpacked(frame: Frame): readonly Stretch[] {
    const known = this.#stretches.get(frame);
    if (known !== undefined) {
      this.#stretches.delete(frame);
      this.#stretches.set(frame, known);
      return known;
    }
    if (this.#stretches.size >= FRAMES_MAX) {
      const [oldest] = this.#stretches.keys();
      if (oldest !== undefined) this.#stretches.delete(oldest);
    }
    const stretches = translated(frame.layer.diffId, () => stretchesOf(frame));
    this.#stretches.set(frame, stretches);
    return stretches;
  }

  [Symbol.dispose](): void {
    for (const file of this.#open.values()) file[Symbol.dispose]();
    this.#open.clear();
    for (const { files, headers } of this.#layers.splice(0)) {
      headers[Symbol.dispose]();
      files[Symbol.dispose]();
    }
  }
}

function stretchesOf({ layer, offset, bytes, at: start, contents }: Frame): Stretch[] {
  const packed = Buffer.allocUnsafe(bytes);
  for (let have = 0; have < bytes; ) {
    const read = readSync(layer.headers.fd, packed, have, bytes - have, offset + have);
    if (read === 0) throw dataLoss('its headers are cut off');
    have += read;
  }
  const stretches: Stretch[] = [];
  let at = start;
  let content = contents;
  const add = (stretch: Omit<Stretch, 'at'>): void => {
    if (stretch.bytes === 0) return;
    stretches.push({ at, ...stretch });
    at += stretch.bytes;
  };
  for (const record of recordsOfFrame(packed)) {
    if (record.kind === 'raw') {
      const { bytes: raw } = record;
      add({ bytes: raw.length, raw, place: undefined, content: 0, offset: 0 });
    } else if (record.kind === 'contents') {
      const { place } = record;
      for (const segment of record.segments) {
        add({ bytes: segment.bytes, raw: undefined, place, content, offset: segment.offset });
      }
      content += 1;
    }
  }
  return stretches;
}

/** Index of the last one that does not begin after `at`; they are in order, the first begins before. */
function lastNotAfter(list: readonly { readonly at: number }[], at: number): number {
  let low = 0;
  let high = list.length;
  while (high - low > 1) {
    const middle = (low + high) >> 1;
    if ((list[middle]?.at ?? 0) <= at) low = middle;
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
