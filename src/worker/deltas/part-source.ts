import { createHash } from 'node:crypto';
import { dataLoss } from '../../base/errors.ts';
import type { DeltaPart } from '../../formats/delta/envelope.ts';
import { ResumableSha256 } from '../../kernel/resumable-sha256.ts';
import type { PartCheckpoint } from '../../store/layers/layer-checkpoint.ts';
import type { DueCheckpoint } from '../layer-checkpoints.ts';

export type PartSourceOptions = {
  readonly part: DeltaPart;
  /** The part's bytes, from the checkpoint on; a piece is valid until the next is asked for. */
  readonly source: AsyncIterable<Uint8Array>;
  /** Where it goes on. */
  readonly from: PartCheckpoint | undefined;
  /** Bytes of the part that are dealt with. */
  readonly onProgress: (bytes: number) => void;
};

/** The bytes of a part, counted and hashed, frame by frame. */
export class PartSource implements AsyncDisposable {
  readonly #part: DeltaPart;
  readonly #pieces: AsyncIterator<Uint8Array>;
  readonly #onProgress: (bytes: number) => void;
  readonly #hash: Pick<ResumableSha256, 'update' | 'digest'>;
  readonly #frames: readonly number[];
  #rest: Uint8Array = new Uint8Array();
  #bytes: number;

  /** @throws dataLoss when no frame begins at the checkpoint */
  constructor({ part, source, from, onProgress }: PartSourceOptions) {
    this.#part = part;
    this.#pieces = source[Symbol.asyncIterator]();
    this.#onProgress = onProgress;
    this.#bytes = from?.hashedBytes ?? 0;
    this.#frames = framesFrom(part, this.#bytes);
    const hash = ResumableSha256.open(from?.hashState);
    if (hash === undefined && from !== undefined) {
      throw dataLoss('what has come of the delta cannot be gone on with here');
    }
    this.#hash = hash ?? createHash('sha256');
  }

  /** The frames that are left. Each is read to its end before the next. */
  *frames(): Generator<AsyncGenerator<Uint8Array>> {
    for (const bytes of this.#frames) yield this.#frame(bytes);
  }

  /** Between two frames: what a checkpoint says of here, where the tar has `tarBytes`. */
  checkpoint(tarBytes: number): DueCheckpoint | undefined {
    const hash = this.#hash;
    if (!(hash instanceof ResumableSha256) || this.#bytes === this.#part.sizeBytes)
      return undefined;
    const at = { inputBytes: this.#bytes, outputBytes: tarBytes };
    return {
      digest: this.#part.digest,
      compression: 'delta',
      hashedBytes: this.#bytes,
      hashState: hash.state(),
      dropBytes: 0,
      point: { ...at, bits: 0, lastByte: 0, window: Buffer.alloc(0) },
    };
  }

  async *#frame(frameBytes: number): AsyncGenerator<Uint8Array> {
    for (let left = frameBytes; left > 0; ) {
      if (this.#rest.length === 0) {
        const { value, done } = await this.#pieces.next();
        if (done === true) throw this.#failed('it is cut off');
        this.#rest = value;
      }
      const piece = this.#rest.subarray(0, left);
      this.#rest = this.#rest.subarray(piece.length);
      left -= piece.length;
      this.#hash.update(piece);
      yield piece;
      this.#bytes += piece.length;
      this.#onProgress(this.#bytes);
    }
  }

  /**
   * All frames were read.
   * @throws dataLoss when the bytes are not the part's
   */
  async end(): Promise<void> {
    const { done } = await this.#pieces.next();
    if (this.#rest.length > 0 || done !== true) throw this.#failed('more bytes came');
    const digest = `sha256:${this.#hash.digest().toString('hex')}`;
    if (digest !== this.#part.digest) throw this.#failed(`its digest is ${digest}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#pieces.return?.();
  }

  #failed(why: string): Error {
    return dataLoss(`delta verification failed for digest ${this.#part.digest}: ${why}`);
  }
}

function framesFrom({ frames }: DeltaPart, fromByte: number): readonly number[] {
  let at = 0;
  let index = 0;
  for (; at < fromByte && index < frames.length; index += 1) at += frames[index] ?? 0;
  if (at !== fromByte) throw dataLoss('what has come of the delta ends in the middle of a frame');
  return frames.slice(index);
}
