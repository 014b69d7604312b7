import { humanSize } from '../../base/bytes.ts';
import { type CliOutput, writeAll } from '../context.ts';

const INTERVAL_MS = 100;

/** Counts the bytes of a copy, and on a terminal tells of them in one line that is redrawn. */
export class CopyMeter {
  readonly #output: CliOutput | undefined;
  readonly #doing: string;
  #bytes = 0;
  #nextMs = 0;

  /** `output` undefined: quiet. `doing`: `Copying to container`. */
  constructor(output: CliOutput | undefined, doing: string) {
    this.#output = output;
    this.#doing = doing;
  }

  async *through(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of chunks) {
      this.#bytes += chunk.length;
      yield chunk;
      const nowMs = performance.now();
      if (this.#output?.isTTY !== true || nowMs < this.#nextMs) continue;
      this.#nextMs = nowMs + INTERVAL_MS;
      await writeAll(this.#output, `\r\x1b[2K${this.#doing} - ${humanSize(this.#bytes, 3)}`);
    }
  }

  /** The last word: what was copied where. */
  async done(where: string): Promise<void> {
    if (this.#output === undefined) return;
    const start = this.#output.isTTY === true ? '\r\x1b[2K' : '';
    const size = humanSize(this.#bytes, 3);
    await writeAll(this.#output, `${start}Successfully copied ${size} to ${where}\n`);
  }
}
