import type { ByteString } from './byte-string.ts';

/**
 * Memory for very many small things, outside of the heap: it grows piece by piece, so that nothing
 * is copied, and nothing has to be collected.
 */

const PIECE_BYTES = 64 << 10;
const TWO_32 = 2 ** 32;

/** Rows of as many unsigned 32-bit words each. */
export class Rows {
  readonly #words: number;
  readonly #rowsInPiece: number;
  readonly #pieces: Uint32Array[] = [];
  #count = 0;

  constructor(words: number) {
    this.#words = words;
    this.#rowsInPiece = Math.floor(PIECE_BYTES / 4 / words);
  }

  get count(): number {
    return this.#count;
  }

  /** Adds a row of zeros and gives its number: 0, 1, 2 … */
  add(): number {
    if (this.#count % this.#rowsInPiece === 0) {
      this.#pieces.push(new Uint32Array(this.#rowsInPiece * this.#words));
    }
    this.#count += 1;
    return this.#count - 1;
  }

  get(row: number, word: number): number {
    const piece = Math.floor(row / this.#rowsInPiece);
    return this.#pieces[piece]?.[(row - piece * this.#rowsInPiece) * this.#words + word] ?? 0;
  }

  /** Of a value that is larger, or below 0, the lowest 32 bits are kept. */
  set(row: number, word: number, value: number): void {
    const at = Math.floor(row / this.#rowsInPiece);
    const piece = this.#pieces[at];
    if (piece === undefined || row >= this.#count) throw new Error('assertion failed: no such row');
    piece[(row - at * this.#rowsInPiece) * this.#words + word] = value;
  }
}

/** The word above the lowest 32 bits of an integer, which a row takes as it is for those. */
export function upperOf(value: number): number {
  return Math.floor(value / TWO_32);
}

/** The integer of two words; `upper | 0` is that of one that may be below 0. */
export function joined(lower: number, upper: number): number {
  return upper * TWO_32 + lower;
}

/** Texts of at most 64 KiB, called by where they begin. */
export class Texts {
  readonly #pieces: Buffer[] = [];
  #end = 0;

  /** Takes in a text and gives its place. */
  add(text: ByteString): number {
    const isFull = this.#end % PIECE_BYTES === 0;
    if (isFull || (this.#end % PIECE_BYTES) + text.length > PIECE_BYTES) {
      this.#end = this.#pieces.length * PIECE_BYTES;
      this.#pieces.push(Buffer.allocUnsafeSlow(PIECE_BYTES));
    }
    const place = this.#end;
    this.#piece(place).write(text, place % PIECE_BYTES, 'latin1');
    this.#end += text.length;
    return place;
  }

  get(place: number, bytes: number): ByteString {
    const at = place % PIECE_BYTES;
    return this.#piece(place).toString('latin1', at, at + bytes) as ByteString;
  }

  /** True when the text at `place` is the characters `from` … `to` of another. */
  equals(place: number, other: ByteString, from: number, to: number): boolean {
    const piece = this.#piece(place);
    const at = (place % PIECE_BYTES) - from;
    for (let i = from; i < to; i += 1) {
      if (piece[at + i] !== other.charCodeAt(i)) return false;
    }
    return true;
  }

  /** Below 0 when the first text comes first in the order of bytes, above when the second does. */
  compare(
    a: { readonly place: number; readonly bytes: number },
    b: { readonly place: number; readonly bytes: number },
  ): number {
    const [inA, inB] = [this.#piece(a.place), this.#piece(b.place)];
    const [atA, atB] = [a.place % PIECE_BYTES, b.place % PIECE_BYTES];
    const both = Math.min(a.bytes, b.bytes);
    for (let i = 0; i < both; i += 1) {
      const difference = (inA[atA + i] ?? 0) - (inB[atB + i] ?? 0);
      if (difference !== 0) return difference;
    }
    return a.bytes - b.bytes;
  }

  /** Writes the text at `place` to `target`. */
  copy(place: number, bytes: number, target: Buffer, targetAt: number): void {
    const at = place % PIECE_BYTES;
    this.#piece(place).copy(target, targetAt, at, at + bytes);
  }

  #piece(place: number): Buffer {
    const piece = this.#pieces[Math.floor(place / PIECE_BYTES)];
    if (piece === undefined) throw new Error('assertion failed: no such text');
    return piece;
  }
}
