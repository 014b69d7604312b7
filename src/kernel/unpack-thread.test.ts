import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { gunzipSync, gzipSync } from 'node:zlib';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { badGzips } from './gzip.fixture.ts';
import { ResumableSha256 } from './resumable-sha256.ts';
import { type UnpackPlace, type UnpackStart, UnpackThread } from './unpack-thread.ts';

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

const stateOf = (bytes: Uint8Array): Buffer => {
  const hash = ResumableSha256.open() ?? assert.fail();
  hash.update(bytes);
  return hash.state();
};

const digestOf = (state: Buffer): string =>
  ResumableSha256.open(state)?.digest().toString('hex') ?? assert.fail();

const BEGINNING: UnpackStart = {
  ...{ blobState: stateOf(Buffer.alloc(0)), plainState: stateOf(Buffer.alloc(0)) },
  ...{ hashedBytes: 0, knownBytes: 0, isChecked: true },
};

/** Unpacks `source` in chunks; asks for a place to go on from before each. */
function unpack(source: Buffer, chunkBytes: number, start: UnpackStart = BEGINNING) {
  const output: Buffer[] = [];
  const places: UnpackPlace[] = [];
  const keep = (place: UnpackPlace | undefined): void => {
    if (place !== undefined) places.push(place);
  };
  using thread = UnpackThread.open(start, (bytes) => output.push(Buffer.from(bytes)));
  assert(thread);
  for (let at = 0; at < source.length; at += chunkBytes) {
    thread.wantPlace();
    thread.push(source.subarray(at, at + chunkBytes));
    keep(thread.place());
  }
  thread.end();
  keep(thread.place());
  const { blob, plain } = thread.states();
  return { output: Buffer.concat(output), places, blob: digestOf(blob), plain: digestOf(plain) };
}

/** Text that takes many blocks: half of it is left after compression. */
const text = (bytes: number): Buffer =>
  Buffer.from(Array.from({ length: bytes / 64 }, (_, i) => sha256(Buffer.from(`${i}`))).join(''));

const members = [text(300_000), text(100), randomBytes(200_000)];
const PLAIN: readonly (readonly [what: string, plain: Buffer, packed: Buffer])[] = [
  ['text', text(3_000_000), gzipSync(text(3_000_000))],
  ['what packs to almost nothing', Buffer.alloc(5_000_000), gzipSync(Buffer.alloc(5_000_000))],
  [
    'several members and padding',
    Buffer.concat(members),
    Buffer.concat([...members.map((each) => gzipSync(each)), Buffer.alloc(700)]),
  ],
];

for (const [what, plain, packed] of PLAIN) {
  test(`gzip of ${what} is unpacked and hashed on its thread, and gone on with`, () => {
    for (const chunkBytes of [1_000, 65_536, packed.length]) {
      const whole = unpack(packed, chunkBytes);
      assert(whole.output.equals(plain));
      assert.equal(whole.blob, sha256(packed));
      assert.equal(whole.plain, sha256(plain));
      for (const { point, hashState } of whole.places) {
        const known = plain.subarray(0, point.outputBytes);
        const from = {
          ...BEGINNING,
          blobState: hashState,
          plainState: stateOf(known),
          from: point,
        };
        const rest = unpack(packed.subarray(point.inputBytes), 10_000, from);
        assert(rest.output.equals(plain.subarray(point.outputBytes)), `from ${point.inputBytes}`);
        assert.equal(rest.blob, sha256(packed));
        assert.equal(rest.plain, sha256(plain));
      }
    }
  });
}

test('points between blocks are found while text comes', () => {
  const packed = gzipSync(text(3_000_000));
  assert(unpack(packed, 10_000).places.length > 1);
});

test('bytes that were hashed or unpacked before are not again', () => {
  const plain = text(500_000);
  const packed = gzipSync(plain);
  const [place] = unpack(packed, 10_000).places;
  assert(place);
  const { point } = place;
  fc.assert(
    fc.property(fc.nat(point.inputBytes), fc.nat(3_000), (begin, hashedBytes) => {
      const blobState = stateOf(packed.subarray(0, begin + hashedBytes));
      const plainState = stateOf(plain.subarray(0, point.outputBytes));
      const knownBytes = point.inputBytes - begin;
      const start = { blobState, plainState, hashedBytes, knownBytes, from: point };
      const rest = unpack(packed.subarray(begin), 5_000, { ...start, isChecked: true });
      assert.equal(rest.plain, sha256(plain));
      assert.equal(rest.blob, sha256(packed));
    }),
    { numRuns: 20 },
  );
});

test('what is no gzip, damaged or cut off is refused in the usual words, and hashed to its end', () => {
  for (const [bytes, words] of badGzips(gzipSync(text(1_000_000)))) {
    using thread = UnpackThread.open(BEGINNING, () => undefined);
    assert(thread);
    let failure: unknown;
    for (let at = 0; at < bytes.length; at += 4_096) {
      const chunk = bytes.subarray(at, at + 4_096);
      try {
        if (failure === undefined) thread.push(chunk);
        else thread.onlyHash(chunk);
      } catch (error) {
        failure = error;
      }
    }
    if (failure === undefined) assert.throws(() => thread.end(), words);
    else assert(isEngineError(failure, 'dataLoss') && words.test(failure.message));
    assert.equal(digestOf(thread.states().blob), sha256(bytes));
  }
});

test('a consumer that fails gets the digest all the same, and may leave at any time', () => {
  const packed = gzipSync(text(5_000_000));
  using thread = UnpackThread.open(BEGINNING, () => assert.fail('the disk is full'));
  assert.throws(() => {
    thread?.push(packed);
    thread?.end();
  }, /the disk is full/);
  assert.equal(digestOf(thread?.states().blob ?? assert.fail()), sha256(packed));

  using abandoned = UnpackThread.open(BEGINNING, () => undefined);
  abandoned?.push(packed.subarray(0, 300_000));
});

test('check sums of gzip are left alone where digests prove the bytes', () => {
  const packed = gzipSync(text(100_000));
  packed[packed.length - 6] = (packed[packed.length - 6] ?? 0) ^ 1;
  assert.throws(() => unpack(packed, 4_096), /gzip: invalid checksum/);
  const { output } = unpack(packed, 4_096, { ...BEGINNING, isChecked: false });
  assert(output.equals(text(100_000)));
});

test('whatever comes is unpacked as zlib does, or refused, and its digest is right', () => {
  const packed = gzipSync(Buffer.concat([text(40_000), randomBytes(3_000)]));
  const hit = fc.record({ at: fc.nat(packed.length - 1), byte: fc.integer({ min: 0, max: 255 }) });
  const chunk = fc.integer({ min: 1, max: 5_000 });
  fc.assert(
    fc.property(fc.array(hit, { maxLength: 3 }), chunk, fc.boolean(), (hits, bytes, isCut) => {
      const source = Buffer.from(isCut ? packed.subarray(0, hits[0]?.at ?? 0) : packed);
      for (const { at, byte } of hits) if (at < source.length) source[at] = byte;
      let expected: Buffer | undefined;
      try {
        expected = gunzipSync(source);
      } catch {
        // refused by zlib
      }
      const output: Buffer[] = [];
      let at = 0;
      using thread = UnpackThread.open(BEGINNING, (piece) => output.push(Buffer.from(piece)));
      assert(thread);
      try {
        for (at = 0; at < source.length; ) {
          const piece = source.subarray(at, at + bytes);
          at += piece.length;
          thread.push(piece);
        }
        thread.end();
        assert(expected?.equals(Buffer.concat(output)));
      } catch (error) {
        assert(isEngineError(error, 'dataLoss'), String(error));
        assert(expected === undefined);
        thread.onlyHash(source.subarray(at));
      }
      assert.equal(digestOf(thread.states().blob), sha256(source));
    }),
    { numRuns: 300 },
  );
});
