import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Lru } from './lru.ts';

test('the value that was used longest ago goes first', () => {
  const dropped: string[] = [];
  const made: number[] = [];
  const lru = new Lru<number, string>(2, (value) => dropped.push(value));
  const get = (key: number): string =>
    lru.get(key, () => {
      made.push(key);
      return `v${key}`;
    });
  assert.deepEqual([1, 2, 1, 3, 1, 2].map(get), ['v1', 'v2', 'v1', 'v3', 'v1', 'v2']);
  assert.deepEqual(made, [1, 2, 3, 2]);
  assert.deepEqual(dropped, ['v2', 'v3']);
  lru.clear();
  assert.deepEqual(dropped, ['v2', 'v3', 'v1', 'v2']);
});
