import { hash } from 'node:crypto';
import { assert } from '../base/errors.ts';
import { RdiffWriter } from './rdiff.ts';

/**
 * Finding what a target shares with a basis, block by block, with the reference producer's rules
 * (librsync with 512-byte blocks): blocks are looked up by their rolling sum, of basis blocks with
 * the same sum the last one counts, the window slides by a byte and jumps a block after a match.
 *
 * The rolling sum of a window is two 16-bit sums, s1 = Σ(byte + 31) and s2 = Σ of s1 after each
 * byte; its value is s2 · 65536 + s1. A strong digest decides whether blocks are equal; as it is
 * never stored, any will do, and SHA-256 is the fastest in hardware.
 */
export const BLOCK_BYTES = 512;
const CHAR_OFFSET = 31;
/** Half of the digest: equal halves of different blocks would take 2^64 tries to make. */
const STRONG_BYTES = 16;
const LOAD_MAX = 0.75;

/** A table of the basis's blocks: 26 to 31 bytes for each 512 of the basis. */
export class RdiffSignature {
  /** By block. */
  readonly #weak: Uint32Array;
  /** By slot; -1 when it is free. */
  readonly #block: Int32Array;
  readonly #mask: number;
  /** One bit for each value of 24 bits of the sum: most windows match nothing, and stop here. */
  readonly #seen = new Uint32Array(1 << 19);
  readonly #strong: Buffer;
  readonly #pending = Buffer.alloc(BLOCK_BYTES);
  #pendingBytes = 0;
  #blocks = 0;

  /** @param basisBytes length of the basis that will be pushed */
  constructor(basisBytes: number) {
    const blocks = Math.ceil(basisBytes / BLOCK_BYTES);
    const slots = 2 ** Math.max(4, Math.ceil(Math.log2(blocks / LOAD_MAX)));
    this.#weak = new Uint32Array(blocks);
    this.#block = new Int32Array(slots).fill(-1);
    this.#mask = slots - 1;
    this.#strong = Buffer.alloc(blocks * STRONG_BYTES);
  }

  /** Takes the next bytes of the basis. */
  push(chunk: Uint8Array): void {
    let at = 0;
    if (this.#pendingBytes > 0) {
      at = Math.min(BLOCK_BYTES - this.#pendingBytes, chunk.length);
      this.#pending.set(chunk.subarray(0, at), this.#pendingBytes);
      this.#pendingBytes += at;
      if (this.#pendingBytes < BLOCK_BYTES) return;
      this.#add(this.#pending);
      this.#pendingBytes = 0;
    }
    for (; at + BLOCK_BYTES <= chunk.length; at += BLOCK_BYTES) {
      this.#add(chunk.subarray(at, at + BLOCK_BYTES));
    }
    // A short block at the end can never match a whole window, so it need not be added.
    this.#pending.set(chunk.subarray(at));
    this.#pendingBytes = chunk.length - at;
  }

  #add(block: Uint8Array): void {
    assert(
      (this.#blocks + 1) * STRONG_BYTES <= this.#strong.length,
      'the basis is as long as said',
    );
    const weak = weakSum(block);
    this.#block[this.#slotOf(weak)] = this.#blocks;
    this.#weak[this.#blocks] = weak;
    const bit = mix(weak) >>> 8;
    this.#seen[bit >>> 5] = (this.#seen[bit >>> 5] ?? 0) | (1 << (bit & 31));
    const strong = hash('sha256', block, 'buffer').subarray(0, STRONG_BYTES);
    this.#strong.set(strong, this.#blocks * STRONG_BYTES);
    this.#blocks += 1;
  }

  /** The slot of the block with this sum, or the free one where it belongs. */
  #slotOf(weak: number): number {
    let slot = mix(weak) & this.#mask;
    for (;;) {
      const block = this.#block[slot] ?? -1;
      if (block < 0 || this.#weak[block] === weak) return slot;
      slot = (slot + 1) & this.#mask;
    }
  }

  /** True when some block may have this sum; false is certain. */
  mayHave(weak: number): boolean {
    const bit = mix(weak) >>> 8;
    return (((this.#seen[bit >>> 5] ?? 0) >>> (bit & 31)) & 1) === 1;
  }

  /** Position in the basis of a block equal to `window`, or -1. */
  find(weak: number, window: Uint8Array): number {
    const block = this.#block[this.#slotOf(weak)] ?? -1;
    if (block === -1) return -1;
    const at = block * STRONG_BYTES;
    const equal =
      this.#strong.compare(
        hash('sha256', window, 'buffer').subarray(0, STRONG_BYTES),
        0,
        STRONG_BYTES,
        at,
        at + STRONG_BYTES,
      ) === 0;
    return equal ? block * BLOCK_BYTES : -1;
  }
}

function mix(weak: number): number {
  const h = Math.imul(weak ^ (weak >>> 15), 0x85ebca6b);
  return (h ^ (h >>> 13)) >>> 0;
}

function weakSum(block: Uint8Array): number {
  let s1 = 0;
  let s2 = 0;
  for (let i = 0; i < block.length; i++) {
    s1 += (block[i] ?? 0) + CHAR_OFFSET;
    s2 += s1;
  }
  return (((s2 & 0xffff) << 16) | (s1 & 0xffff)) >>> 0;
}

/** Bytes of the target that are looked at in one piece. */
const PIECE_BYTES = 4 << 20;

/**
 * Writes the delta of a target against a signature. The target comes in chunks of any size; memory
 * is bounded by the pieces it is cut into and the longest literal.
 */
export class RdiffEncoder {
  readonly #signature: RdiffSignature;
  readonly #writer: RdiffWriter;
  /** Bytes that are not decided yet. */
  #buffer: Buffer = Buffer.alloc(0);
  #parts: Uint8Array[] = [];
  #partsBytes = 0;

  constructor(signature: RdiffSignature, write: (bytes: Uint8Array) => void) {
    this.#signature = signature;
    this.#writer = new RdiffWriter(write);
  }

  push(chunk: Uint8Array): void {
    // Copied: the writer keeps literals until they are complete.
    this.#parts.push(Buffer.from(chunk));
    this.#partsBytes += chunk.length;
    if (this.#partsBytes >= PIECE_BYTES) this.#scan();
  }

  end(): void {
    this.#scan();
    this.#writer.literal(this.#buffer);
    this.#writer.end();
  }

  /** Decides everything but the last bytes that are less than a window. */
  #scan(): void {
    const data = Buffer.concat([this.#buffer, ...this.#parts]);
    this.#parts = [];
    this.#partsBytes = 0;
    const signature = this.#signature;
    let literalAt = 0;
    let at = 0;
    let s1 = 0;
    let s2 = 0;
    let fresh = true;
    while (at + BLOCK_BYTES <= data.length) {
      if (fresh) {
        const weak = weakSum(data.subarray(at, at + BLOCK_BYTES));
        s1 = weak & 0xffff;
        s2 = weak >>> 16;
        fresh = false;
      }
      const weak = ((s2 << 16) | s1) >>> 0;
      if (signature.mayHave(weak)) {
        const position = signature.find(weak, data.subarray(at, at + BLOCK_BYTES));
        if (position >= 0) {
          this.#writer.literal(data.subarray(literalAt, at));
          this.#writer.copy(position, BLOCK_BYTES);
          at += BLOCK_BYTES;
          literalAt = at;
          fresh = true;
          continue;
        }
      }
      const out = data[at] ?? 0;
      s1 = (s1 + (data[at + BLOCK_BYTES] ?? 0) - out) & 0xffff;
      s2 = (s2 + s1 - BLOCK_BYTES * (out + CHAR_OFFSET)) & 0xffff;
      at += 1;
    }
    this.#writer.literal(data.subarray(literalAt, at));
    this.#buffer = data.subarray(at);
  }
}
