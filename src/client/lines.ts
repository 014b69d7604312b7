import type { Readable } from 'node:stream';
import { internal } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';

/**
 * The JSON values of a stream that has one on each line (`\n` or `\r\n`). Ending the loop early
 * ends the stream.
 * @throws internal for a line that is not JSON or longer than LIMITS.jsonBodyBytesMax
 */
export async function* jsonLines<T>(body: Readable): AsyncGenerator<T, void, undefined> {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  for await (const chunk of body as AsyncIterable<Buffer>) {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(0x0a, start);
      if (end < 0) break;
      pending.push(chunk.subarray(start, end));
      const line = pending.length === 1 ? pending[0] : Buffer.concat(pending);
      pending = [];
      pendingBytes = 0;
      start = end + 1;
      const value = parseLine<T>(line?.toString() ?? '');
      if (value !== undefined) yield value;
    }
    if (start < chunk.length) {
      pending.push(chunk.subarray(start));
      pendingBytes += chunk.length - start;
    }
    if (pendingBytes > LIMITS.jsonBodyBytesMax) {
      throw internal('cannot read the answer: a line is too long');
    }
  }
  const value = parseLine<T>(Buffer.concat(pending).toString());
  if (value !== undefined) yield value;
}

function parseLine<T>(line: string): T | undefined {
  const text = line.trim();
  if (text === '') return undefined;
  try {
    return JSON.parse(text) as T;
  } catch (cause) {
    throw internal(`cannot read the answer: "${text.slice(0, 100)}" is not JSON`, { cause });
  }
}
