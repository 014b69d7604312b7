import { assert } from '../../base/errors.ts';

/**
 * What a new version of a file has in common with an old one, for binaries whose addresses shift:
 * long stretches agree but for a byte here and there. The result is a list of instructions, each
 * "take `addBytes` of the old file from where you are and correct single bytes, then insert
 * `extraBytes` of new ones, then move in the old file by `seek`".
 *
 * The idea of instructions is bsdiff's (Colin Percival, "Naive differences of executable code").
 * Instead of a suffix array of everything (eight times the file in memory, and minutes), a table
 * holds the old file's positions by the hash of a short seed; a match is grown from a seed, first
 * exactly and then across differences as long as more than half of the bytes agree.
 */
export type Instruction = {
  readonly addBytes: number;
  readonly extraBytes: number;
  /** Where the next instruction reads: relative to the end of this one's added stretch. */
  readonly seek: number;
};

/** A match by a seed must agree in this many bytes more than the alignment in force does. */
const GAIN_BYTES = 8;
/** An alignment that agrees in this many bytes at once is kept without asking the table. */
const ALIGNED_BYTES = 32;
/** How far a match is grown backwards past its last improvement. */
const GROW_BACK_MAX = 4096;
const BASE = 0x9e3779b1 | 0;

/** Positions of seeds in the old file, a seed every `stride` bytes. */
class SeedTable {
  readonly seedBytes: number;
  readonly #table: Int32Array;
  readonly #shift: number;
  /** BASE ** seedBytes, to take the oldest byte out of the rolling hash. */
  readonly #power: number;

  constructor(old: Uint8Array) {
    const stride = old.length <= 16 << 20 ? 1 : old.length <= 48 << 20 ? 2 : 8;
    this.seedBytes = stride === 8 ? 24 : 16;
    const bits = Math.min(
      26,
      Math.max(8, Math.ceil(Math.log2(old.length / stride + 1)) + (stride === 8 ? 0 : 1)),
    );
    this.#shift = 32 - bits;
    this.#table = new Int32Array(2 ** bits).fill(-1);
    let power = 1;
    for (let i = 0; i < this.seedBytes; i++) power = Math.imul(power, BASE);
    this.#power = power;
    let hash = 0;
    const { seedBytes } = this;
    for (let i = 0; i < old.length; i++) {
      hash = (Math.imul(hash, BASE) + (old[i] as number) + 1) | 0;
      if (i >= seedBytes) {
        hash = (hash - Math.imul(power, (old[i - seedBytes] as number) + 1)) | 0;
      }
      const start = i - seedBytes + 1;
      if (start < 0 || start % stride !== 0) continue;
      const slot = this.slot(hash);
      // The first of equal seeds stays: runs of one byte would else all point at their end.
      if (this.#table[slot] === -1) this.#table[slot] = start;
    }
  }

  slot(hash: number): number {
    return Math.imul(hash ^ (hash >>> 15), 0x85ebca6b) >>> this.#shift;
  }

  /** The hash of the seed at `at`, from scratch. */
  hash(bytes: Uint8Array, at: number): number {
    let hash = 0;
    for (let i = at; i < at + this.seedBytes; i++) {
      hash = (Math.imul(hash, BASE) + (bytes[i] as number) + 1) | 0;
    }
    return hash;
  }

  /** The hash of the seed at `at`, from that of the seed one byte before. */
  roll(hash: number, bytes: Uint8Array, at: number): number {
    const added = (Math.imul(hash, BASE) + (bytes[at + this.seedBytes - 1] as number) + 1) | 0;
    return (added - Math.imul(this.#power, (bytes[at - 1] as number) + 1)) | 0;
  }

  /** A position that may hold the seed, or -1. */
  find(hash: number): number {
    return this.#table[this.slot(hash)] as number;
  }
}

/** Bytes from these places on that are equal. */
function equalBytes(a: Uint8Array, aAt: number, b: Uint8Array, bAt: number): number {
  const max = Math.min(a.length - aAt, b.length - bAt);
  let n = 0;
  while (n < max && a[aAt + n] === b[bAt + n]) n += 1;
  return n;
}

type Match = { newAt: number; oldAt: number };

/** Finds where the alignment changes. */
class Scanner {
  readonly #old: Uint8Array;
  readonly #new: Uint8Array;
  readonly #seeds: SeedTable;

  constructor(old: Uint8Array, target: Uint8Array) {
    this.#old = old;
    this.#new = target;
    this.#seeds = new SeedTable(old);
  }

  /**
   * The next place at or after `from` where another alignment than `oldAt = newAt + offset` is
   * clearly better; undefined when there is none to the end.
   */
  next(from: number, offset: number): (Match & { exactBytes: number }) | undefined {
    const old = this.#old;
    const target = this.#new;
    const seeds = this.#seeds;
    const last = target.length - seeds.seedBytes;
    let hash = 0;
    let hashedAt = -2;
    for (let at = from; at <= last; at++) {
      const aligned = at + offset;
      if (aligned >= 0 && aligned < old.length) {
        const run = equalBytes(target, at, old, aligned);
        if (run >= ALIGNED_BYTES) {
          at += run - 1;
          continue;
        }
      }
      hash = hashedAt === at - 1 ? seeds.roll(hash, target, at) : seeds.hash(target, at);
      hashedAt = at;
      const oldAt = seeds.find(hash);
      if (oldAt < 0) continue;
      const exactBytes = equalBytes(target, at, old, oldAt);
      if (exactBytes < seeds.seedBytes) continue;
      if (exactBytes > this.#agreement(at, offset, exactBytes) + GAIN_BYTES) {
        return { newAt: at, oldAt, exactBytes };
      }
    }
    return undefined;
  }

  /** Bytes of [at, at + length) that the alignment in force has right. */
  #agreement(at: number, offset: number, length: number): number {
    let agreeing = 0;
    for (let i = at; i < at + length; i++) {
      if (this.#new[i] === this.#old[i + offset]) agreeing += 1;
    }
    return agreeing;
  }

  /** Bytes to take from `a` on, up to `max`: as long as more than half agree. */
  growForward(a: Match, max: number): number {
    const limit = Math.min(max, this.#old.length - a.oldAt);
    let agreeing = 0;
    let best = 0;
    let bytes = 0;
    for (let i = 0; i < limit; ) {
      if (this.#old[a.oldAt + i] === this.#new[a.newAt + i]) agreeing += 1;
      i += 1;
      if (agreeing * 2 - i > best) {
        best = agreeing * 2 - i;
        bytes = i;
      }
    }
    return bytes;
  }

  /** Bytes to take before `b`, down to `max`. */
  growBack(b: Match, max: number): number {
    const limit = Math.min(max, b.oldAt);
    let agreeing = 0;
    let best = 0;
    let bytes = 0;
    for (let i = 1; i <= limit && i <= bytes + GROW_BACK_MAX; i++) {
      if (this.#old[b.oldAt - i] === this.#new[b.newAt - i]) agreeing += 1;
      if (agreeing * 2 - i > best) {
        best = agreeing * 2 - i;
        bytes = i;
      }
    }
    return bytes;
  }

  /**
   * Two matches claim `overlap` bytes; returns how many of them the first one keeps, so that most
   * bytes agree. `firstEnd` is the first claimed byte as the first match sees it.
   */
  splitOverlap(first: Match, second: Match, overlap: number): number {
    let balance = 0;
    let best = 0;
    let keep = 0;
    for (let i = 0; i < overlap; i++) {
      if (this.#new[first.newAt + i] === this.#old[first.oldAt + i]) balance += 1;
      if (this.#new[second.newAt + i] === this.#old[second.oldAt + i]) balance -= 1;
      if (balance > best) {
        best = balance;
        keep = i + 1;
      }
    }
    return keep;
  }
}

/**
 * The instructions that make `target` of `old`, in order. Memory: 4 to 16 bytes for each byte of
 * an old file up to 48 MiB, 1 to 3 for larger ones: no more than 256 MiB.
 */
export function* matchFiles(old: Uint8Array, target: Uint8Array): Generator<Instruction> {
  const scanner = new Scanner(old, target);
  /** Where the stretch that is being built starts. */
  let start: Match = { newAt: 0, oldAt: 0 };
  let from = 0;
  while (start.newAt < target.length) {
    const match = scanner.next(from, start.oldAt - start.newAt);
    const end = match?.newAt ?? target.length;
    let add = scanner.growForward(start, end - start.newAt);
    let back = match === undefined ? 0 : scanner.growBack(match, end - start.newAt);
    const overlap = start.newAt + add - (end - back);
    if (match !== undefined && overlap > 0) {
      const claimedAt = start.newAt + add - overlap;
      const keep = scanner.splitOverlap(
        { newAt: claimedAt, oldAt: start.oldAt + add - overlap },
        { newAt: claimedAt, oldAt: match.oldAt - back },
        overlap,
      );
      add -= overlap - keep;
      back -= keep;
    }
    const extraBytes = end - back - (start.newAt + add);
    assert(extraBytes >= 0, 'stretches do not overlap');
    if (match === undefined) {
      yield { addBytes: add, extraBytes, seek: 0 };
      return;
    }
    const next = { newAt: match.newAt - back, oldAt: match.oldAt - back };
    yield { addBytes: add, extraBytes, seek: next.oldAt - (start.oldAt + add) };
    start = next;
    from = match.newAt + match.exactBytes;
  }
}
