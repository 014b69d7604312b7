/** What is in use, counted: a key is held until each of its holds is disposed. */
export class Holds<K> {
  readonly #counts = new Map<K, number>();

  /** Holds the keys; to dispose it twice does nothing more. */
  hold(keys: readonly K[]): Disposable {
    for (const key of keys) this.#counts.set(key, (this.#counts.get(key) ?? 0) + 1);
    let isHeld = true;
    return {
      [Symbol.dispose]: () => {
        if (!isHeld) return;
        isHeld = false;
        for (const key of keys) this.#release(key);
      },
    };
  }

  #release(key: K): void {
    const left = (this.#counts.get(key) ?? 0) - 1;
    if (left > 0) this.#counts.set(key, left);
    else this.#counts.delete(key);
  }

  has(key: K): boolean {
    return this.#counts.has(key);
  }
}
