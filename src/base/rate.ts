/** What is looked back on: long enough to be calm, short enough to show what a link does now. */
const WINDOW_MS = 8000;
/** Before so long nothing is said, and amounts that come within it are one sample. */
const STEP_MS = 500;

type Sample = { readonly atMs: number; readonly total: number };

/** How fast something comes, over the last seconds; it falls to 0 when nothing comes any more. */
export class RateMeter {
  readonly #nowMs: () => number;
  /** Oldest first; the first one is about as old as the window. */
  readonly #samples: Sample[];
  #total = 0;

  /** Time counts from here. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
    this.#samples = [{ atMs: nowMs(), total: 0 }];
  }

  add(amount: number): void {
    this.#total += amount;
    const atMs = this.#nowMs();
    const last = this.#samples.at(-1);
    if (last === undefined || atMs - last.atMs >= STEP_MS) {
      this.#samples.push({ atMs, total: this.#total });
    }
  }

  /** In a second; undefined when it is too early to tell. */
  perSec(): number | undefined {
    const nowMs = this.#nowMs();
    while ((this.#samples[1]?.atMs ?? nowMs) <= nowMs - WINDOW_MS) this.#samples.shift();
    const [first] = this.#samples;
    if (first === undefined || nowMs - first.atMs < STEP_MS) return undefined;
    return ((this.#total - first.total) * 1000) / (nowMs - first.atMs);
  }
}
