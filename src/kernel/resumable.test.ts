import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { constants, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { badGzips } from './gzip.fixture.ts';
import { type InflatePoint, ResumableInflater } from './resumable-inflate.ts';
import { ResumableSha256 } from './resumable-sha256.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

test('a digest goes on from its state', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 500 }), fc.nat(500), (bytes, cut) => {
      const first = ResumableSha256.open();
      assert(first);
      first.update(bytes.subarray(0, cut));
      const second = ResumableSha256.open(first.state());
      second?.update(bytes.subarray(cut));
      assert.equal(second?.digest().toString('hex'), sha256(bytes));
    }),
  );
});

type Kept = { readonly point: InflatePoint };

/** Inflates in chunks of a size; keeps every point where it could be gone on from. */
function inflate(source: Buffer, chunkBytes: number, from?: InflatePoint) {
  const output: Buffer[] = [];
  const points: Kept[] = [];
  using inflater = ResumableInflater.open({
    onOutput: (bytes) => output.push(Buffer.from(bytes)),
    onBlock: () => points.push({ point: inflater?.point() ?? assert.fail() }),
    ...(from === undefined ? {} : { from }),
  });
  assert(inflater);
  for (let at = from?.inputBytes ?? 0; at < source.length; at += chunkBytes) {
    inflater.push(source.subarray(at, at + chunkBytes));
  }
  inflater.end();
  return { output: Buffer.concat(output), points };
}

/** Text that takes many blocks: half of it is left after compression. */
const text = (bytes: number): Buffer =>
  Buffer.from(Array.from({ length: bytes / 64 }, (_, i) => sha256(Buffer.from(`${i}`))).join(''));

const SOURCES: readonly (readonly [what: string, plain: Buffer, packed: Buffer])[] = [
  ['text', text(900_000), gzipSync(text(900_000))],
  ['what does not compress', randomBytes(400_000)],
  ['fast', text(700_000), gzipSync(text(700_000), { level: 1 })],
  ['stored', text(200_000), gzipSync(text(200_000), { level: 0 })],
  [
    'fixed codes',
    text(20_000),
    gzipSync(text(20_000), { strategy: constants.Z_FIXED, memLevel: 1 }),
  ],
  [
    'several members and padding',
    Buffer.concat([text(300_000), text(100), text(200_000)]),
    Buffer.concat([
      gzipSync(text(300_000)),
      gzipSync(text(100)),
      gzipSync(text(200_000)),
      Buffer.alloc(700),
    ]),
  ],
].map(([what, plain, packed]) => [
  what as string,
  plain as Buffer,
  (packed as Buffer | undefined) ?? gzipSync(plain as Buffer),
]);

for (const [what, plain, packed] of SOURCES) {
  test(`gzip of ${what} goes on from every block`, () => {
    const whole = inflate(packed, 65_536);
    assert(whole.output.equals(plain));
    assert(whole.points.length > 0);
    assert.deepEqual(inflate(packed, 1_000).output.equals(plain), true);
    for (const { point } of whole.points) {
      const rest = inflate(packed, 10_000, point);
      assert(rest.output.equals(plain.subarray(point.outputBytes)), `from ${point.inputBytes}`);
      // Points of what was gone on with are as good.
      const points = whole.points.map((each) => each.point.inputBytes);
      const later = rest.points.map((each) => each.point.inputBytes);
      assert.deepEqual(later, points.slice(points.length - later.length));
    }
  });
}

test('what is no gzip, damaged or cut off is refused in the usual words', () => {
  for (const [bytes, words] of badGzips(gzipSync(text(100_000)))) {
    assert.throws(
      () => inflate(bytes, 4_096),
      (error) => isEngineError(error, 'dataLoss') && words.test(error.message),
    );
  }
});
