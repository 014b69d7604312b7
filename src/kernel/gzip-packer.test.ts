import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { gzipped, gzippedByStream } from './gzip-packer.ts';

async function packed(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of source) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

const text = (bytes: number): Buffer =>
  Buffer.from(randomBytes(Math.ceil(bytes / 2)).toString('hex')).subarray(0, bytes);

test('whatever comes, packed or not, in pieces of any size, comes out of gunzip again', async () => {
  const chunk = fc.record({
    kind: fc.constantFrom('noise', 'text', 'zeros'),
    bytes: fc.oneof(
      fc.integer({ min: 1, max: 600_000 }),
      fc.constantFrom(1, 65_535, 65_536, 262_144),
    ),
  });
  const effort = fc.constantFrom('quick', 'small');
  await fc.assert(
    fc.asyncProperty(fc.array(chunk, { maxLength: 8 }), effort, async (wishes, how) => {
      const chunks = wishes.map(({ kind, bytes }) =>
        kind === 'noise' ? randomBytes(bytes) : kind === 'text' ? text(bytes) : Buffer.alloc(bytes),
      );
      const whole = Buffer.concat(chunks);
      const first = await packed(gzipped(chunks, how));
      assert(gunzipSync(first).equals(whole));
      assert(first.equals(await packed(gzipped(chunks, how))), 'the same bytes each time');
      assert(gunzipSync(await packed(gzippedByStream(chunks, how))).equals(whole));
    }),
    { numRuns: 40 },
  );
});

test('what is packed is stored, and all else is as small as gzip makes it', async () => {
  const noise = Array.from({ length: 16 }, () => randomBytes(256 << 10));
  const sizeOf = async (chunks: Buffer[]): Promise<number> =>
    (await packed(gzipped(chunks))).length;
  assert((await sizeOf(noise)) < (4 << 20) * 1.001);
  const before = process.cpuUsage();
  await sizeOf(noise);
  const stored = process.cpuUsage(before).user;
  const again = process.cpuUsage();
  gzipSync(Buffer.concat(noise), { level: 5 });
  const squeezed = process.cpuUsage(again).user;
  assert(stored < squeezed / 2, `${stored} µs stored, ${squeezed} µs squeezed`);
  const texts = Array.from({ length: 8 }, () => text(256 << 10));
  const best = gzipSync(Buffer.concat(texts), { level: 6 }).length;
  assert((await sizeOf(texts)) < best * 1.02);
});

test('what is to be small is not larger than the best of gzip, whatever it looks like', async () => {
  // A few zeros in noise: evenly spread enough to pass for packed.
  const nearly = (): Buffer =>
    Buffer.from(randomBytes(256 << 10).map((byte, i) => (i % 48 === 0 ? 0 : byte)));
  const chunks = Array.from({ length: 8 }, nearly);
  assert((await packed(gzipped(chunks, 'quick'))).length > 8 * (256 << 10), 'it is stored');
  const best = gzipSync(Buffer.concat(chunks), { level: 9 }).length;
  assert((await packed(gzipped(chunks, 'small'))).length <= best);
});

test('a source that fails, and a reader that goes away, end it', async () => {
  const failing = function* (): Generator<Buffer> {
    yield randomBytes(300_000);
    throw new Error('the disk is gone');
  };
  await assert.rejects(packed(gzipped(failing())), /the disk is gone/);
  await assert.rejects(packed(gzippedByStream(failing())), /the disk is gone/);
  let isClosed = false;
  const endless = function* (): Generator<Buffer> {
    try {
      for (;;) yield text(300_000);
    } finally {
      isClosed = true;
    }
  };
  for await (const piece of gzipped(endless())) {
    assert(piece.length > 0);
    break;
  }
  assert(isClosed);
});
