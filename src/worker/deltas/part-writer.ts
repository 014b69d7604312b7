import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { closeSync, openSync, writeSync } from 'node:fs';
import { createZstdCompress, type ZstdCompress, constants as zlib } from 'node:zlib';
import { parseDigest } from '../../base/digest.ts';
import type { DeltaPart } from '../../formats/delta/envelope.ts';
import { PART_WINDOW_LOG } from './part-decoder.ts';

/** Slow to write, and read no slower for it. */
const ZSTD_LEVEL = 19;

/** Writes one part into a file: what the encoder makes, compressed in frames and hashed. */
export class PartWriter implements AsyncDisposable {
  readonly #fd: number;
  readonly #hash = createHash('sha256');
  readonly #frames: number[] = [];
  #codec: ZstdCompress;
  #frameBytes = 0;
  #failure: Error | undefined;

  constructor(file: string) {
    this.#fd = openSync(file, 'wx', 0o600);
    this.#codec = this.#openCodec();
  }

  #openCodec(): ZstdCompress {
    const codec = createZstdCompress({
      chunkSize: 256 << 10,
      params: {
        [zlib.ZSTD_c_compressionLevel]: ZSTD_LEVEL,
        [zlib.ZSTD_c_windowLog]: PART_WINDOW_LOG,
      },
    });
    codec.on('data', (bytes: Buffer) => {
      this.#hash.update(bytes);
      this.#frameBytes += bytes.length;
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    });
    codec.on('error', (error) => {
      this.#failure = error;
    });
    return codec;
  }

  /** Takes bytes; {@link drained} is due now and then. */
  write(bytes: Uint8Array): void {
    this.#codec.write(bytes);
  }

  /** Waits until what was written is compressed, when it is much. */
  async drained(): Promise<void> {
    if (this.#codec.writableNeedDrain) await once(this.#codec, 'drain');
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Ends the frame: what comes next can be decoded without it. */
  async endFrame(): Promise<void> {
    await this.#end();
    this.#codec = this.#openCodec();
  }

  async #end(): Promise<void> {
    this.#codec.end();
    await once(this.#codec, 'end');
    this.#codec.destroy();
    this.#frames.push(this.#frameBytes);
    this.#frameBytes = 0;
  }

  /** Ends the part, of a tar of so many bytes. */
  async finish(tarBytes: number): Promise<DeltaPart> {
    await this.#end();
    const digest = parseDigest(`sha256:${this.#hash.digest('hex')}`);
    const sizeBytes = this.#frames.reduce((sum, bytes) => sum + bytes, 0);
    return { digest, sizeBytes, frames: this.#frames, tarBytes };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#codec.destroy();
    closeSync(this.#fd);
    await Promise.resolve();
  }
}
