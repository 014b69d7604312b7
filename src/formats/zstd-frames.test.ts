import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { constants, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { ZstdFrames } from './zstd-frames.ts';

/** Where frames end, with the bytes in pieces of a size. */
function endsOf(bytes: Uint8Array, piece: number): number[] {
  const frames = new ZstdFrames();
  const ends: number[] = [];
  for (let start = 0; start < bytes.length; start += piece) {
    const chunk = bytes.subarray(start, start + piece);
    for (let at = 0; at < chunk.length; ) {
      const taken = frames.take(chunk.subarray(at));
      assert(taken > 0 && taken <= chunk.length - at);
      at += taken;
      if (frames.isAtEnd) ends.push(start + at);
    }
  }
  return ends;
}

const skippable = (content: Uint8Array): Buffer => {
  const head = Buffer.alloc(8);
  head.writeUInt32LE(0x184d2a53);
  head.writeUInt32LE(content.length, 4);
  return Buffer.concat([head, content]);
};

test('frames of every kind end where their encoder ended them, however the bytes are cut', () => {
  const { ZSTD_c_checksumFlag, ZSTD_c_contentSizeFlag } = constants;
  const frame = fc.record({
    kind: fc.constantFrom('random', 'same', 'text', 'skippable'),
    bytes: fc.oneof(fc.integer({ min: 0, max: 600 }), fc.integer({ min: 0, max: 400_000 })),
    checksum: fc.integer({ min: 0, max: 1 }),
    sized: fc.integer({ min: 0, max: 1 }),
  });
  fc.assert(
    fc.property(
      fc.array(frame, { minLength: 1, maxLength: 5 }),
      fc.oneof(fc.integer({ min: 1, max: 7 }), fc.integer({ min: 500, max: 1_000_000 })),
      (wishes, piece) => {
        const frames = wishes.map(({ kind, bytes, checksum, sized }) => {
          if (kind === 'skippable') return skippable(randomBytes(bytes));
          const content = kind === 'random' ? randomBytes(bytes) : Buffer.alloc(bytes, kind);
          const params = { [ZSTD_c_checksumFlag]: checksum, [ZSTD_c_contentSizeFlag]: sized };
          return zstdCompressSync(content, { params });
        });
        let end = 0;
        const expected = frames.map(({ length }) => (end += length));
        assert.deepEqual(endsOf(Buffer.concat(frames), piece), expected);
      },
    ),
    { numRuns: 150 },
  );
});

test('what is no zstd has no frames, and padding is none', () => {
  assert.deepEqual(endsOf(Buffer.alloc(5000), 100), []);
  const frame = zstdCompressSync(Buffer.from('x'));
  const padded = Buffer.concat([frame, Buffer.alloc(50)]);
  assert.deepEqual(endsOf(padded, 1), [frame.length]);
});
