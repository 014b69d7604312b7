import { Readable } from 'node:stream';
import type { ByteStream } from '../call.ts';

/**
 * `OK`, with the headers that clients negotiate by. `Builder-Version: 1` says that there is no
 * BuildKit. The server adds the rest.
 */
export async function systemPing(): Promise<ByteStream> {
  const body = Buffer.from('OK');
  return {
    contentType: 'text/plain; charset=utf-8',
    headers: {
      'Builder-Version': '1',
      'Cache-Control': 'no-cache, no-store, must-revalidate',
      Pragma: 'no-cache',
      Swarm: 'inactive',
      'Content-Length': String(body.length),
    },
    body: Readable.from([body], { objectMode: false }),
  };
}
