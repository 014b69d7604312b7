/** Shorter waits are added up. */
const SLEEP_MS_MIN = 20;

/** What a limit goes by. */
export type RateLimitOptions = {
  /** 0 for no limit. */
  readonly bytesPerSecMax: number;
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
};

/** Holds what passes to a number of bytes in a second, however many streams it comes by. */
export class RateLimit {
  readonly #options: RateLimitOptions;
  /** When what came so far is what the limit allows. */
  #paidMs = 0;

  constructor(options: RateLimitOptions) {
    this.#options = options;
  }

  /** Bytes passed; resolves when more may. */
  async passed(bytes: number): Promise<void> {
    const { bytesPerSecMax, nowMs, sleep } = this.#options;
    if (bytesPerSecMax === 0) return;
    this.#paidMs = Math.max(this.#paidMs, nowMs()) + (bytes / bytesPerSecMax) * 1000;
    const waitMs = this.#paidMs - nowMs();
    if (waitMs >= SLEEP_MS_MIN) await sleep(waitMs);
  }
}
