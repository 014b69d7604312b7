import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import type { ByteString } from './byte-string.ts';
import { encodeErofs } from './erofs.ts';
import { type ErofsNode, ErofsTree } from './erofs-tree.ts';

/** What the kernel makes of images is tried in test/integration/erofs.test.ts. */

const NODE = {
  ...{ kind: 'file', mode: 0o4755, uid: 70_000, gid: 5, link: '' as ByteString },
  ...{ sizeBytes: 5_000_000_000, major: 0, minor: 0, xattrs: [] },
  mtime: { sec: -5_000_000_000, nsec: 123_456_789 },
} as const satisfies ErofsNode;
const COMMON = { name: 'trusted.common', value: Buffer.from('by many') };

function name(text: string): ByteString {
  return text as ByteString;
}

/** Some of all that there is, and enough of it for many pieces. */
function sample(): ErofsTree {
  const directory = { ...NODE, kind: 'directory', sizeBytes: 0 } as const;
  const tree = new ErofsTree({ ...directory, mode: 0o1777, xattrs: [COMMON] });
  const own = { name: 'user.own', value: Buffer.alloc(65_000, 'long') };
  const file = tree.add(0, name('file'), { ...NODE, xattrs: [own, COMMON] });
  tree.add(0, name('.-before-..'), { ...NODE, xattrs: [COMMON, own] });
  for (let i = 0; i < 300; i += 1) {
    const at = tree.add(0, name(`d${i}`.padEnd(3 + (i % 250), '\xff')), directory);
    const link = name('t'.repeat(1 + i * 13));
    tree.add(at, name('link'), { ...NODE, kind: 'symlink', sizeBytes: 0, link });
    const numbers = { major: i * 13, minor: i * 3000, sizeBytes: 0 };
    tree.add(at, name('char'), { ...NODE, kind: 'char', ...numbers });
    tree.add(at, name('block'), { ...NODE, kind: 'block', ...numbers });
    tree.add(at, name('fifo'), { ...NODE, kind: 'fifo', sizeBytes: 0 });
    for (let other = 0; other < i; other += 1) tree.addLink(at, name(`!${other}`), file);
  }
  return tree;
}

test('the same tree is the same image, in pieces of at most 64 KiB', () => {
  const hash = createHash('sha256');
  let bytes = 0;
  encodeErofs(sample(), { id: Buffer.alloc(16, 7), common: [COMMON] }, (piece) => {
    assert.ok(piece.length <= 65_536);
    hash.update(piece);
    bytes += piece.length;
  });
  assert.deepEqual(
    [bytes, hash.digest('hex')],
    [1_835_008, 'a46caf83537dcf8427eb69949af4354b4d264f92b1b43b3d8a9bf479566248bb'],
  );
});

test('names are found again, and none that are not there', () => {
  const tree = sample();
  const text = name('x/file/d7\xff/link');
  assert.equal(tree.find(0, text, 2, 6), 3);
  assert.equal(tree.find(0, name('fil')), undefined);
  const directory = tree.find(0, name('d7'.padEnd(10, '\xff')));
  assert.ok(directory !== undefined);
  assert.equal(tree.find(directory, name('!3')), 3);
  assert.equal(tree.find(directory, name('!7')), undefined);
  assert.equal(tree.find(0, name('link')), undefined);
  const link = tree.find(directory, text, 11);
  assert.ok(link !== undefined);
  assert.deepEqual(tree.get(link), {
    ...{ ...NODE, kind: 'symlink', sizeBytes: 0 },
    link: 't'.repeat(92),
  });
});
