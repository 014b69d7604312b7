import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { lstatSync, mkdirSync, readdirSync, readlinkSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { type ByteString, byteString, toBytes } from '../../src/formats/byte-string.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { mountImage } from '../../src/store/layers/layer-images.ts';
import { imageOf, type NestedNode } from '../support/erofs.ts';
import { temporaryFolder } from '../support/temp.ts';

/** Images of names, as the kernel and the tools of EROFS see them. */

const sys = openSyscalls();
const SHARED = { name: 'trusted.shared', value: Buffer.from('by many') };

/** Mounts the image of a tree for `look`. */
function withMounted(root: NestedNode, look: (mountPoint: string) => void): void {
  using folder = temporaryFolder('erofs');
  const image = path.join(folder.path, 'image');
  const mountPoint = path.join(folder.path, 'mnt');
  mkdirSync(mountPoint);
  writeFileSync(image, imageOf(root, randomBytes(16), [SHARED]));
  execFileSync('fsck.erofs', [image], { stdio: 'pipe' });
  mountImage(sys, image, mountPoint);
  try {
    look(mountPoint);
  } finally {
    sys.umount(mountPoint);
  }
}

const bytes = (max: number): fc.Arbitrary<ByteString> =>
  fc
    .oneof(
      { weight: 4, arbitrary: fc.uint8Array({ minLength: 1, maxLength: 12 }) },
      fc.uint8Array({ minLength: 1, maxLength: max }),
    )
    .map((raw) => byteString(raw.map((byte) => (byte === 0 ? 1 : byte))));
const name = bytes(255).map((text) => `n${text.replaceAll('/', '_').slice(0, 254)}` as ByteString);
const xattr = fc.record({
  name: fc.stringMatching(/^(trusted|user)\.[a-z]{1,30}$/),
  value: fc.uint8Array({ maxLength: 300 }).map((raw) => Buffer.from(raw)),
});
const common = fc.record({
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
  gid: fc.integer({ min: 0, max: 2 ** 32 - 2 }),
  mtime: fc.record({
    sec: fc.integer({ min: -(2 ** 31), max: 2 ** 33 }),
    nsec: fc.integer({ min: 0, max: 999_999_999 }),
  }),
  xattrs: fc.uniqueArray(fc.oneof(xattr, fc.constant(SHARED)), {
    maxLength: 4,
    selector: (each) => each.name,
  }),
});
const NONE = { link: '' as ByteString, sizeBytes: 0, major: 0, minor: 0 };
const kind = fc.oneof(
  fc.record({
    kind: fc.constant('file' as const),
    sizeBytes: fc.integer({ min: 0, max: 2 ** 40 }),
  }),
  fc.record({ kind: fc.constant('symlink' as const), link: bytes(4095) }),
  fc.record({
    kind: fc.constantFrom('char' as const, 'block' as const),
    major: fc.integer({ min: 1, max: 0xfff }),
    minor: fc.integer({ min: 0, max: 0xfffff }),
  }),
  fc.record({ kind: fc.constant('fifo' as const) }),
);
const leaf = fc.tuple(kind, common).map(([own, more]): NestedNode => {
  // The kernel shows no attributes of users on what is no file.
  const xattrs = more.xattrs.filter(
    (each) => own.kind === 'file' || each.name.startsWith('trusted'),
  );
  return { ...NONE, ...more, ...own, xattrs, children: new Map() };
});
const { tree } = fc.letrec<{ tree: NestedNode }>((tie) => ({
  tree: fc
    .tuple(
      common,
      fc.array(fc.tuple(name, fc.oneof({ maxDepth: 4 }, leaf, tie('tree'))), { maxLength: 12 }),
      fc.boolean(),
    )
    .map(([more, children, isLinked]): NestedNode => {
      const all = new Map(children);
      const file = [...all.values()].find((node) => node.kind === 'file');
      if (isLinked && file !== undefined) all.set('another name' as ByteString, file);
      return { ...NONE, ...more, kind: 'directory', children: all };
    }),
}));

test('what the kernel shows of an image is the tree that it was made of', () => {
  fc.assert(
    fc.property(tree, (root) => {
      const names = new Map<NestedNode, number>();
      const count = (node: NestedNode): void => {
        names.set(node, (names.get(node) ?? 0) + 1);
        for (const child of node.children.values()) count(child);
      };
      count(root);
      withMounted(root, (mountPoint) => check(root, Buffer.from(mountPoint), names));
    }),
    { numRuns: 60 },
  );
});

const TYPES = { file: 8, directory: 4, symlink: 10, char: 2, block: 6, fifo: 1 } as const;

function check(node: NestedNode, at: Buffer, names: ReadonlyMap<NestedNode, number>): void {
  const stats = lstatSync(at, { bigint: true });
  const { mode, uid, gid, mtime, major, minor } = node;
  const children = [...node.children.values()];
  const folders = children.filter((child) => child.kind === 'directory').length;
  assert.deepEqual(
    {
      ...{ type: Number(stats.mode) >> 12, mode: Number(stats.mode) & 0o7777 },
      ...{ uid: Number(stats.uid), gid: Number(stats.gid), mtimeNs: stats.mtimeNs },
      ...{ links: Number(stats.nlink), device: Number(stats.rdev) },
    },
    {
      ...{ type: TYPES[node.kind], mode, uid, gid },
      mtimeNs: BigInt(mtime.sec) * 1_000_000_000n + BigInt(mtime.nsec),
      links: node.kind === 'directory' ? 2 + folders : names.get(node),
      device: (minor & 0xff) + major * 0x100 + (minor >>> 8) * 0x10_0000,
    },
  );
  if (node.kind === 'file') assert.equal(Number(stats.size), node.sizeBytes);
  if (node.kind === 'symlink') {
    assert.equal(byteString(readlinkSync(at, { encoding: 'buffer' })), node.link);
  }
  const place = Buffer.concat([at, Buffer.of(0)]);
  const listed = sys.llistxattr(place).toSorted();
  assert.deepEqual(listed, node.xattrs.map((each) => each.name).toSorted());
  for (const each of node.xattrs) {
    assert.deepEqual(Buffer.from(sys.lgetxattr(place, each.name) ?? []), each.value);
  }
  if (node.kind !== 'directory') return;
  const seen = readdirSync(at, { encoding: 'buffer' }).map((each) => byteString(each));
  assert.deepEqual(seen.toSorted(), [...node.children.keys()].toSorted());
  for (const [each, child] of node.children) {
    check(child, Buffer.concat([at, Buffer.from('/'), toBytes(each)]), names);
  }
}

test('attributes of every kind, directories of many blocks, and many names of one file', () => {
  const hex = (text: string): Buffer => Buffer.from(text, 'hex');
  const xattrs = [
    { name: 'security.capability', value: hex('0100000200040000000000000000000000000000') },
    {
      name: 'system.posix_acl_access',
      value: hex(
        '020000000100060 0ffffffff02000700e8030000040004 00ffffffff10000700ffffffff20000400ffffffff'.replaceAll(
          ' ',
          '',
        ),
      ),
    },
    { name: 'trusted.x', value: Buffer.alloc(5000, 'long') },
    { name: 'user.empty', value: Buffer.alloc(0) },
  ];
  const none = { uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 }, link: '' as ByteString };
  const leaf = { ...none, mode: 0o664, sizeBytes: 0, major: 0, minor: 0 };
  const file: NestedNode = { ...leaf, kind: 'file', xattrs, children: new Map() };
  const names = Array.from(
    { length: 5000 },
    (_, i) => `${i}`.padEnd((i * 7) % 256, '\xff') as ByteString,
  );
  const many = new Map(names.map((name) => [name, file]));
  const directory = (children: NestedNode['children']): NestedNode => ({
    ...leaf,
    kind: 'directory',
    ...{ mode: 0o755, xattrs: [], children },
  });
  // One after the other, so that each length of a directory's last block comes about.
  const sizes = Array.from({ length: 400 }, (_, i): [ByteString, NestedNode] => [
    `d${i}` as ByteString,
    directory(new Map(names.slice(0, i).map((name) => [name, file]))),
  ]);
  const root = directory(new Map([['many' as ByteString, directory(many)], ...sizes]));
  withMounted(root, (mountPoint) => {
    const list = (name: string): string[] =>
      readdirSync(path.join(mountPoint, name), 'latin1').toSorted();
    assert.deepEqual(list('many'), names.toSorted());
    for (const [name, { children }] of sizes)
      assert.deepEqual(list(name), [...children.keys()].toSorted());
    const at = path.join(mountPoint, 'many/0');
    assert.deepEqual(
      sys.llistxattr(at).toSorted(),
      xattrs.map(({ name }) => name),
    );
    for (const { name, value } of xattrs)
      assert.deepEqual(Buffer.from(sys.lgetxattr(at, name) ?? []), value);
    assert.equal(statSync(at).nlink, 5000 + (399 * 400) / 2);
    assert.equal(statSync(mountPoint).nlink, 2 + 401);
  });
});
