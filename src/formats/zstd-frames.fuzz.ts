import assert from 'node:assert/strict';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { ZstdFrames } from './zstd-frames.ts';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 2);
const seed = process.env['FUZZ_SEED'];
const options = {
  numRuns: Number.POSITIVE_INFINITY,
  interruptAfterTimeLimit: seconds * 1000,
  ...(seed === undefined ? {} : { seed: Number(seed) }),
};

/** Whole and damaged frames, heads without their rest, noise. */
const stream = fc
  .array(
    fc.oneof(
      fc.uint8Array({ maxLength: 300 }).map((bytes) => zstdCompressSync(bytes)),
      fc.uint8Array({ maxLength: 40 }).map((bytes) => [0x28, 0xb5, 0x2f, 0xfd, ...bytes]),
      fc.uint8Array({ maxLength: 12 }).map((bytes) => [0x53, 0x2a, 0x4d, 0x18, ...bytes]),
      fc.uint8Array({ maxLength: 12 }),
    ),
    { maxLength: 8 },
  )
  .map((parts) => Buffer.concat(parts.map((part) => Buffer.from(part))));

/** Ends of frames, with the bytes cut at these places. */
function endsOf(bytes: Buffer, cuts: readonly number[]): number[] {
  const frames = new ZstdFrames();
  const ends: number[] = [];
  const places = [...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].sort(
    (a, b) => a - b,
  );
  let start = 0;
  for (const end of places) {
    while (start < end) {
      const taken = frames.take(bytes.subarray(start, end));
      assert(taken > 0 && taken <= end - start, `${taken} of ${end - start} were taken`);
      start += taken;
      if (frames.isAtEnd) ends.push(start);
    }
  }
  return ends;
}

test('any bytes are taken, and where frames end does not depend on how they are cut', () => {
  fc.assert(
    fc.property(stream, fc.array(fc.nat(3000), { maxLength: 20 }), (bytes, cuts) => {
      assert.deepEqual(endsOf(bytes, cuts), endsOf(bytes, []));
    }),
    options,
  );
});
