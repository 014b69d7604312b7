/** For who has to look at the beginning of a stream before it knows what to do with the whole. */

/** The first chunks, copied, until they hold `least` bytes or the source ends. */
export async function firstBytes(
  chunks: AsyncIterator<Uint8Array>,
  least: number,
): Promise<Uint8Array[]> {
  const head: Uint8Array[] = [];
  let bytes = 0;
  while (bytes < least) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    head.push(Buffer.from(value));
    bytes += value.length;
  }
  return head;
}

/** The chunks that were taken to look at, and then the others. */
export async function* prepend(
  head: readonly Uint8Array[],
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* head;
  yield* rest;
}

/** The same chunks; who stops early leaves the rest to be had. */
export async function* stillOpen(
  chunks: AsyncIterator<Uint8Array>,
  signal?: AbortSignal,
): AsyncGenerator<Uint8Array> {
  for (;;) {
    signal?.throwIfAborted();
    const { value, done } = await chunks.next();
    if (done === true) return;
    yield value;
  }
}
