import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  closeSync,
  existsSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { openLayerFuzz } from '../../fuzz/layer.ts';
import { type DiffId, type Digest, parseDigest } from '../../src/base/digest.ts';
import { byteString, fromText } from '../../src/formats/byte-string.ts';
import {
  encodeTarHeader,
  type NewTarEntry,
  TAR_END,
  tarPadding,
} from '../../src/formats/tar-writer.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { layerTar as exactTar } from '../../src/store/layers/layer-tar.ts';
import { type ExtractOptions, extractLayer } from '../../src/worker/extract.ts';
import type { ExtractedLayer } from '../../src/worker/layer-extraction.ts';
import { digestOf, type LayerEntry, layerTar } from '../support/images.ts';
import { chunksOf } from '../support/layers.ts';
import { temporaryFolder } from '../support/temp.ts';

const sys = openSyscalls();

type Made = Disposable & {
  readonly layer: ExtractedLayer;
  /** Path of something in the layer. */
  readonly at: (name: string) => string;
};

async function extract(
  bytes: Uint8Array,
  options: Partial<ExtractOptions> & { chunkBytes?: number } = {},
): Promise<Made> {
  const folder = temporaryFolder('extract');
  try {
    const directory = path.join(folder.path, 'layer');
    const layer = await extractLayer({
      ...{ sys, directory, expected: {}, origin: undefined },
      source: chunksOf(bytes, options.chunkBytes),
      signal: new AbortController().signal,
      ...options,
    });
    const rebuilt = createHash('sha256');
    for (const chunk of exactTar({ sys, ...layer })) rebuilt.update(chunk);
    assert.equal(`sha256:${rebuilt.digest('hex')}`, layer.diffId);
    const at = (name: string): string => path.join(directory, 'diff', name);
    return { layer, at, [Symbol.dispose]: () => folder[Symbol.dispose]() };
  } catch (error) {
    folder[Symbol.dispose]();
    throw error;
  }
}

async function extractEntries(...entries: readonly LayerEntry[]): Promise<Made> {
  return await extract(await layerTar(entries));
}

/** A tar of our own writer, for what tar-stream cannot write. */
function rawTar(...entries: readonly (NewTarEntry & { readonly content?: string })[]): Buffer {
  const parts = entries.map(({ content = '', ...entry }) => {
    const sizeBytes = Buffer.byteLength(content);
    const header = encodeTarHeader({ ...entry, sizeBytes });
    return Buffer.concat([header, Buffer.from(content), tarPadding(sizeBytes)]);
  });
  return Buffer.concat([...parts, TAR_END]);
}

const FILE = { mode: 0o644, kind: 'file' } as const;

test('every kind of entry comes out with owner, mode, times and attributes', async () => {
  const mtime = { sec: 1_600_000_000, nsec: 123_456_789 };
  const owner = { uid: 1234, gid: 4321 };
  const capability = Buffer.from('0100000200200000000000000000000000000000', 'hex');
  using made = await extract(
    rawTar(
      { kind: 'directory', path: fromText('d'), mode: 0o2775, mtime, ...owner },
      { ...FILE, path: fromText('d/f'), content: 'text', mode: 0o4755, mtime, ...owner },
      {
        ...FILE,
        path: fromText('d/cap'),
        mtime,
        uid: 7,
        xattrs: [{ name: 'security.capability', value: capability }],
      },
      { kind: 'hardlink', path: fromText('h'), link: fromText('d/f'), mode: 0o4755 },
      {
        kind: 'symlink',
        path: fromText('s'),
        link: fromText('/d/f'),
        mode: 0o777,
        mtime,
        ...owner,
      },
      { kind: 'char', path: fromText('null'), mode: 0o666, major: 1, minor: 3, mtime },
      { kind: 'block', path: fromText('b'), mode: 0o660, major: 259, minor: 70_000, mtime },
      { kind: 'fifo', path: fromText('p'), mode: 0o622, mtime, ...owner },
    ),
  );
  const { at } = made;
  const facts = (name: string): unknown[] => {
    const stats = lstatSync(at(name), { bigint: true });
    return [Number(stats.mode & 0o7777n).toString(8), Number(stats.uid), Number(stats.gid)];
  };
  assert.deepEqual(facts('d'), ['2775', 1234, 4321]);
  assert.deepEqual(facts('d/f'), ['4755', 1234, 4321]);
  // Not the group of a setgid directory, but the archive's.
  assert.deepEqual(facts('d/cap'), ['644', 7, 0]);
  assert.deepEqual(facts('p'), ['622', 1234, 4321]);
  assert.deepEqual(facts('null'), ['666', 0, 0]);
  assert.deepEqual(facts('s').slice(1), [1234, 4321]);
  for (const name of ['d', 'd/f', 'd/cap', 's', 'null', 'p']) {
    const { mtimeNs } = lstatSync(at(name), { bigint: true });
    assert.equal(mtimeNs, 1_600_000_000_123_456_789n, name);
  }
  assert.equal(statSync(at('h')).ino, statSync(at('d/f')).ino);
  assert.equal(readlinkSync(at('s')), '/d/f');
  assert.equal(statSync(at('null')).rdev, (1 << 8) | 3);
  assert.deepEqual(
    Buffer.from(sys.lgetxattr(at('d/cap'), 'security.capability') ?? []),
    capability,
  );
  assert.equal(made.layer.diskBytes, 4);
});

test('a directory has its time although more is put into it later, and again', async () => {
  const mtime = new Date(1_000_000_000_000);
  const many = Array.from({ length: 600 }, (_, i) => ({
    name: `d${i}`,
    type: 'directory' as const,
    mtime,
  }));
  const inside = many.map(({ name }) => ({ name: `${name}/f`, content: 'x' }));
  using made = await extractEntries(
    ...many,
    ...inside,
    ...inside.map((e) => ({ ...e, name: `${e.name}2` })),
  );
  for (const { name } of many) assert.equal(statSync(made.at(name)).mtimeMs, mtime.getTime());
});

test('whiteouts become what overlayfs reads', async () => {
  using made = await extractEntries(
    { name: 'a/.wh.gone', content: '' },
    { name: 'opaque/', type: 'directory' },
    { name: 'opaque/.wh..wh..opq', content: 'with a body' },
    { name: '.wh..wh.plnk', content: 'of aufs' },
    { name: '.wh.later', content: '' },
    { name: 'later', type: 'directory' },
    { name: 'sooner', type: 'directory' },
    { name: '.wh.sooner', content: '' },
    { name: 'file', content: 'stays' },
    { name: '.wh.file', content: '' },
  );
  const { at } = made;
  const gone = lstatSync(at('a/gone'));
  assert.ok(gone.isCharacterDevice());
  assert.equal(gone.rdev, 0);
  for (const name of ['opaque', 'later', 'sooner']) {
    assert.equal(
      Buffer.from(sys.lgetxattr(at(name), 'trusted.overlay.opaque') ?? []).toString(),
      'y',
    );
  }
  assert.equal(readFileSync(at('file'), 'utf8'), 'stays');
  assert.deepEqual(readdirSync(at('')).sort(), ['a', 'file', 'later', 'opaque', 'sooner']);
});

test('what would leave the layer is kept in it or refused', async () => {
  using outside = temporaryFolder('outside');
  const victim = path.join(outside.path, 'victim');
  writeFileSync(victim, 'untouched');
  using made = await extractEntries(
    { name: 'abs', type: 'symlink', linkname: outside.path },
    { name: 'abs/victim', content: 'written' },
    { name: 'up', type: 'symlink', linkname: `../../../../../../../../..${outside.path}` },
    { name: 'up/victim2', content: 'written' },
    { name: '/etc/abs-name', content: 'x' },
    { name: 'a/./b//../c', content: 'x' },
    { name: 'proc', type: 'symlink', linkname: '/proc/self/root' },
    { name: 'loop', type: 'symlink', linkname: 'loop' },
  );
  assert.equal(readFileSync(victim, 'utf8'), 'untouched');
  assert.deepEqual(readdirSync(outside.path), ['victim']);
  assert.equal(readFileSync(made.at(`${outside.path}/victim`), 'utf8'), 'written');
  assert.equal(readFileSync(made.at(`${outside.path}/victim2`), 'utf8'), 'written');
  assert.ok(existsSync(made.at('etc/abs-name')));
  assert.ok(existsSync(made.at('a/c')));
});

const link = (name: string, linkname: string): LayerEntry => ({ name, type: 'link', linkname });
const REFUSED: readonly [string, LayerEntry[], RegExp][] = [
  [
    'a name that climbs out',
    [{ name: '../x', content: '' }],
    /^invalid tar entry "..\/x": it leaves/,
  ],
  ['one that does so later', [{ name: 'a/../../x', content: '' }], /it leaves the layer$/],
  ['a hard link out', [link('x', '../../etc/passwd')], /^invalid tar entry "..\/..\/etc\/passwd"/],
  [
    'a hard link to nothing',
    [link('x', 'absent')],
    /^failed to register layer: link \/absent \/x: no such file or directory$/,
  ],
  [
    'a hard link through a symlink to the host',
    [{ name: 's', type: 'symlink', linkname: '/etc' }, link('x', 's/passwd')],
    /^failed to register layer: link \/s\/passwd \/x: no such file/,
  ],
  [
    'a symlink in place of the root',
    [{ name: './', type: 'symlink', linkname: '/etc' }],
    /^invalid tar entry "\/": the root of a layer is a directory$/,
  ],
  [
    'a file as a folder',
    [
      { name: 'f', content: 'x' },
      { name: 'f/g', content: 'y' },
    ],
    /^invalid tar entry below "f": it is not a directory$/,
  ],
  [
    'a loop of symlinks as a folder',
    [
      { name: 'l', type: 'symlink', linkname: 'l' },
      { name: 'l/x', content: '' },
    ],
    /^invalid tar entry below "l": it is not a directory$/,
  ],
  [
    'a name of 300 bytes',
    [{ name: 'n'.repeat(300), content: '' }],
    /^failed to register layer: file \/n+: file name too long$/,
  ],
  ['a whiteout of the folder above', [{ name: 'a/.wh...', content: '' }], /^invalid whiteout/],
  [
    'two thousand levels',
    [{ name: `${'d/'.repeat(2000)}x`, content: '' }],
    /^tar entry 2001 directories deep; at most 1024 work$/,
  ],
];

for (const [name, entries, message] of REFUSED) {
  test(`${name} is refused`, async () => {
    await assert.rejects(extractEntries(...entries), (error: Error) => message.test(error.message));
  });
}

test('a later entry replaces an earlier one, and the exact tar still comes back', async () => {
  using made = await extractEntries(
    { name: 'f', content: 'first' },
    { name: 'f', content: 'second' },
    { name: 'd/', type: 'directory' },
    { name: 'd/inside', content: 'in a folder' },
    { name: 'd/deep/x', content: 'deeper' },
    { name: 'd', type: 'symlink', linkname: 'e' },
    { name: 'd/inside', content: 'elsewhere' },
    { name: 'f', type: 'directory' },
    { name: 'g', content: 'linked' },
    { name: 'h', type: 'link', linkname: 'g' },
    { name: 'g', content: 'changed' },
    { name: 'g', type: 'link', linkname: 'g' },
  );
  const { at } = made;
  assert.ok(statSync(at('f')).isDirectory());
  assert.equal(readlinkSync(at('d')), 'e');
  assert.equal(readFileSync(at('e/inside'), 'utf8'), 'elsewhere');
  assert.equal(readFileSync(at('g'), 'utf8'), 'changed');
  assert.equal(readFileSync(at('h'), 'utf8'), 'linked');
});

test('attributes that steer overlayfs are left out', async () => {
  using made = await extractEntries(
    { name: 'd', type: 'directory', pax: { 'SCHILY.xattr.trusted.overlay.redirect': '/etc' } },
    { name: 'f', content: '', pax: { 'SCHILY.xattr.trusted.overlay.metacopy': '' } },
    { name: 'g', content: '', pax: { 'SCHILY.xattr.user.kept': 'v' } },
  );
  assert.deepEqual(sys.llistxattr(made.at('d')), []);
  assert.deepEqual(sys.llistxattr(made.at('f')), []);
  assert.deepEqual(sys.llistxattr(made.at('g')), ['user.kept']);
});

test('names that are not UTF-8 are kept byte for byte', async () => {
  const name = Buffer.from('caf\xe9', 'latin1');
  using made = await extract(
    rawTar(
      { kind: 'directory', path: byteString(name), mode: 0o755 },
      { ...FILE, path: byteString(Buffer.concat([name, Buffer.from('/x')])), content: 'y' },
    ),
  );
  const [found] = readdirSync(made.at(''), { encoding: 'buffer' });
  assert.deepEqual(found, name);
});

/** GNU tar's own archives of one tree, by format. */
function gnuTars(folder: string): [string, Buffer][] {
  const tree = path.join(folder, 'tree');
  mkdirSync(path.join(tree, 'sub', 'n'.repeat(120)), { recursive: true });
  writeFileSync(path.join(tree, 'sub', 'n'.repeat(120), 'f'.repeat(90)), 'long');
  writeFileSync(path.join(tree, 'a'), 'a'.repeat(70_000));
  const sparse = openSync(path.join(tree, 'sparse'), 'w');
  for (let i = 0; i < 40; i += 1) writeSync(sparse, `segment ${i}`, i * 100_000);
  closeSync(sparse);
  truncateSync(path.join(tree, 'sparse'), 5_000_001);
  writeFileSync(path.join(tree, 'hole'), '');
  truncateSync(path.join(tree, 'hole'), 1_000_000);
  execFileSync('ln', [path.join(tree, 'a'), path.join(tree, 'linked')]);
  const make = (...args: string[]): Buffer =>
    execFileSync('tar', ['-cf', '-', ...args, '-C', folder, 'tree'], { maxBuffer: 1 << 26 });
  return [
    ['gnu', make('--format=gnu')],
    ['oldgnu', make('--format=oldgnu')],
    ['pax', make('--format=pax')],
    ['sparse gnu', make('--format=gnu', '-S')],
    ['sparse pax 0.0', make('--format=pax', '-S', '--sparse-version=0.0')],
    ['sparse pax 0.1', make('--format=pax', '-S', '--sparse-version=0.1')],
    ['sparse pax 1.0', make('--format=pax', '-S', '--sparse-version=1.0')],
    ['ustar', make('--format=ustar', '--exclude=n*')],
    ['v7', make('--format=v7', '--exclude=n*')],
  ];
}

test('the archives of GNU tar come out as they went in, and back to the byte', async () => {
  using folder = temporaryFolder('gnu');
  const tree = path.join(folder.path, 'tree');
  for (const [name, tar] of gnuTars(folder.path)) {
    using made = await extract(tar);
    assert.equal(made.layer.diffId, digestOf(tar), name);
    for (const file of ['a', 'sparse', 'hole']) {
      const same = readFileSync(made.at(`tree/${file}`)).equals(
        readFileSync(path.join(tree, file)),
      );
      assert.ok(same, `${file} of ${name}`);
    }
    assert.equal(statSync(made.at('tree/linked')).ino, statSync(made.at('tree/a')).ino);
    if (name.startsWith('sparse')) assert.ok(statSync(made.at('tree/sparse')).blocks * 512 < 1e6);
  }
});

const CONTENT: readonly LayerEntry[] = [
  { name: 'a', content: Buffer.alloc(700_000, 'abc') },
  { name: 'b', content: Buffer.from(Array.from({ length: 50_000 }, (_, i) => (i * 7919) & 255)) },
];

for (const [name, squeeze] of [
  ['plain', (bytes: Uint8Array) => bytes],
  ['gzip', (bytes: Uint8Array) => gzipSync(bytes)],
  [
    'gzip of two members',
    (b: Uint8Array) => Buffer.concat([gzipSync(b.subarray(0, 999)), gzipSync(b.subarray(999))]),
  ],
  ['zstd', (bytes: Uint8Array) => zstdCompressSync(bytes)],
] as const) {
  for (const [way, how] of [
    ['the codec itself', {}],
    ['one thread', { withoutThread: true }],
    ['streams', { withoutSyncInflate: true }],
  ] as const) {
    test(`a layer comes as ${name}, by ${way}, with both digests`, async () => {
      const tar = await layerTar(CONTENT);
      const bytes = squeeze(tar);
      using made = await extract(bytes, {
        ...how,
        chunkBytes: 3000,
        expected: {
          digest: digestOf(bytes) as Digest,
          sizeBytes: bytes.length,
          diffId: digestOf(tar) as DiffId,
        },
      });
      assert.equal(made.layer.tarBytes, tar.length);
      assert.equal(made.layer.diskBytes, 750_000);
    });

    test(`damage to ${name}, by ${way}, is one clear error`, async () => {
      const tar = await layerTar(CONTENT);
      const bytes = Buffer.from(squeeze(tar));
      const digest = parseDigest(digestOf(bytes));
      const verification = `filesystem layer verification failed for digest ${digest}`;
      const flipped = Buffer.from(bytes);
      flipped[bytes.length >> 1] = (flipped[bytes.length >> 1] ?? 0) ^ 0x55;
      const sizes = { digest, sizeBytes: bytes.length };
      for (const damaged of [
        flipped,
        bytes.subarray(0, -7),
        bytes.subarray(0, 5),
        Buffer.alloc(0),
        Buffer.concat([bytes, Buffer.from('x')]),
        Buffer.alloc(bytes.length, 'garbage'),
      ]) {
        const options = { ...how, expected: sizes };
        await assert.rejects(extract(damaged, options), { message: verification });
      }
      const expected = { diffId: `sha256:${'0'.repeat(64)}` as DiffId };
      await assert.rejects(extract(bytes, { ...how, expected }), {
        message: "layers from manifest don't match image configuration",
      });
      if (name !== 'plain') {
        await assert.rejects(extract(bytes.subarray(0, -7), how), {
          message: 'unexpected EOF',
        });
      }
    });
  }
}

test('a layer that is not a tar although its digest is right is the tar’s error', async () => {
  const bytes = gzipSync(Buffer.alloc(3000, 'no tar'));
  const expected = { digest: parseDigest(digestOf(bytes)) };
  await assert.rejects(extract(bytes, { expected }), {
    message: 'archive/tar: invalid tar header',
  });
});

test('a full disk is one clear error', async () => {
  using folder = temporaryFolder('full');
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', folder.path]);
  try {
    const tar = await layerTar([{ name: 'big', content: Buffer.alloc(3 << 20, 1) }]);
    const extraction = extractLayer({
      ...{ sys, expected: {}, origin: undefined },
      directory: path.join(folder.path, 'layer'),
      source: chunksOf(tar),
      signal: new AbortController().signal,
    });
    await assert.rejects(extraction, {
      message: 'failed to register layer: write /big: no space left on device',
    });
  } finally {
    execFileSync('umount', [folder.path]);
  }
});

test('five hundred hostile layers come out whole or are refused, and touch nothing else', async () => {
  await using fuzz = openLayerFuzz();
  let whole = 0;
  for (let seed = 0; seed < 500; seed += 1) if (await fuzz.run(seed)) whole += 1;
  assert.ok(whole > 50 && whole < 450, `${whole} came out`);
});

test('a small blob that unpacks to very much is refused before it takes memory or disk', async () => {
  const zeros = gzipSync(Buffer.alloc(64 << 20));
  assert(zeros.length < 100_000);
  await assert.rejects(extract(zeros), {
    kind: 'invalidArgument',
    message: 'archive with more than 16777216 bytes after its last entry',
  });
});
