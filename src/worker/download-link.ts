import { LIMITS } from '../base/limits.ts';
import { RateLimit } from './rate-limit.ts';

/** What a link's downloads go by. */
export type DownloadLinkOptions = {
  /** Layers that are fetched at once on a link that is fast. */
  readonly layersMax: number;
  /** Bytes in a second, over all layers; 0 for no limit. */
  readonly bytesPerSecMax: number;
  readonly nowMs: () => number;
  readonly sleep: (ms: number) => Promise<void>;
};

type Waiting = { readonly sizeBytes: number; readonly go: () => void };

/**
 * Shares a link among the layers of a pull. Layers that come at once on a slow link all come late,
 * and a cut finds all of them in the middle; so until the link has shown that it is fast, and
 * whenever it is slow, a further layer is begun only beside small ones. What came is measured over
 * all layers together.
 */
export class DownloadLink {
  readonly #options: DownloadLinkOptions;
  readonly #waiting: Waiting[] = [];
  #running = 0;
  #runningBytes = 0;
  #isFast = false;
  #windowMs: number;
  #windowBytes = 0;
  readonly #rate: RateLimit;

  constructor(options: DownloadLinkOptions) {
    this.#options = options;
    this.#rate = new RateLimit(options);
    this.#windowMs = options.nowMs();
  }

  /** Runs the download of a layer when it is its turn; in the order of calls. */
  async run<T>(sizeBytes: number, body: () => Promise<T>): Promise<T> {
    if (this.#waiting.length === 0 && this.#hasRoom(sizeBytes)) this.#begin(sizeBytes);
    else await new Promise<void>((go) => this.#waiting.push({ sizeBytes, go }));
    try {
      return await body();
    } finally {
      this.#running -= 1;
      this.#runningBytes -= sizeBytes;
      this.#admit();
    }
  }

  /** Bytes came; resolves when more may be asked for. */
  async received(bytes: number): Promise<void> {
    this.#measure(bytes);
    await this.#rate.passed(bytes);
  }

  #measure(bytes: number): void {
    this.#windowBytes += bytes;
    if (this.#windowBytes < LIMITS.linkSampleBytes) return;
    const nowMs = this.#options.nowMs();
    const bytesPerSec = (this.#windowBytes * 1000) / Math.max(nowMs - this.#windowMs, 1);
    this.#isFast = bytesPerSec >= LIMITS.slowLinkBytesPerSec;
    this.#windowBytes = 0;
    this.#windowMs = nowMs;
    this.#admit();
  }

  #admit(): void {
    for (;;) {
      const [next] = this.#waiting;
      if (next === undefined || !this.#hasRoom(next.sizeBytes)) return;
      this.#waiting.shift();
      this.#begin(next.sizeBytes);
      next.go();
    }
  }

  #hasRoom(sizeBytes: number): boolean {
    if (this.#running === 0) return true;
    if (this.#running >= this.#options.layersMax) return false;
    return this.#isFast || this.#runningBytes + sizeBytes <= LIMITS.slowLinkLayerBytes;
  }

  #begin(sizeBytes: number): void {
    if (this.#running === 0) this.#windowMs = this.#options.nowMs();
    this.#running += 1;
    this.#runningBytes += sizeBytes;
  }
}
