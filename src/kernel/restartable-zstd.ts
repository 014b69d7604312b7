import { asBuffer } from '../formats/byte-string.ts';
import { ZstdFrames } from '../formats/zstd-frames.ts';
import { type Output, openSyncInflater, type SyncInflater } from './sync-inflate.ts';

/** A place in a zstd stream where inflating can begin: the end of a frame, or the very beginning. */
export type ZstdRestart = {
  /** Bytes of the source before it. */
  readonly inputBytes: number;
  /** Bytes that came out before it. */
  readonly outputBytes: number;
};

export type RestartableZstdOptions = {
  readonly onOutput: Output;
  /** Called with each place where inflating could begin anew. */
  readonly onFrame: (restart: ZstdRestart) => void;
  readonly from: ZstdRestart;
  /** Bytes that come out first and are known already: they are not handed on. */
  readonly dropBytes: number;
};

/**
 * Inflates zstd and tells where its frames end: within one the decoder's state cannot be had.
 */
export class RestartableZstd implements SyncInflater {
  readonly #inflater: SyncInflater;
  readonly #options: RestartableZstdOptions;
  readonly #frames = new ZstdFrames();
  #inputBytes: number;
  readonly #output: { bytes: number };

  private constructor(
    options: RestartableZstdOptions,
    inflater: SyncInflater,
    output: { bytes: number },
  ) {
    this.#options = options;
    this.#inflater = inflater;
    this.#output = output;
    this.#inputBytes = options.from.inputBytes;
  }

  /** Undefined where zstd cannot be driven synchronously. */
  static open(options: RestartableZstdOptions): RestartableZstd | undefined {
    const { from, dropBytes, onOutput } = options;
    const knownBytes = from.outputBytes + dropBytes;
    const output = { bytes: from.outputBytes };
    const inflater = openSyncInflater('zstd', (bytes) => {
      const known = Math.max(0, Math.min(bytes.length, knownBytes - output.bytes));
      output.bytes += bytes.length;
      if (known < bytes.length) onOutput(bytes.subarray(known));
    });
    return inflater && new RestartableZstd(options, inflater, output);
  }

  push(bytes: Uint8Array): void {
    const chunk = asBuffer(bytes);
    for (let at = 0; at < chunk.length; ) {
      const taken = this.#frames.take(chunk.subarray(at));
      this.#inflater.push(chunk.subarray(at, at + taken));
      at += taken;
      this.#inputBytes += taken;
      if (!this.#frames.isAtEnd) continue;
      this.#options.onFrame({ inputBytes: this.#inputBytes, outputBytes: this.#output.bytes });
    }
  }

  end(): void {
    this.#inflater.end();
  }

  [Symbol.dispose](): void {
    this.#inflater[Symbol.dispose]();
  }
}
