import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { StdcopyReader, type StdStream, stdcopyFrame } from './stdcopy.ts';

const frames = fc.array(
  fc.tuple(fc.constantFrom<StdStream>('stdin', 'stdout', 'stderr', 'systemerr'), fc.uint8Array()),
);

test('frames come back whatever way the bytes are cut', () => {
  fc.assert(
    fc.property(frames, fc.array(fc.integer({ min: 1, max: 20 })), (wanted, cuts) => {
      const bytes = Buffer.concat(wanted.map(([stream, data]) => stdcopyFrame(stream, data)));
      const reader = new StdcopyReader();
      const out: Record<string, Buffer[]> = {};
      let at = 0;
      for (const step of [...cuts, bytes.length]) {
        for (const piece of reader.push(bytes.subarray(at, at + step))) {
          const list = out[piece.stream] ?? [];
          out[piece.stream] = list;
          list.push(piece.bytes);
        }
        at += step;
        if (at >= bytes.length) break;
      }
      assert.ok(reader.atBoundary);
      for (const stream of ['stdin', 'stdout', 'stderr', 'systemerr']) {
        const expected = wanted.filter(([each]) => each === stream).map(([, data]) => data);
        assert.deepEqual(Buffer.concat(out[stream] ?? []), Buffer.concat(expected));
      }
    }),
  );
});

test('bytes that are no frame are refused', () => {
  assert.throws(
    () => new StdcopyReader().push(Buffer.from('HTTP/1.1 ')),
    /unrecognized stream: 72/,
  );
});

test('a cut frame is noticed', () => {
  const reader = new StdcopyReader();
  reader.push(stdcopyFrame('stdout', Buffer.from('abc')).subarray(0, 10));
  assert.equal(reader.atBoundary, false);
});
