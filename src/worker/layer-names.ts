import { randomInt } from 'node:crypto';
import type { ByteString } from '../formats/byte-string.ts';

const SLOTS_MIN = 1024;
/** 4 MB of memory; names beyond half of that are all taken for names that may be there. */
const SLOTS_MAX = 1 << 20;
/** Who makes names whose sums lie together gains nothing but that: the table counts as full. */
const PROBES_MAX = 64;

/**
 * The names that a layer has made so far, by a sum of each. It answers in one way only: that a name
 * was never made is certain; that it was is not. Bounded, whatever names a layer has.
 */
export class LayerNames {
  readonly #seed = randomInt(2 ** 32 - 1);
  #sums = new Uint32Array(SLOTS_MIN);
  #count = 0;
  #isFull = false;

  /** Notes the name at a path; true when it is certain that there was none. */
  take(path: ByteString): boolean {
    if (this.#isFull) return false;
    const isNew = this.#add(sumOf(path, this.#seed));
    if (this.#count * 2 > this.#sums.length) this.#grow();
    return isNew;
  }

  /** False when it is certain that no name was made at a path. */
  has(path: ByteString): boolean {
    const sum = sumOf(path, this.#seed);
    const mask = this.#sums.length - 1;
    for (let i = 0; i < PROBES_MAX && !this.#isFull; i += 1) {
      const there = this.#sums[(sum + i) & mask];
      if (there === sum || there === 0) return there === sum;
    }
    return true;
  }

  #add(sum: number): boolean {
    const sums = this.#sums;
    const mask = sums.length - 1;
    for (let i = 0; i < PROBES_MAX; i += 1) {
      const at = (sum + i) & mask;
      const there = sums[at];
      if (there === sum) return false;
      if (there !== 0) continue;
      sums[at] = sum;
      this.#count += 1;
      return true;
    }
    this.#isFull = true;
    return false;
  }

  #grow(): void {
    const old = this.#sums;
    if (old.length === SLOTS_MAX) {
      this.#isFull = true;
      return;
    }
    this.#sums = new Uint32Array(old.length * 2);
    this.#count = 0;
    for (const sum of old) if (sum !== 0) this.#add(sum);
  }
}

/** Never 0. FNV-1a, and what murmur3 ends with, so that all of its bits are as good as any. */
function sumOf(path: ByteString, seed: number): number {
  let sum = seed;
  for (let i = 0; i < path.length; i += 1) sum = Math.imul(sum ^ path.charCodeAt(i), 0x01000193);
  sum = Math.imul(sum ^ (sum >>> 16), 0x85ebca6b);
  sum = Math.imul(sum ^ (sum >>> 13), 0xc2b2ae35);
  return (sum ^ (sum >>> 16)) >>> 0 || 1;
}
