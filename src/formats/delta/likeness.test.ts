import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { SourceIndex } from './layer-encoder.ts';
import { pathWithoutVersion } from './likeness.ts';

const noise = (seed: string, bytes: number): Buffer =>
  createHash('shake256', { outputLength: bytes }).update(seed).digest();

function indexOf(files: Readonly<Record<string, Buffer>>): SourceIndex {
  return new SourceIndex(
    Object.entries(files).map(([path, content]) => ({
      path,
      head: new Uint8Array(512),
      digest: createHash('sha256').update(content).digest('hex'),
      contentBytes: content.length,
      read: () => content,
    })),
  );
}

test('paths of two versions agree without their numbers and hashes', () => {
  for (const [a, b] of [
    ['pkg@5.8.2/lib/a.js', 'pkg@5.10.13/lib/a.js'],
    ['static/main.3fa9bc21.js', 'static/main.77d0e1f2.js'],
    ['libicu.so.72', 'libicu.so.76'],
  ] as const) {
    assert.equal(pathWithoutVersion(a), pathWithoutVersion(b));
  }
  assert.notEqual(pathWithoutVersion('lib/one.js'), pathWithoutVersion('lib/two.js'));
});

test('a file under a new name is made from what it was, not from the first that has parts of it', () => {
  const content = noise('table', 400_000);
  const index = indexOf({
    'a.db': Buffer.concat([noise('other', 200_000), content.subarray(0, 100_000)]),
    'table-97ac.csv': noise('unlike', 300_000),
    'old/table.csv': content,
  });
  const changed = Buffer.concat([content, noise('more', 1000)]);
  assert.deepEqual(index.candidates('table-b4f1.csv', changed), [2]);
});

test('a file whose path has other content now is made from where its content was', () => {
  const [one, two] = [noise('1', 100_000), noise('2', 100_000)];
  const index = indexOf({ 'chunk-1.js': one, 'chunk-2.js': two });
  const next = Buffer.concat([two, Buffer.from('// changed')]);
  assert.deepEqual(index.candidates('chunk-1.js', next), [1]);
  assert.deepEqual(index.candidates('chunk-2.js', next), [1]);
  // Nothing is alike: what has the path is as good as anything.
  assert.ok(index.candidates('chunk-1.js', noise('3', 100_000)).includes(0));
});
