import { assert, dataLoss } from '../../base/errors.ts';

/** LEB128 integers: seven bits a byte, lowest first, the top bit says that more follow. */

/** Bytes of the longest integer, 2^53 - 1. */
const INTEGER_BYTES_MAX = 8;

/** A large writer does not grow to twice its size. */
const GROWTH_BYTES_MAX = 1 << 20;

/** A growing run of bytes. */
export class ByteWriter {
  #buffer: Uint8Array<ArrayBuffer> = new Uint8Array(1024);
  #length = 0;

  get length(): number {
    return this.#length;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const { buffer } = this.#buffer;
    const larger = buffer.byteLength + Math.min(buffer.byteLength, GROWTH_BYTES_MAX);
    // What it had is free at once, and not when garbage is collected.
    this.#buffer = new Uint8Array(buffer.transfer(Math.max(larger, this.#length + bytes)));
  }

  byte(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  bytes(bytes: Uint8Array): void {
    this.#reserve(bytes.length);
    this.#buffer.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  /** A whole number from 0 to 2^53 - 1. */
  unsigned(value: number): void {
    assert(Number.isSafeInteger(value) && value >= 0, 'an unsigned integer');
    this.#reserve(INTEGER_BYTES_MAX);
    let rest = value;
    while (rest >= 0x80) {
      this.#buffer[this.#length++] = (rest % 0x80) | 0x80;
      rest = Math.floor(rest / 0x80);
    }
    this.#buffer[this.#length++] = rest;
  }

  /** A whole number within ±2^52, zigzag: 0, -1, 1, -2 … are 0, 1, 2, 3 … */
  signed(value: number): void {
    this.unsigned(value < 0 ? -2 * value - 1 : 2 * value);
  }

  /** Length and UTF-8 bytes. */
  text(text: string): void {
    const bytes = Buffer.from(text, 'utf8');
    this.unsigned(bytes.length);
    this.bytes(bytes);
  }

  /** What was written so far; valid until the next write. */
  view(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }

  /** Gives back the room that was kept for more. */
  trim(): void {
    this.#buffer = new Uint8Array(this.#buffer.buffer.transfer(Math.max(this.#length, 1)));
  }

  /** Begins again with nothing. */
  clear(): void {
    this.#length = 0;
  }

  /** What was written; the writer must not be used after. */
  finish(): Uint8Array {
    return this.#buffer.subarray(0, this.#length);
  }
}

/** Reads what {@link ByteWriter} wrote. Everything that goes beyond the bytes is `dataLoss`. */
export class ByteReader {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get atEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  /** Bytes that were read. */
  get position(): number {
    return this.#at;
  }

  byte(): number {
    const value = this.#bytes[this.#at];
    if (value === undefined) throw dataLoss('invalid delta: it ends in the middle of a field');
    this.#at += 1;
    return value;
  }

  /** A view of the next bytes. */
  take(bytes: number): Uint8Array {
    if (bytes > this.#bytes.length - this.#at) {
      throw dataLoss('invalid delta: it ends in the middle of a field');
    }
    this.#at += bytes;
    return this.#bytes.subarray(this.#at - bytes, this.#at);
  }

  unsigned(): number {
    let value = 0;
    let scale = 1;
    for (let i = 0; i < INTEGER_BYTES_MAX; i++) {
      const byte = this.byte();
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) {
        if (!Number.isSafeInteger(value)) break;
        return value;
      }
      scale *= 0x80;
    }
    throw dataLoss('invalid delta: an integer is too large');
  }

  signed(): number {
    const value = this.unsigned();
    return value % 2 === 0 ? value / 2 : -(value + 1) / 2;
  }

  text(bytesMax: number): string {
    const bytes = this.unsigned();
    if (bytes > bytesMax) throw dataLoss('invalid delta: a text is too long');
    return Buffer.from(this.take(bytes)).toString('utf8');
  }
}
