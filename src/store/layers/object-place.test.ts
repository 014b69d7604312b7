import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { LIMITS } from '../../base/limits.ts';
import { bucketOf, objectPlace, parseObjectPlace, STAGED_OBJECTS } from './object-place.ts';

const group = fc.constantFrom('abcdefgh', '22222222', 'zzzz7777', STAGED_OBJECTS);
const number = fc.integer({ min: 1, max: LIMITS.layerContentsMax });

test('the place of an object says which one it is', () => {
  fc.assert(
    fc.property(fc.record({ group, number }), (object) => {
      assert.deepEqual(parseObjectPlace(objectPlace(object)), { ...object });
    }),
  );
});

test('objects that come after each other lie together, at most 64', () => {
  const buckets = new Map<string, number>();
  for (let i = 1; i <= 1000; i += 1) {
    buckets.set(bucketOf(i), (buckets.get(bucketOf(i)) ?? 0) + 1);
  }
  assert.equal(buckets.size, 16);
  assert.equal(Math.max(...buckets.values()), 64);
});

test('what is no place of an object is none', () => {
  const object = { group: 'abcdefgh', number: 1000 };
  const place = objectPlace(object);
  for (const other of [
    '',
    '/',
    `/${place}`,
    `${place}/`,
    `${place}0`,
    'abcdefgh/1000',
    'abcdefgh/16/1000',
    'abcdefgh/15/01000',
    'abcdefgh/../1000',
    'ABCDEFGH/15/1000',
    'abcdefg/15/1000',
    'abcdefgh/15/1000\n',
    'abcdefgh/15/99999999999999999999',
  ]) {
    assert.equal(parseObjectPlace(other), undefined, other);
  }
  const chars = fc.constantFrom(...'abz27/.0169-'.split(''));
  const text = fc.oneof(fc.string(), fc.string({ unit: chars, maxLength: 30 }));
  fc.assert(
    fc.property(text, (any) => {
      const found = parseObjectPlace(any);
      assert(found === undefined || objectPlace(found) === any);
    }),
  );
});
