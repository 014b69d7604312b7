import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EngineError } from '../../base/errors.ts';
import {
  decodeHead,
  encodeHead,
  HEAD_COLUMNS,
  HEADER_BYTES,
  type HeadReaders,
  type HeadWriters,
  NO_HEAD,
} from './head-codec.ts';
import { ReferenceOrder } from './order.ts';
import { ByteReader, ByteWriter } from './varint.ts';

const writers = (): HeadWriters =>
  Object.fromEntries(HEAD_COLUMNS.map((name) => [name, new ByteWriter()])) as HeadWriters;
const readers = (columns: HeadWriters): HeadReaders =>
  Object.fromEntries(
    HEAD_COLUMNS.map((name) => [name, new ByteReader(columns[name].finish())]),
  ) as unknown as HeadReaders;

/** A header as GNU tar writes it. */
function header(name: string, mtime: number, sizeBytes = 0): Uint8Array {
  const block = Buffer.alloc(HEADER_BYTES);
  block.write(name, 0);
  block.write('0000644\0', 100);
  block.write('0000000\0', 108);
  block.write('0000000\0', 116);
  block.write(`${sizeBytes.toString(8).padStart(11, '0')}\0`, 124);
  block.write(`${mtime.toString(8).padStart(11, '0')}\0`, 136);
  block.write('        ', 148);
  block.write('0ustar  \0', 156);
  const sum = block.reduce((a, b) => a + b, 0);
  block.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148);
  return block;
}

test('a rebuild that only touches times costs two bytes an entry before compression', () => {
  const columns = writers();
  let previous = NO_HEAD;
  for (let i = 0; i < 100; i++) {
    const head = header(`src/file-${i}.js`, 2_000_000, i);
    encodeHead(columns, head, header(`src/file-${i}.js`, 1_000_000, i), previous);
    previous = head;
  }
  const bytes = HEAD_COLUMNS.reduce((sum, name) => sum + columns[name].length, 0);
  assert.ok(bytes < 100 * 4 + 40, `${bytes} bytes`);
  assert.equal(columns.others.length, 12); // the first time, against no entry before
});

test('whatever the heads, they come back', () => {
  const head = fc.oneof(
    fc
      .tuple(fc.stringMatching(/^[a-z/]{0,20}$/), fc.nat(), fc.nat())
      .map(([n, t, s]) => header(n, t, s)),
    fc.uint8Array({ minLength: HEADER_BYTES, maxLength: HEADER_BYTES }),
    fc
      .tuple(fc.uint8Array({ maxLength: 60 }), fc.nat())
      .map(([extension, t]) => Buffer.concat([extension, header('long', t)])),
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(head, head), { maxLength: 6 }), (pairs) => {
      const columns = writers();
      let previous = NO_HEAD;
      for (const [each, reference] of pairs) {
        encodeHead(columns, each, reference, previous);
        previous = each;
      }
      const from = readers(columns);
      previous = NO_HEAD;
      for (const [each, reference] of pairs) {
        const got = decodeHead(from, reference, previous);
        assert.deepEqual(Buffer.from(got), Buffer.from(each));
        previous = got;
      }
      for (const name of HEAD_COLUMNS) assert.ok(from[name].atEnd, name);
    }),
  );
});

test('hostile columns give a head or one error', () => {
  fc.assert(
    fc.property(
      fc.array(fc.uint8Array({ maxLength: 40 }), { minLength: 6, maxLength: 6 }),
      (bytes) => {
        const from = Object.fromEntries(
          HEAD_COLUMNS.map((name, i) => [name, new ByteReader(bytes[i] ?? new Uint8Array())]),
        ) as unknown as HeadReaders;
        try {
          assert.ok(decodeHead(from, header('a', 1), NO_HEAD).length >= HEADER_BYTES);
        } catch (error) {
          assert.ok(error instanceof EngineError && error.kind === 'dataLoss', String(error));
        }
      },
    ),
    { numRuns: 2000 },
  );
});

test('references come back in any order, and cost nothing in the same order', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.nat({ max: 60 }), { maxLength: 40 }), (indexes) => {
      const encoder = new ReferenceOrder(61);
      const distances = indexes.map((index) => encoder.distanceTo(index));
      const decoder = new ReferenceOrder(61);
      assert.deepEqual(
        distances.map((distance) => decoder.entryAt(distance)),
        indexes,
      );
      assert.equal(decoder.left, 61 - indexes.length);
    }),
  );
  const inOrder = new ReferenceOrder(10);
  assert.deepEqual(
    [0, 1, 2, 5, 6, 9].map((index) => inOrder.distanceTo(index)),
    [0, 0, 0, 2, 0, 2],
  );
  assert.throws(() => new ReferenceOrder(3).entryAt(3), /refers beyond the base/);
});
