import { detectCompression, inflateStream, MAGIC_BYTES } from '../kernel/sync-inflate.ts';

/**
 * What a client sends without the compression around it, if there is one. A piece of `source` need
 * be valid only until the next is asked for; so are those that come of it.
 * @throws dataLoss when the compressed bytes are damaged or incomplete
 */
export async function* plainBytes(
  source: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
): AsyncGenerator<Buffer> {
  const chunks = source[Symbol.asyncIterator]();
  const head: Uint8Array[] = [];
  let bytes = 0;
  while (bytes < MAGIC_BYTES) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    head.push(Buffer.from(value));
    bytes += value.length;
  }
  const whole = async function* (): AsyncGenerator<Uint8Array> {
    yield* head;
    for (;;) {
      signal.throwIfAborted();
      const { value, done } = await chunks.next();
      if (done === true) return;
      yield value;
    }
  };
  yield* inflateStream(whole(), detectCompression(Buffer.concat(head)));
}
