import { dataLoss } from '../../base/errors.ts';
import { checkAddHead, decodeAddBlock, type ReadOld } from './add-codec.ts';
import {
  decodeHead,
  HEAD_COLUMNS,
  HEADER_BYTES,
  type HeadReaders,
  NO_HEAD,
  paddingBytes,
} from './head-codec.ts';
import { ReferenceOrder } from './order.ts';
import { ReusedBuffer } from './reused-buffer.ts';
import { ByteReader } from './varint.ts';

/**
 * A stretch of a layer's tar as a delta against the entries of a base image: what is inside one
 * compressed frame of a part. A layer is its stretches one after the other, and none knows what came
 * before it. Integers are LEB128 (`varint.ts`).
 *
 *   stretch     group…, then u 0, then u bytes and the bytes of the archive behind the last entry
 *               of the layer
 *   group       u entries (1 … {@link GROUP_ENTRIES_MAX}), u length of each column, the columns,
 *               then the contents that are not in the base, in the order of the entries
 *
 *   references  for each entry u 0: coded against the entry before; or u distance + 1 in the
 *               order of the base's entries (`order.ts`)
 *   contents    for each entry u: 0 none · 1 that of the reference · 2 that of another entry ·
 *               3 corrections to the reference's · 4 corrections to another entry's · 5 literal
 *   sources     for each 2 and 4: u index of the base's entry
 *   lengths     for each 5: u bytes
 *   masks, times, sizes, names, others, extensions     heads (`head-codec.ts`)
 *
 * Content of kind 3 and 4 is blocks (`add-codec.ts`), of kind 5 plain bytes. Padding between
 * content and the next head is not coded: it is zeros, and an archive in which it is not, cannot
 * be coded this way.
 */
export const CONTENT = { none: 0, same: 1, copy: 2, addSame: 3, addOther: 4, literal: 5 } as const;
export const GROUP_ENTRIES_MAX = 2048;
/** The columns of a group together; a writer closes a group at half of it. */
export const COLUMNS_BYTES_MAX = 8 << 20;
export const COLUMNS = ['references', 'contents', 'sources', 'lengths', ...HEAD_COLUMNS] as const;
export type Columns<T> = Readonly<Record<(typeof COLUMNS)[number], T>>;

/** Literal content is asked for and handed on in pieces of at most this. */
const PIECE_BYTES = 64 << 10;
/** What may follow the last entry: the zero blocks that fill up a record, and then some. */
export const TRAILER_BYTES_MAX = 1 << 20;
/** Bytes of the longest integer. */
const INTEGER_BYTES = 8;

/** The entries of the base that a decoder refers to. */
export type BaseEntries = {
  readonly count: number;
  /** The head of an entry, without padding; valid until the next is asked for. */
  readonly head: (index: number) => Uint8Array;
  /** Bytes of its content; undefined when it has none. */
  readonly contentBytes: (index: number) => number | undefined;
  /** Fills `into` from the entry's content; false when that goes beyond its end. */
  readonly read: (index: number, into: Uint8Array, position: number) => boolean;
};

/** What a decoder hands on, in the order of the archive. Bytes hold only during the call. */
export type LayerSink = {
  /** Bytes that are no content: padding and head of the next entry, and at last the trailer. */
  readonly raw: (bytes: Uint8Array) => void;
  /** The next content is the whole of a base entry's. */
  readonly copy: (index: number) => void;
  readonly content: (bytes: Uint8Array) => void;
};

/**
 * Decodes a stretch. A coroutine without I/O: it yields how many bytes it needs next and is resumed
 * with exactly these, so memory is bounded by a group's columns and one block. After a copy it
 * yields 0, so that who drives it can carry the copy out at its own pace.
 * @throws dataLoss
 */
export function* decodeLayer(
  base: BaseEntries,
  sink: LayerSink,
): Generator<number, void, Uint8Array> {
  const order = new ReferenceOrder(base.count);
  const block = new ReusedBuffer();
  const heads = [new ReusedBuffer(), new ReusedBuffer()] as const;
  /** The buffer that the entry before is not in. */
  let turn: 0 | 1 = 0;
  let previous = NO_HEAD;
  let padding = 0;
  for (;;) {
    const entries = yield* readUnsigned();
    if (entries === 0) break;
    if (entries > GROUP_ENTRIES_MAX) throw dataLoss('invalid delta: a group is too long');
    const columns = yield* readColumns();
    for (let i = 0; i < entries; i++) {
      const distance = columns.references.unsigned();
      const reference = distance === 0 ? -1 : order.entryAt(distance - 1);
      const like = reference < 0 ? previous : base.head(reference);
      const head = decodeHead(columns, like, previous, heads[turn]);
      if (padding > 0) sink.raw(ZEROS.subarray(0, padding));
      sink.raw(head);
      previous = head;
      turn = turn === 0 ? 1 : 0;
      padding = paddingBytes(yield* decodeContent({ base, sink, block }, columns, reference));
    }
    for (const name of COLUMNS) {
      if (!columns[name].atEnd) throw dataLoss(`invalid delta: column ${name} is too long`);
    }
  }
  if (padding > 0) sink.raw(ZEROS.subarray(0, padding));
  const trailer = yield* readUnsigned();
  if (trailer > TRAILER_BYTES_MAX) throw dataLoss('invalid delta: its trailer is too long');
  if (trailer > 0) sink.raw(yield trailer);
}

function* readUnsigned(): Generator<number, number, Uint8Array> {
  const bytes: number[] = [];
  for (;;) {
    const [byte = 0] = yield 1;
    bytes.push(byte);
    if (byte < 0x80 || bytes.length > INTEGER_BYTES) break;
  }
  return new ByteReader(Uint8Array.from(bytes)).unsigned();
}

function* readColumns(): Generator<number, Columns<ByteReader> & HeadReaders, Uint8Array> {
  const lengths: number[] = [];
  let total = 0;
  for (const name of COLUMNS) {
    const length = yield* readUnsigned();
    total += length;
    if (total > COLUMNS_BYTES_MAX) throw dataLoss(`invalid delta: column ${name} is too long`);
    lengths.push(length);
  }
  const columns: [string, ByteReader][] = [];
  for (const [i, name] of COLUMNS.entries()) {
    const length = lengths[i] ?? 0;
    // Kept beyond the next yield, so it must be a copy.
    columns.push([name, new ByteReader(length === 0 ? NOTHING : Uint8Array.from(yield length))]);
  }
  return Object.fromEntries(columns) as Columns<ByteReader>;
}

const NOTHING = new Uint8Array();
const ZEROS = new Uint8Array(HEADER_BYTES);

type Parties = {
  readonly base: BaseEntries;
  readonly sink: LayerSink;
  readonly block: ReusedBuffer;
};

/** Decodes an entry's content; returns its length. */
function* decodeContent(
  { base, sink, block }: Parties,
  columns: Columns<ByteReader>,
  reference: number,
): Generator<number, number, Uint8Array> {
  const kind = columns.contents.unsigned();
  switch (kind) {
    case CONTENT.none:
      return 0;
    case CONTENT.same:
    case CONTENT.copy: {
      const index = kind === CONTENT.same ? reference : columns.sources.unsigned();
      const bytes = sourceBytes(base, index);
      sink.copy(index);
      yield 0;
      return bytes;
    }
    case CONTENT.addSame:
    case CONTENT.addOther: {
      const index = kind === CONTENT.addSame ? reference : columns.sources.unsigned();
      sourceBytes(base, index);
      const read: ReadOld = (into, position) => base.read(index, into, position);
      return yield* decodeAdd(read, sink, block);
    }
    case CONTENT.literal: {
      const bytes = columns.lengths.unsigned();
      for (let left = bytes; left > 0; ) {
        const piece = Math.min(left, PIECE_BYTES);
        sink.content(yield piece);
        left -= piece;
      }
      return bytes;
    }
    default:
      throw dataLoss(`invalid delta: unknown kind of content ${kind}`);
  }
}

function sourceBytes(base: BaseEntries, index: number): number {
  const bytes = index < 0 || index >= base.count ? undefined : base.contentBytes(index);
  if (bytes === undefined) throw dataLoss('invalid delta: it refers to content that is not there');
  return bytes;
}

function* decodeAdd(
  readOld: ReadOld,
  sink: LayerSink,
  block: ReusedBuffer,
): Generator<number, number, Uint8Array> {
  let total = 0;
  let oldAt = 0;
  for (;;) {
    const outputBytes = yield* readUnsigned();
    if (outputBytes === 0) return total;
    const columns: number[] = [];
    for (let i = 0; i < 4; i++) columns.push(yield* readUnsigned());
    const head = checkAddHead({ outputBytes, columns });
    const length = head.columns.reduce((sum, bytes) => sum + bytes, 0);
    const out = block.take(outputBytes);
    oldAt = decodeAddBlock(head, length === 0 ? NOTHING : yield length, out, oldAt, readOld);
    sink.content(out);
    total += outputBytes;
  }
}
