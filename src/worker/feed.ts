import { type Readable, Writable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { RunningJob } from './job.ts';

/**
 * Sends a client's bytes to a job's stdin. The pieces of `body` are nobody else's: each one's memory
 * is given back as soon as the pipe has it. Left to the garbage collector, which such pieces hardly
 * press, 20 MB of them gather while 100 are sent.
 */
export async function feedJob(
  body: Readable,
  job: Pick<RunningJob, 'stdin'>,
  signal: AbortSignal,
): Promise<void> {
  const feeder = new Writable({
    write: (piece: Buffer, _encoding, done) => {
      job.stdin.write(piece, (error) => {
        release(piece);
        done(error);
      });
    },
    final: (done) => {
      job.stdin.end(done);
    },
  });
  // Also while the client sends nothing: it may wait for an answer.
  job.stdin.once('close', () => feeder.destroy());
  await pipeline(body, feeder, { signal });
}

/** Empties a buffer that has its memory to itself. */
function release({ buffer, length }: Buffer): void {
  if (buffer instanceof ArrayBuffer && buffer.byteLength === length) buffer.transfer(0);
}
