import { crc32 } from 'node:zlib';

/**
 * A sum of the first bytes of a packed layer. Packers differ from their first block on, so whoever
 * has the layer unpacked finds out cheaply whether it can make the very blob again.
 */
const HEAD_BYTES = 8 << 10;

export class BlobHead {
  #bytes = 0;
  #sum = 0;

  #push(chunk: Uint8Array): void {
    const part = chunk.subarray(0, HEAD_BYTES - this.#bytes);
    this.#bytes += part.length;
    this.#sum = crc32(part, this.#sum);
  }

  /** What more comes does not count. */
  get isFull(): boolean {
    return this.#bytes === HEAD_BYTES;
  }

  /** Of what has come, which is all that counts or the whole blob. */
  get sum(): number {
    return this.#sum;
  }

  /** The chunks themselves, which are those of a blob from its beginning. */
  async *noting<T extends Uint8Array>(chunks: AsyncIterable<T>): AsyncGenerator<T> {
    for await (const chunk of chunks) {
      if (!this.isFull) this.#push(chunk);
      yield chunk;
    }
  }
}
