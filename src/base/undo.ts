/**
 * Steps to take back, newest first, unless all went well. What `AsyncDisposableStack` is in newer
 * runtimes, and every step runs even when one fails.
 */
export class Undo {
  #steps: (() => Promise<void> | void)[] = [];

  /** Adds a step to be taken back by {@link run}. */
  defer(step: () => Promise<void> | void): void {
    this.#steps.push(step);
  }

  /** All went well: nothing is taken back any more. */
  release(): void {
    this.#steps = [];
  }

  /** Takes everything back. A step's failure goes to `onError`. */
  async run(onError: (error: unknown) => void): Promise<void> {
    for (let step = this.#steps.pop(); step !== undefined; step = this.#steps.pop()) {
      try {
        await step();
      } catch (error) {
        onError(error);
      }
    }
  }
}
