import { assert, dataLoss } from '../../base/errors.ts';

/**
 * Which of the base's entries each entry of the target refers to, as distances among those that are
 * left: an archive in the same order costs nothing, one in any other about log2(n!) bits in all.
 *
 * The distance of a reference is its rank among the entries not referred to yet, counted from the
 * one behind the last reference, around the end. Sums of a Fenwick tree make it O(log n).
 */
export class ReferenceOrder {
  readonly #tree: Int32Array;
  readonly #used: Uint8Array;
  readonly #count: number;
  #left: number;
  /** Rank at which the search for the next reference begins. */
  #cursor = 0;

  constructor(count: number) {
    this.#count = count;
    this.#left = count;
    this.#tree = new Int32Array(count + 1);
    for (let i = 1; i <= count; i++) this.#tree[i] = i & -i;
    this.#used = new Uint8Array(count);
  }

  /** Entries that are not referred to yet. */
  get left(): number {
    return this.#left;
  }

  isUsed(index: number): boolean {
    return this.#used[index] === 1;
  }

  /** Unused entries before `index`. */
  #rank(index: number): number {
    let sum = 0;
    for (let i = index; i > 0; i -= i & -i) sum += this.#tree[i] as number;
    return sum;
  }

  /** The unused entry of this rank. */
  #select(rank: number): number {
    let index = 0;
    let rest = rank;
    for (let step = 2 ** Math.floor(Math.log2(Math.max(1, this.#count))); step >= 1; step /= 2) {
      const next = index + step;
      if (next <= this.#count && (this.#tree[next] as number) <= rest) {
        index = next;
        rest -= this.#tree[next] as number;
      }
    }
    return index;
  }

  #use(index: number, rank: number): void {
    this.#used[index] = 1;
    for (let i = index + 1; i <= this.#count; i += i & -i) {
      this.#tree[i] = (this.#tree[i] as number) - 1;
    }
    this.#left -= 1;
    this.#cursor = rank; // the entry behind it has its rank now
  }

  /** The distance to an unused entry, which is used up. */
  distanceTo(index: number): number {
    assert(index < this.#count && !this.isUsed(index), 'the entry is there and unused');
    const rank = this.#rank(index);
    const distance = (rank - this.#cursor + this.#left) % this.#left;
    this.#use(index, rank);
    return distance;
  }

  /** The entry at a distance, which is used up. @throws dataLoss when there is none */
  entryAt(distance: number): number {
    if (distance >= this.#left) throw dataLoss('invalid delta: it refers beyond the base');
    const rank = (this.#cursor + distance) % this.#left;
    const index = this.#select(rank);
    this.#use(index, rank);
    return index;
  }
}
