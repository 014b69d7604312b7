import { firstBytes, prepend, stillOpen } from '../base/first-bytes.ts';
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
  const head = await firstBytes(chunks, MAGIC_BYTES);
  const whole = prepend(head, stillOpen(chunks, signal));
  yield* inflateStream(whole, detectCompression(Buffer.concat(head)));
}
