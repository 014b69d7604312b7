import { assert, dataLoss } from '../base/errors.ts';

/**
 * librsync delta streams, as balenaEngine's delta images carry them. Integers are big-endian and
 * unsigned.
 *
 *   72 73 02 36                     magic
 *   00                              END, the last byte
 *   01 … 40          data           LITERAL of opcode bytes
 *   41 42 43 44      len data       LITERAL; len has 1, 2, 4, 8 bytes
 *   45 … 54          pos len        COPY from the basis; with k = opcode − 0x45, pos has
 *                                   2^(k div 4) bytes and len 2^(k mod 4)
 *   55 … ff                         reserved
 *
 * The stream holds no lengths and no checksum, so a reader needs to know how long the basis is and
 * how long the result may get, and to check the digest of what comes out.
 * Source: librsync `command.c`, `prototab.h`; `rdiff(1)`.
 */
export const RDIFF_MAGIC = 0x72730236;

const OP_END = 0x00;
const OP_LITERAL_IMMEDIATE_MAX = 0x40;
const OP_LITERAL_1 = 0x41;
const OP_COPY_1_1 = 0x45;
const OP_COPY_MAX = 0x54;

/** Literals are cut here by the writer, as the reference producer does. */
const LITERAL_BYTES_MAX = 16 << 20;

/** What a delta stream says to do. Bytes are views that hold only during the call. */
export type RdiffSink = {
  readonly literal: (bytes: Uint8Array) => void;
  /** A range within the basis, already checked. */
  readonly copy: (position: number, length: number) => void;
};

/** Lengths that a stream must keep to. */
export type RdiffBounds = {
  readonly basisBytes: number;
  readonly outputBytesMax: number;
};

/**
 * Reads a delta stream that arrives in chunks of any size, and hands on its commands in order.
 * Every violation is `dataLoss` with one sentence.
 */
export class RdiffReader {
  readonly #sink: RdiffSink;
  readonly #bounds: RdiffBounds;
  /** Bytes of a header that is split between chunks: at most the magic, or opcode + 16. */
  readonly #held = Buffer.alloc(17);
  #heldBytes = 0;
  #started = false;
  #ended = false;
  #literalLeft = 0;
  #outputBytes = 0;

  constructor(sink: RdiffSink, bounds: RdiffBounds) {
    this.#sink = sink;
    this.#bounds = bounds;
  }

  /** Bytes of output commanded so far. */
  get outputBytes(): number {
    return this.#outputBytes;
  }

  /** Takes the next bytes. @throws dataLoss */
  push(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.length) {
      if (this.#ended) throw dataLoss('invalid delta: data after its end');
      if (this.#literalLeft > 0) {
        const length = Math.min(this.#literalLeft, chunk.length - at);
        this.#sink.literal(chunk.subarray(at, at + length));
        this.#literalLeft -= length;
        at += length;
        continue;
      }
      this.#held[this.#heldBytes] = chunk[at] ?? 0;
      this.#heldBytes += 1;
      at += 1;
      if (this.#heldBytes === this.#headerBytes()) this.#header();
    }
  }

  /** Says that no more bytes come. @throws dataLoss when the stream was cut */
  end(): void {
    if (!this.#ended) throw dataLoss('invalid delta: it ends before its end command');
  }

  /** Bytes of the header that begins with what is held. */
  #headerBytes(): number {
    if (!this.#started) return 4;
    const op = this.#held[0] ?? 0;
    if (op <= OP_LITERAL_IMMEDIATE_MAX) return 1;
    if (op < OP_COPY_1_1) return 1 + 2 ** (op - OP_LITERAL_1);
    if (op > OP_COPY_MAX) {
      throw dataLoss(`invalid delta: reserved command 0x${op.toString(16)}`);
    }
    const k = op - OP_COPY_1_1;
    return 1 + 2 ** (k >> 2) + 2 ** (k & 3);
  }

  #header(): void {
    const header = this.#held;
    this.#heldBytes = 0;
    if (!this.#started) {
      const magic = header.readUInt32BE(0);
      if (magic !== RDIFF_MAGIC) {
        throw dataLoss(
          `invalid delta: got magic number ${magic.toString(16)} rather than expected value ${RDIFF_MAGIC.toString(16)}`,
        );
      }
      this.#started = true;
      return;
    }
    const op = header[0] ?? 0;
    if (op === OP_END) {
      this.#ended = true;
    } else if (op <= OP_LITERAL_IMMEDIATE_MAX) {
      this.#literalLeft = this.#output(op);
    } else if (op < OP_COPY_1_1) {
      this.#literalLeft = this.#output(readInteger(header, 1, 2 ** (op - OP_LITERAL_1)));
    } else {
      const k = op - OP_COPY_1_1;
      const positionBytes = 2 ** (k >> 2);
      const position = readInteger(header, 1, positionBytes);
      const length = readInteger(header, 1 + positionBytes, 2 ** (k & 3));
      if (length === 0) throw dataLoss('invalid delta: a copy of no bytes');
      if (position + length > this.#bounds.basisBytes) {
        throw dataLoss(
          `invalid delta: a copy of ${length} bytes at ${position} goes beyond the basis of ${this.#bounds.basisBytes} bytes`,
        );
      }
      this.#output(length);
      this.#sink.copy(position, length);
    }
  }

  /** Counts output and keeps it within bounds. */
  #output(bytes: number): number {
    this.#outputBytes += bytes;
    if (this.#outputBytes > this.#bounds.outputBytesMax) {
      throw dataLoss(
        `invalid delta: it claims more than ${this.#bounds.outputBytesMax} bytes of output`,
      );
    }
    return bytes;
  }
}

/** A big-endian integer of 1, 2, 4 or 8 bytes; what does not fit 2^53 becomes Infinity and so fails every bound. */
function readInteger(from: Buffer, at: number, bytes: number): number {
  if (bytes < 8) return from.readUIntBE(at, bytes);
  const value = from.readBigUInt64BE(at);
  return value > BigInt(Number.MAX_SAFE_INTEGER) ? Number.POSITIVE_INFINITY : Number(value);
}

/**
 * Writes a delta stream with the reference producer's choices: the smallest width for each integer,
 * no immediate literals, literals of at most 16 MiB, copies that continue each other merged.
 */
export class RdiffWriter {
  readonly #write: (bytes: Uint8Array) => void;
  #copyAt = 0;
  #copyBytes = 0;
  #literal: Uint8Array[] = [];
  #literalBytes = 0;

  /** `write` gets views that hold only during the call. */
  constructor(write: (bytes: Uint8Array) => void) {
    this.#write = write;
    const magic = Buffer.alloc(4);
    magic.writeUInt32BE(RDIFF_MAGIC);
    write(magic);
  }

  copy(position: number, length: number): void {
    assert(length > 0, 'a copy has a length');
    this.#flushLiteral();
    if (this.#copyBytes > 0 && this.#copyAt + this.#copyBytes === position) {
      this.#copyBytes += length;
      return;
    }
    this.#flushCopy();
    this.#copyAt = position;
    this.#copyBytes = length;
  }

  /** Takes bytes that stay unchanged until the next call that is not `literal`. */
  literal(bytes: Uint8Array): void {
    let rest = bytes;
    while (rest.length > 0) {
      this.#flushCopy();
      const part = rest.subarray(0, LITERAL_BYTES_MAX - this.#literalBytes);
      this.#literal.push(part);
      this.#literalBytes += part.length;
      rest = rest.subarray(part.length);
      if (this.#literalBytes === LITERAL_BYTES_MAX) this.#flushLiteral();
    }
  }

  /** Writes what is pending and the end command. */
  end(): void {
    this.#flushLiteral();
    this.#flushCopy();
    this.#write(Uint8Array.of(OP_END));
  }

  #flushCopy(): void {
    if (this.#copyBytes === 0) return;
    const p = widthOf(this.#copyAt);
    const l = widthOf(this.#copyBytes);
    const command = Buffer.alloc(1 + 2 ** p + 2 ** l);
    command[0] = OP_COPY_1_1 + p * 4 + l;
    writeInteger(command, 1, 2 ** p, this.#copyAt);
    writeInteger(command, 1 + 2 ** p, 2 ** l, this.#copyBytes);
    this.#copyBytes = 0;
    this.#write(command);
  }

  #flushLiteral(): void {
    if (this.#literalBytes === 0) return;
    const width = widthOf(this.#literalBytes);
    const command = Buffer.alloc(1 + 2 ** width);
    command[0] = OP_LITERAL_1 + width;
    writeInteger(command, 1, 2 ** width, this.#literalBytes);
    const parts = this.#literal;
    this.#literal = [];
    this.#literalBytes = 0;
    this.#write(command);
    for (const part of parts) this.#write(part);
  }
}

/** log2 of the bytes that hold a value: 0, 1, 2 or 3. */
function widthOf(value: number): number {
  return value <= 0xff ? 0 : value <= 0xffff ? 1 : value <= 0xffff_ffff ? 2 : 3;
}

function writeInteger(to: Buffer, at: number, bytes: number, value: number): void {
  if (bytes === 8) to.writeBigUInt64BE(BigInt(value), at);
  else to.writeUIntBE(value, at, bytes);
}
