import assert from 'node:assert/strict';
import { PassThrough, Readable } from 'node:stream';
import { test } from 'node:test';
import { feedJob } from './feed.ts';

const { signal } = new AbortController();

test('everything arrives, and only memory that belongs to a piece alone is given back', async () => {
  const whole = Buffer.alloc(300_000, 'whole');
  const shared = Buffer.alloc(10, 'shared-two');
  const pieces = [whole, shared.subarray(0, 7), shared.subarray(7)];
  const expected = Buffer.concat(pieces);
  // As a pipe does, it takes what it is given before it says so.
  const taken: Buffer[] = [];
  const stdin = new PassThrough({
    transform: (piece: Buffer, _encoding, done) => {
      taken.push(Buffer.from(piece));
      setImmediate(done);
    },
  });
  await feedJob(Readable.from(pieces), { stdin: stdin.resume() }, signal);
  assert.deepEqual(Buffer.concat(taken), expected);
  assert.deepEqual([whole.length, shared.toString()], [0, 'shared-two']);
});

test('a job that ends early ends the sending, in the middle of a piece and between two', async () => {
  for (const pieces of [[Buffer.alloc(1 << 20)], []]) {
    const body = new Readable({ read: () => undefined });
    for (const piece of pieces) body.push(piece);
    const stdin = new PassThrough().on('error', () => undefined);
    const sending = feedJob(body, { stdin }, signal);
    setImmediate(() => stdin.destroy(new Error('EPIPE')));
    await assert.rejects(sending, /EPIPE|premature/i);
  }
});
