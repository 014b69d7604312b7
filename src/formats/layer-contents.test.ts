import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { fromText } from './byte-string.ts';
import {
  type ContentRecord,
  decodeLayerContents,
  LayerContentsWriter,
  placeSum,
} from './layer-contents.ts';

const sum = fc.nat({ max: 2 ** 32 - 1 });
const record = fc.record({
  sum,
  place: sum,
  group: fc.constantFrom('', 'abcdefgh', '22222222', 'zzzz7777'),
  number: sum,
  bytes: fc.maxSafeNat(),
});

function read(file: Buffer): ContentRecord[] {
  const contents = decodeLayerContents(file);
  return Array.from({ length: contents.count }, (_, i) => contents.at(i));
}

test('contents come back in order, with the groups they use', () => {
  fc.assert(
    fc.property(fc.array(record, { maxLength: 300 }), (records) => {
      const writer = new LayerContentsWriter();
      for (const each of records) writer.add(each);
      const file = writer.encode();
      assert.deepEqual(
        read(file),
        records.map((each) => ({ ...each, isLinked: false })),
      );
      const groups = new Set(records.map(({ group }) => group).filter((group) => group !== ''));
      assert.deepEqual(new Set(decodeLayerContents(file).groups), groups);
    }),
  );
});

test('a file that hard links lead to is marked', () => {
  const writer = new LayerContentsWriter();
  const of = (name: string) => ({
    ...{ sum: 1, group: '', number: 1, bytes: 5 },
    place: placeSum(fromText(name)),
  });
  writer.add(of('a'));
  writer.add(of('b'));
  writer.linked(fromText('b'));
  assert.deepEqual(
    read(writer.encode()).map(({ isLinked }) => isLinked),
    [false, true],
  );
});

test('a damaged file is refused, whatever is wrong with it', () => {
  const writer = new LayerContentsWriter();
  for (let i = 0; i < 50; i += 1) {
    writer.add({ sum: i * 77_777, place: i, group: 'abcdefgh', number: i, bytes: i });
  }
  const good = writer.encode();
  const change = fc.record({
    at: fc.nat({ max: good.length - 1 }),
    by: fc.integer({ min: 1, max: 255 }),
  });
  fc.assert(
    fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), fc.nat(30), (changes, cut) => {
      const bad = Buffer.from(good.subarray(0, good.length - cut));
      for (const { at, by } of changes) if (at < bad.length) bad[at] = (bad[at] ?? 0) ^ by;
      try {
        read(bad);
      } catch (error) {
        assert.ok(isEngineError(error, 'dataLoss'), String(error));
      }
    }),
  );
  for (let cut = 1; cut < good.length; cut += 7) {
    assert.throws(() => read(good.subarray(0, good.length - cut)), { kind: 'dataLoss' });
  }
});
