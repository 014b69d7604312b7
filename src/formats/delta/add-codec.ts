import { assert, dataLoss } from '../../base/errors.ts';
import type { Instruction } from './match.ts';
import { ByteReader, ByteWriter } from './varint.ts';

/**
 * A file coded as corrections to an old one, in blocks of at most {@link BLOCK_BYTES_MAX} of
 * output, each decoded by itself with the old file at hand. A block is four columns, so that the
 * compressor behind sees like beside like:
 *
 *   block       u outputBytes (0 ends the file), u length of each of the columns, the columns
 *   control     for each instruction: u addBytes, u extraBytes, s seek
 *   gaps        for each corrected word: u bytes since the end of the one before that are right
 *   values      for each corrected word: s what to add to the old one, modulo 2 ** 32
 *   extra       inserted bytes
 *
 * u is an unsigned and s a zigzag LEB128 integer. A word is 4 bytes from the first wrong one on, at
 * any place, read as a little-endian integer; fewer where the added stretch ends. So an address
 * that moves by what others move by has their value, whichever of its bytes change, carry and all:
 * corrections of single bytes take a sixth more of a program. The reading position in the old file starts at 0
 * and goes on from block to block. A seek comes after its instruction's last byte; an instruction
 * that is cut by the end of a block goes on in the next one with seek 0.
 */
export const BLOCK_BYTES_MAX = 512 << 10;
/** What a writer puts into one: a reader has two of them in memory. */
const BLOCK_BYTES = 128 << 10;

const WORD_BYTES = 4;

/** Codes `target` by `instructions`; each yielded part is one block, the last one ends the file. */
export function* encodeAdd(
  old: Uint8Array,
  target: Uint8Array,
  instructions: Iterable<Instruction>,
): Generator<Uint8Array> {
  let block = new BlockWriter(old, target, 0, 0);
  for (const instruction of instructions) {
    let add = instruction.addBytes;
    let extra = instruction.extraBytes;
    for (;;) {
      const addNow = Math.min(add, block.room);
      const extraNow = Math.min(extra, block.room - addNow);
      add -= addNow;
      extra -= extraNow;
      const whole = add + extra === 0;
      block.put(addNow, extraNow, whole ? instruction.seek : 0);
      if (block.room === 0) {
        yield block.finish();
        block = new BlockWriter(old, target, block.newAt, block.oldAt);
      }
      if (whole) break;
    }
  }
  if (block.bytes > 0) yield block.finish();
  assert(block.newAt === target.length, 'the instructions make the whole target');
  yield Uint8Array.of(0);
}

class BlockWriter {
  readonly #old: Uint8Array;
  readonly #target: Uint8Array;
  readonly #control = new ByteWriter();
  readonly #gaps = new ByteWriter();
  readonly #values = new ByteWriter();
  readonly #extra = new ByteWriter();
  newAt: number;
  oldAt: number;
  bytes = 0;
  /** Added bytes since the last corrected word. */
  #gap = 0;

  constructor(old: Uint8Array, target: Uint8Array, newAt: number, oldAt: number) {
    this.#old = old;
    this.#target = target;
    this.newAt = newAt;
    this.oldAt = oldAt;
  }

  get room(): number {
    return BLOCK_BYTES - this.bytes;
  }

  put(addBytes: number, extraBytes: number, seek: number): void {
    this.#control.unsigned(addBytes);
    this.#control.unsigned(extraBytes);
    this.#control.signed(seek);
    this.#correct(addBytes);
    this.newAt += addBytes;
    this.#extra.bytes(this.#target.subarray(this.newAt, this.newAt + extraBytes));
    this.newAt += extraBytes;
    this.oldAt += addBytes + seek;
    this.bytes += addBytes + extraBytes;
  }

  /** What is wrong with the old bytes that the target's next ones are made of. */
  #correct(addBytes: number): void {
    const target = this.#target;
    const old = this.#old;
    const { newAt, oldAt } = this;
    for (let i = 0; i < addBytes; ) {
      if (target[newAt + i] === old[oldAt + i]) {
        this.#gap += 1;
        i += 1;
        continue;
      }
      const bytes = Math.min(WORD_BYTES, addBytes - i);
      const wrong = word(old, oldAt + i, bytes);
      this.#gaps.unsigned(this.#gap);
      this.#values.signed((word(target, newAt + i, bytes) - wrong) | 0);
      this.#gap = 0;
      i += bytes;
    }
  }

  finish(): Uint8Array {
    const out = new ByteWriter();
    const columns = [this.#control, this.#gaps, this.#values, this.#extra].map((c) => c.finish());
    out.unsigned(this.bytes);
    for (const column of columns) out.unsigned(column.length);
    for (const column of columns) out.bytes(column);
    return out.finish();
  }
}

/** A little-endian integer of 1 to {@link WORD_BYTES} bytes, modulo 2 ** 32 and signed. */
function word(from: Uint8Array, at: number, bytes: number): number {
  let value = 0;
  for (let i = 0; i < bytes; i++) value |= (from[at + i] as number) << (8 * i);
  return value;
}

function addToWord(bytes: Uint8Array, at: number, value: number): void {
  const length = Math.min(WORD_BYTES, bytes.length - at);
  const sum = word(bytes, at, length) + value;
  for (let i = 0; i < length; i++) bytes[at + i] = (sum >> (8 * i)) & 0xff;
}

/** Lengths of a block, read from its start. */
export type AddBlockHead = { readonly outputBytes: number; readonly columns: readonly number[] };

/** Bytes that one block's columns may have together: a wrong word costs at most a gap and 5 bytes. */
const COLUMN_BYTES_MAX = 4 * BLOCK_BYTES_MAX;

/** The head of a block, once its lengths are known to be within bounds. @throws dataLoss */
export function checkAddHead(head: AddBlockHead): AddBlockHead {
  if (head.outputBytes > BLOCK_BYTES_MAX) throw dataLoss('invalid delta: a block is too long');
  if (head.columns.reduce((sum, bytes) => sum + bytes, 0) > COLUMN_BYTES_MAX) {
    throw dataLoss('invalid delta: the columns of a block are too long');
  }
  return head;
}

/** Random access to the old file: fills `into` from `position`; false when that goes beyond its end. */
export type ReadOld = (into: Uint8Array, position: number) => boolean;

/**
 * Decodes the body of a block (its columns) into `out`, which has its `outputBytes`.
 * Returns the reading position in the old file for the next block.
 * @throws dataLoss for anything that does not add up
 */
export function decodeAddBlock(
  head: AddBlockHead,
  body: Uint8Array,
  out: Uint8Array,
  oldAt: number,
  readOld: ReadOld,
): number {
  assert(out.length === head.outputBytes, 'the output has the length of the block');
  let at = 0;
  const column = (i: number): ByteReader => {
    const bytes = body.subarray(at, at + (head.columns[i] ?? 0));
    at += bytes.length;
    return new ByteReader(bytes);
  };
  const control = column(0);
  const gaps = column(1);
  const values = column(2);
  const extra = column(3);
  let position = oldAt;
  let outAt = 0;
  let nextGap = gaps.atEnd ? -1 : gaps.unsigned();
  while (!control.atEnd) {
    const addBytes = control.unsigned();
    const extraBytes = control.unsigned();
    const seek = control.signed();
    if (addBytes + extraBytes > out.length - outAt) {
      throw dataLoss('invalid delta: a block makes more than it says');
    }
    const added = out.subarray(outAt, outAt + addBytes);
    if (addBytes > 0 && (position < 0 || !readOld(added, position))) {
      throw dataLoss('invalid delta: it reads beyond the end of the base file');
    }
    let i = 0;
    while (nextGap >= 0 && i + nextGap < addBytes) {
      i += nextGap;
      addToWord(added, i, values.signed());
      i = Math.min(i + WORD_BYTES, addBytes);
      nextGap = gaps.atEnd ? -1 : gaps.unsigned();
    }
    if (nextGap >= 0) nextGap -= addBytes - i;
    outAt += addBytes;
    out.set(extra.take(extraBytes), outAt);
    outAt += extraBytes;
    position += addBytes + seek;
  }
  if (outAt !== out.length || nextGap >= 0 || !values.atEnd || !extra.atEnd) {
    throw dataLoss('invalid delta: the columns of a block do not agree');
  }
  return position;
}
