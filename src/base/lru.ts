/** The values that were used last: at most so many, the oldest goes when there are more. */
export class Lru<K, V> {
  readonly #max: number;
  readonly #drop: (value: V) => void;
  /** The latest at the end. */
  readonly #values = new Map<K, V>();

  /** `drop` is told each value that goes. */
  constructor(max: number, drop: (value: V) => void = () => undefined) {
    this.#max = max;
    this.#drop = drop;
  }

  /** The value of a key, made when it is not here. */
  get(key: K, make: () => V): V {
    const known = this.#values.get(key);
    if (known !== undefined) {
      this.#values.delete(key);
      this.#values.set(key, known);
      return known;
    }
    const value = make();
    const [oldest] = this.#values;
    if (oldest !== undefined && this.#values.size >= this.#max) {
      this.#values.delete(oldest[0]);
      this.#drop(oldest[1]);
    }
    this.#values.set(key, value);
    return value;
  }

  /** All go. */
  clear(): void {
    for (const value of this.#values.values()) this.#drop(value);
    this.#values.clear();
  }
}
