import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../base/limits.ts';
import type { ByteString } from './byte-string.ts';
import { NameTree } from './name-tree.ts';
import type { TarEntry } from './tar-entry.ts';

function symlink(path: string, link: string): TarEntry {
  const none = '' as ByteString;
  const time = { sec: 0, nsec: 0 };
  return {
    ...{ kind: 'symlink', path: path as ByteString, link: link as ByteString, mode: 0o777 },
    ...{ uid: 0, gid: 0, uname: none, gname: none, mtime: time, atime: time },
    ...{ sizeBytes: 0, storedBytes: 0, segments: undefined, major: 0, minor: 0, xattrs: [] },
  };
}

/** How many such entries one takes. */
function taken(link: string): number {
  const names = new NameTree();
  for (let i = 0; ; i += 1) {
    const entry = symlink(`${i}`, link);
    if (!names.takes(entry)) return i;
    names.add(entry, undefined);
  }
}

test('what is kept in memory is limited, by number and by bytes', () => {
  assert.equal(taken('x'), LIMITS.layerImageNamesMax);
  const few = taken('y'.repeat(4000));
  assert.ok(few > 4000 && few <= LIMITS.layerImageBytesMax / 4000, `${few}`);
});

test('a file of more attributes than an image counts is left to a tree', () => {
  const withAttributes = (count: number): TarEntry => {
    const xattrs = Array.from({ length: count }, (_, i) => ({
      name: `user.${i}`,
      value: Buffer.from('x'),
    }));
    return { ...symlink('f', ''), kind: 'file', xattrs };
  };
  const names = new NameTree();
  assert.equal(names.takes(withAttributes(200)), true);
  assert.equal(names.takes(withAttributes(201)), false);
});

test('entries come back in an order in which they can be made', () => {
  const names = new NameTree();
  for (const path of ['a/b/c', 'a/d', 'e']) names.add(symlink(path, 'x'), undefined);
  const hard = { ...symlink('a/hard', 'e'), kind: 'hardlink' } as const;
  assert.ok(names.takes(hard));
  names.add(hard, undefined);
  const made = [...names.entries()].map(({ entry }) => [entry.kind, entry.path, entry.link]);
  assert.deepEqual(made, [
    ['symlink', 'a/b/c', 'x'],
    ['symlink', 'a/d', 'x'],
    ['symlink', 'a/hard', 'x'],
    ['hardlink', 'e', 'a/hard'],
  ]);
});
