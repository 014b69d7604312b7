import { crc32, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { dataLoss } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type ByteString, toBytes } from './byte-string.ts';

/**
 * Which contents a layer has, and where they lie: the file `contents` beside the layer's files. By
 * it a later layer finds out that a content is here already, and the collector that an object of a
 * removed layer is still needed.
 *
 *   file     = "CORACNT1" u32 (bytes of the body) zstd frame of the body
 *   body     = u16 groups, groups × 8 ASCII characters, count × record
 *   record   = 24 bytes:
 *      0 u32 sum      CRC-32 of the first HEAD_BYTES bytes of the content (all of it, if shorter)
 *      4 u32 place    CRC-32 of the path in the layer
 *      8 u32 number   name of the object in its group in `objects/`
 *     12 u16 group    0: the layer's own group, which is named as its folder; else 1 + index above
 *     14 u16 flags    1: the layer has hard links to this file
 *     16 f64 bytes    of the content
 *
 * All integers are little-endian. Sums only propose: whoever shares a content compares its bytes.
 */
const MAGIC = Buffer.from('CORACNT1');
const RECORD_BYTES = 24;
/**
 * Characters of a group's name, which is its layer's folder's: so few that 127 of them fit one page
 * of mount data.
 */
export const GROUP_CHARS = 8;
/** As `newShortName` makes them. */
const GROUP = /^[a-z2-7]{8}$/;
const FLAG_LINKED = 1;

/** The part of a content that its sum is taken of; longer ones differ here or are compared. */
export const HEAD_BYTES = 128 << 10;

/** One content. `group` is '' for the layer's own. */
export type ContentRecord = {
  readonly sum: number;
  readonly place: number;
  readonly group: string;
  readonly number: number;
  readonly isLinked: boolean;
  readonly bytes: number;
};

/** The sum of a content's first {@link HEAD_BYTES} bytes. */
export function headSum(head: Uint8Array): number {
  return crc32(head);
}

/** The sum of a clean path. */
export function placeSum(path: ByteString): number {
  return crc32(toBytes(path));
}

/** Collects a layer's contents. */
export class LayerContentsWriter {
  readonly #groups = new Map<string, number>();
  /** Sums of the paths that hard links lead to. */
  readonly #linked = new Set<number>();
  #records = Buffer.alloc(64 * RECORD_BYTES);
  #count = 0;

  /** False when no more contents can be noted: then none may be shared either. */
  get hasRoom(): boolean {
    return this.#count < LIMITS.layerContentsMax && this.#groups.size < 0xffff;
  }

  get count(): number {
    return this.#count;
  }

  add(record: Omit<ContentRecord, 'isLinked'>): void {
    if ((this.#count + 1) * RECORD_BYTES > this.#records.length) {
      this.#records = Buffer.concat([this.#records, Buffer.alloc(this.#records.length)]);
    }
    const at = this.#count * RECORD_BYTES;
    this.#count += 1;
    this.#records.writeUInt32LE(record.sum, at);
    this.#records.writeUInt32LE(record.place, at + 4);
    this.#records.writeUInt32LE(record.number, at + 8);
    this.#records.writeUInt16LE(this.#groupIndex(record.group), at + 12);
    this.#records.writeDoubleLE(record.bytes, at + 16);
  }

  #groupIndex(group: string): number {
    if (group === '') return 0;
    const known = this.#groups.get(group);
    if (known !== undefined) return known;
    this.#groups.set(group, this.#groups.size + 1);
    return this.#groups.size;
  }

  /** A hard link leads to the file at a clean path. */
  linked(path: ByteString): void {
    if (this.#linked.size < LIMITS.layerContentsMax) this.#linked.add(placeSum(path));
  }

  /** The file's bytes. */
  encode(): Buffer {
    for (let at = 0; at < this.#count * RECORD_BYTES; at += RECORD_BYTES) {
      const isLinked = this.#linked.has(this.#records.readUInt32LE(at + 4));
      this.#records.writeUInt16LE(isLinked ? FLAG_LINKED : 0, at + 14);
    }
    const names = Buffer.from([...this.#groups.keys()].join(''), 'latin1');
    const body = Buffer.concat([
      Buffer.from(Uint16Array.of(this.#groups.size).buffer),
      names,
      this.#records.subarray(0, this.#count * RECORD_BYTES),
    ]);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(body.length);
    return Buffer.concat([MAGIC, length, zstdCompressSync(body)]);
  }
}

/** A layer's contents, read where they lie. */
export type LayerContents = {
  readonly count: number;
  /** Groups of other layers that it uses. */
  readonly groups: readonly string[];
  readonly at: (index: number) => ContentRecord;
};

/** @throws dataLoss when the file is damaged */
export function decodeLayerContents(file: Buffer): LayerContents {
  if (file.length < MAGIC.length + 4 || !file.subarray(0, MAGIC.length).equals(MAGIC)) {
    throw damaged('it is not such a file');
  }
  const bodyBytes = file.readUInt32LE(MAGIC.length);
  const body = decompressed(file.subarray(MAGIC.length + 4), bodyBytes);
  const groupCount = body.length < 2 ? 0 : body.readUInt16LE(0);
  const recordsAt = 2 + groupCount * GROUP_CHARS;
  const recordBytes = body.length - recordsAt;
  if (body.length !== bodyBytes || recordBytes < 0 || recordBytes % RECORD_BYTES !== 0) {
    throw damaged('it is cut off');
  }
  const names = body.toString('latin1', 2, recordsAt);
  const groups = Array.from({ length: groupCount }, (_, i) =>
    names.slice(i * GROUP_CHARS, (i + 1) * GROUP_CHARS),
  );
  if (!groups.every((group) => GROUP.test(group))) throw damaged('a name of a group');
  const count = recordBytes / RECORD_BYTES;
  return {
    count,
    groups,
    at: (index) => {
      const at = recordsAt + index * RECORD_BYTES;
      const group = body.readUInt16LE(at + 12);
      return {
        sum: body.readUInt32LE(at),
        place: body.readUInt32LE(at + 4),
        number: body.readUInt32LE(at + 8),
        group: group === 0 ? '' : groupNamed(groups, group),
        isLinked: (body.readUInt16LE(at + 14) & FLAG_LINKED) !== 0,
        bytes: body.readDoubleLE(at + 16),
      };
    },
  };
}

function groupNamed(groups: readonly string[], index: number): string {
  const name = groups[index - 1];
  if (name === undefined) throw damaged('a group without a name');
  return name;
}

function decompressed(frame: Buffer, bytes: number): Buffer {
  const bytesMax = 2 + 0xffff * GROUP_CHARS + LIMITS.layerContentsMax * RECORD_BYTES;
  if (bytes > bytesMax) throw damaged('it is too large');
  try {
    return zstdDecompressSync(frame, { maxOutputLength: Math.max(bytes, 1) });
  } catch (cause) {
    throw dataLoss('cannot read the contents of a layer: it does not unpack', { cause });
  }
}

function damaged(why: string): Error {
  return dataLoss(`cannot read the contents of a layer: ${why}`);
}
