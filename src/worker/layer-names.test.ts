import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { ByteString } from '../formats/byte-string.ts';
import { LayerNames } from './layer-names.ts';

const path = (text: string): ByteString => text as ByteString;

test('a name that was made is never said to be new, and nearly all others are', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'binary-ascii', maxLength: 3 })), (paths) => {
      const names = new LayerNames();
      const made = new Set<string>();
      for (const each of paths) {
        if (made.has(each)) assert(names.has(path(each)));
        else if (!names.has(path(each))) assert(names.take(path(each)));
        assert(!names.take(path(each)) || !made.has(each));
        made.add(each);
      }
    }),
  );
  const names = new LayerNames();
  let known = 0;
  for (let i = 0; i < 100_000; i += 1) if (!names.take(path(`usr/lib/${i}`))) known += 1;
  assert(known < 20, `${known} new names of 100,000 were taken for others`);
  for (let i = 0; i < 100_000; i += 1) assert(!names.take(path(`usr/lib/${i}`)));
});

test('of more names than there is memory for none is said to be new', () => {
  const names = new LayerNames();
  let news = 0;
  for (let i = 0; i < 600_000; i += 1) if (names.take(path(`${i}`))) news += 1;
  assert(news > 500_000 && news <= 2 ** 19 + 1, `${news} were new`);
  assert(!names.take(path('another')));
  assert(names.has(path('another')));
});
