import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  renameSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import type { DiffId, Digest, ImageId } from '../../src/base/digest.ts';
import { S } from '../../src/kernel/constants.ts';
import { CWD, type Syscalls } from '../../src/kernel/syscalls.ts';
import { imageStore } from '../../src/store/images.ts';
import { layerTar as exactTar } from '../../src/store/layers/layer-tar.ts';
import { digestOf, type LayerEntry, layerTar } from './images.ts';
import { layerPair, treeOf } from './layer-samples.ts';
import type { OpenStore } from './layers.ts';
import { runOk } from './processes.ts';
import { temporaryFolder } from './temp.ts';

/**
 * What every storage driver owes, on every filesystem: the tests of one, on stores that `open` makes.
 */
/** A layer to lie below. */
export const BASE_LAYER: readonly LayerEntry[] = [
  { name: './', type: 'directory', mode: 0o751 },
  { name: 'etc', type: 'directory', mode: 0o700, uid: 5, gid: 6 },
  { name: 'etc/passwd', content: 'root' },
  { name: 'etc/old', content: 'gone soon' },
  { name: 'opt', type: 'directory' },
  { name: 'opt/a', content: 'a' },
  { name: 'opt/sub', type: 'directory' },
  { name: 'opt/sub/b', content: 'b' },
  { name: 'link', type: 'symlink', linkname: 'etc/passwd' },
  { name: 'file', content: 'becomes a directory' },
];
/** One that changes, hides and replaces what is in {@link BASE_LAYER}. */
export const TOP_LAYER: readonly LayerEntry[] = [
  { name: './', type: 'directory', mode: 0o755 },
  { name: 'etc/', type: 'directory', mode: 0o700, uid: 5, gid: 6 },
  { name: 'etc/.wh.old', content: '' },
  { name: 'etc/passwd', content: 'root and more', mode: 0o640 },
  { name: 'opt', type: 'directory' },
  { name: 'opt/.wh..wh..opq', content: '' },
  { name: 'opt/c', content: 'c' },
  { name: 'file', type: 'directory' },
  { name: 'file/inside', content: 'x' },
];

function filesBelow(root: string, relative = ''): string[] {
  return readdirSync(path.join(root, relative), { withFileTypes: true })
    .flatMap((entry) => {
      const below = path.join(relative, entry.name);
      return entry.isDirectory() ? [`${below}/`, ...filesBelow(root, below)] : [below];
    })
    .sort();
}

/** Overlay takes more, but Docker's images have at most this many. */
const LAYERS = 125;

/** Makes an image of layers, so that they are in use. */
export function addImage({ database }: OpenStore, layers: readonly DiffId[], hex = 'a'): ImageId {
  const id = `sha256:${hex.repeat(64)}` as ImageId;
  const images = imageStore(database);
  database.transaction(() =>
    images.addInTransaction({
      id,
      config: Buffer.from('{}'),
      diffIds: layers,
      sizeBytes: 0,
      createdMs: 0,
    }),
  );
  return id;
}

function removeImage({ database }: OpenStore, id: ImageId): void {
  database.transaction(() => imageStore(database).removeInTransaction(id));
}

/** Checks that the exact tar of a committed layer comes back. */
export function assertExact({ context, store }: OpenStore, diffId: DiffId): void {
  const directory = path.dirname(store.directoryOf(diffId));
  const chunks = [...exactTar({ sys: context.sys, directory, diffId })];
  assert.equal(digestOf(Buffer.concat(chunks)), diffId);
}

/** The suite. `open` gives an empty store. */
export function storageDriverSuite(open: () => Promise<OpenStore>): void {
  test('a container sees its layers as one tree and writes beside them', async () => {
    await using here = await open();
    const { store } = here;
    const layers = await here.add(await layerTar(BASE_LAYER), await layerTar(TOP_LAYER));
    await store.createRootfs('c1', layers);
    const { merged } = await store.mountRootfs('c1', layers);
    assert.deepEqual(filesBelow(merged), [
      ...['etc/', 'etc/passwd', 'file/', 'file/inside', 'link', 'opt/', 'opt/c'],
    ]);
    assert.equal(readFileSync(path.join(merged, 'link'), 'utf8'), 'root and more');
    assert.equal(readlinkSync(path.join(merged, 'link')), 'etc/passwd');
    const etc = statSync(path.join(merged, 'etc'));
    assert.deepEqual([etc.mode & 0o7777, etc.uid, etc.gid], [0o700, 5, 6]);
    assert.equal(statSync(merged).mode & 0o7777, 0o755);

    writeFileSync(path.join(merged, 'opt/c'), 'changed');
    writeFileSync(path.join(merged, 'new'), '12345');
    assert.equal(await store.rootfsSize('c1'), 12);
    await store.unmountRootfs('c1');
    assert.deepEqual(readdirSync(merged), []);
    await store.mountRootfs('c1', layers);
    assert.equal(readFileSync(path.join(merged, 'opt/c'), 'utf8'), 'changed');
    const [, top] = layers;
    assert.ok(top !== undefined);
    assert.equal(readFileSync(path.join(store.directoryOf(top), 'opt/c'), 'utf8'), 'c');

    await store.removeRootfs('c1');
    await here.settle();
    assert.deepEqual(readdirSync(path.join(here.context.dataRoot.containers, 'c1')), []);
    assert.equal(existsSync(merged), false);
  });

  test('every kind of file in a container is what it was where the layer was made', async () => {
    await using here = await open();
    using folder = temporaryFolder('kinds');
    const source = path.join(folder.path, 'tree');
    makeKinds(source, here.context.sys);
    const file = path.join(folder.path, 'layer.tar');
    const names = ['--xattrs', '--xattrs-include=*', '--format=pax', '--sparse'];
    await runOk('tar', [...names, '-C', source, '-cf', file, '.']);
    const layers = await here.add(readFileSync(file));
    for (const diffId of layers) assertExact(here, diffId);
    await here.store.createRootfs('c1', layers);
    const { merged } = await here.store.mountRootfs('c1', layers);
    assert.deepEqual(treeOf(here.context.sys, merged), treeOf(here.context.sys, source));
    const sparse = statSync(path.join(merged, 'sparse'));
    assert(sparse.blocks * 512 < 1 << 20, `${sparse.blocks} blocks of a file of holes`);
    await here.store.removeRootfs('c1');
  });

  test('a container renames folders and changes owners and modes of what its layers have', async () => {
    await using here = await open();
    const { store } = here;
    const layers = await here.add(await layerTar(BASE_LAYER), await layerTar(TOP_LAYER));
    await store.createRootfs('c1', layers);
    const { merged } = await store.mountRootfs('c1', layers);
    const at = (name: string): string => path.join(merged, name);
    chmodSync(at('etc/passwd'), 0o600);
    chownSync(at('link'), 0, 0);
    // Without `redirect_dir` overlay refuses this, and programs copy the folder instead.
    if (await canShareContents(here)) renameSync(at('etc'), at('moved'));
    else await runOk('mv', [at('etc'), at('moved')]);
    mkdirSync(at('etc'));
    writeFileSync(at('etc/passwd'), 'anew');
    for (const isAgain of [false, true]) {
      if (isAgain) {
        await store.unmountRootfs('c1');
        await store.mountRootfs('c1', layers);
      }
      assert.equal(readFileSync(at('moved/passwd'), 'utf8'), 'root and more');
      assert.equal(statSync(at('moved/passwd')).mode & 0o7777, 0o600);
      assert.deepEqual(readdirSync(at('etc')), ['passwd']);
      assert.equal(readFileSync(at('etc/passwd'), 'utf8'), 'anew');
    }
    for (const diffId of layers) assertExact(here, diffId);
    await store.removeRootfs('c1');
  });

  test('a container of 125 layers', async () => {
    await using here = await open();
    const { store } = here;
    const tars = Array.from({ length: LAYERS }, (_, i) =>
      layerTar([
        { name: 'd/', type: 'directory' },
        { name: `d/${i}`, content: `${i}` },
        { name: 'd/last', content: `${i}` },
      ]),
    );
    const layers = await here.add(...(await Promise.all(tars)));
    await store.createRootfs('c1', layers);
    const { merged } = await store.mountRootfs('c1', layers);
    assert.equal(readdirSync(path.join(merged, 'd')).length, LAYERS + 1);
    assert.equal(readFileSync(path.join(merged, 'd/last'), 'utf8'), `${LAYERS - 1}`);
    await store.removeRootfs('c1');
  });

  test('an image without layers gives an empty root', async () => {
    await using here = await open();
    await here.store.createRootfs('c1', []);
    const { merged } = await here.store.mountRootfs('c1', []);
    assert.deepEqual(readdirSync(merged), []);
    writeFileSync(path.join(merged, 'a'), 'b');
    await here.store.removeRootfs('c1');
  });

  test('mounting twice is mounting once', async () => {
    await using here = await open();
    const layers = await here.add(await layerTar(BASE_LAYER));
    await here.store.createRootfs('c1', layers);
    const { merged } = await here.store.mountRootfs('c1', layers);
    await here.store.mountRootfs('c1', layers);
    await here.store.unmountRootfs('c1');
    assert.deepEqual(readdirSync(merged), []);
    await here.store.unmountRootfs('c1');
  });

  test('layers go when no image and no container needs them', async () => {
    await using here = await open();
    const { store } = here;
    const [base, top] = await here.add(await layerTar(BASE_LAYER), await layerTar(TOP_LAYER));
    assert.ok(base !== undefined && top !== undefined);
    const image = addImage(here, [base, top]);
    assert.deepEqual(await store.collect(), []);
    await store.createRootfs('c1', [base]);
    removeImage(here, image);
    assert.deepEqual(await store.collect(), [top]);
    assert.equal(store.find(top), undefined);
    const { merged } = await store.mountRootfs('c1', [base]);
    assert.equal(readFileSync(path.join(merged, 'opt/a'), 'utf8'), 'a');
    await store.removeRootfs('c1');
    {
      using _held = store.hold([base]);
      assert.deepEqual(await store.collect(), []);
    }
    assert.deepEqual(await store.collect(), [base]);
    await here.settle();
    assert.deepEqual(readdirSync(here.context.dataRoot.layers), []);
    assert.deepEqual(readdirSync(here.context.dataRoot.staging), []);
  });

  test('a layer that is here is not kept twice, but where else it came from is', async () => {
    await using here = await open();
    const { store } = here;
    const tar = await layerTar(BASE_LAYER);
    const digest = `sha256:${'b'.repeat(64)}` as Digest;
    const blob = { digest, repository: 'docker.io/library/x', mediaType: 'm', sizeBytes: 5 };
    const [first, second] = [await here.stage(tar), await here.stage(tar)];
    await store.commit([first, { ...second, blob }], () => undefined);
    const third = await here.stage(tar);
    await store.commit([third], () => undefined);
    assert.equal(readdirSync(here.context.dataRoot.layers).length, 1);
    assert.equal(store.findByBlob(digest)?.diffId, first.diffId);
    assert.deepEqual(store.blobsOf(first.diffId), [{ ...blob, diffId: first.diffId }]);
    assert.equal(store.knownDigests()[digest], first.diffId);
  });

  test('a transaction that fails takes its layers with it', async () => {
    await using here = await open();
    const layer = await here.stage(await layerTar(BASE_LAYER));
    const commit = here.store.commit([layer], () => {
      throw new Error('no');
    });
    await assert.rejects(commit, /^Error: no$/);
    await here.settle();
    assert.equal(here.store.find(layer.diffId), undefined);
    assert.deepEqual(readdirSync(here.context.dataRoot.layers), []);
  });

  test('a container of a missing layer is not made', async () => {
    await using here = await open();
    const absent = `sha256:${'c'.repeat(64)}` as DiffId;
    await assert.rejects(here.store.createRootfs('c1', [absent]), /is not here: pull its image/);
    await here.settle();
    assert.equal(existsSync(path.join(here.context.dataRoot.containers, 'c1/upper')), false);
  });

  test('layers that share contents are the layers they would be without', async () => {
    await fc.assert(
      fc.asyncProperty(layerPair, async ([lower, upper]) => {
        const tars = [await layerTar(lower), await layerTar(upper)] as const;
        const trees: unknown[] = [];
        for (const isShared of [true, false]) {
          await using here = await open();
          // Contents are shared with layers that are committed.
          const staged = [await here.stage(tars[0])];
          if (isShared) await here.store.commit(staged, () => undefined);
          staged.push(await here.stage(tars[1]));
          await here.store.commit(staged, () => undefined);
          const layers = staged.map(({ diffId }) => diffId);
          for (const diffId of layers) assertExact(here, diffId);
          await here.store.createRootfs('c1', layers);
          const { merged } = await here.store.mountRootfs('c1', layers);
          trees.push(treeOf(here.context.sys, merged));
          await here.store.removeRootfs('c1');
          await here.settle();
        }
        assert.deepEqual(trees[0], trees[1]);
      }),
      { numRuns: 5 },
    );
  });

  test('a layer of known contents with new times costs next to nothing', async () => {
    await using here = await open();
    const content = randomBytes(300_000);
    const at = (mtime: Date) => layerTar([{ name: 'srv/data', content, mtime }]);
    await here.add(await at(new Date(1_600_000_000_000)));
    const staged = await here.stage(await at(new Date(1_700_000_000_000)));
    await here.store.commit([staged], () => undefined);
    assertExact(here, staged.diffId);
    const canShare = await canShareContents(here);
    assert.equal(staged.sharedBytes, canShare ? content.length : 0);
    assert.equal(staged.writtenBytes > content.length, !canShare);
  });
}

/** A tree with something of every kind, and names as long as they may be. */
function makeKinds(root: string, sys: Syscalls): void {
  const at = (name: string): string => path.join(root, name);
  const deep = Array.from({ length: 12 }, (_, i) => `${i}`.padEnd(200, 'x')).join('/');
  for (const name of ['', 'd', deep]) mkdirSync(at(name), { recursive: true });
  chmodSync(at('d'), 0o1777);
  writeFileSync(at('d/program'), 'a program', { mode: 0o755 });
  chownSync(at('d/program'), 3_000_000, 70_000);
  chmodSync(at('d/program'), 0o6755);
  const may = Buffer.from('0100000200040000000000000000000000000000', 'hex');
  sys.lsetxattr(at('d/program'), 'security.capability', may);
  sys.lsetxattr(at('d'), 'user.note', Buffer.from('of a folder'));
  linkSync(at('d/program'), at('d/its other name'));
  // xfs has room for no more.
  symlinkSync('y'.repeat(1023), at('d/symlink'));
  sys.mknodat(CWD, at('d/fifo'), S.IFIFO | 0o640, { major: 0, minor: 0 });
  sys.mknodat(CWD, at('d/disk'), S.IFBLK | 0o660, { major: 259, minor: 200_000 });
  writeFileSync(at(`d/${'n'.repeat(255)}`), 'a long name');
  writeFileSync(path.join(at(deep), 'file'), 'at the end of a long path');
  writeFileSync(at('empty'), '');
  const fd = openSync(at('sparse'), 'w');
  writeSync(fd, 'begin', 0);
  writeSync(fd, 'end', 8 << 20);
  closeSync(fd);
  utimesSync(at('empty'), 4_000_000_000, 4_000_000_000);
  utimesSync(at('d/program'), 1_234_567_890.5, 1_234_567_890.5);
}

/** By stubs with overlay; else where the filesystem has reflinks. */
async function canShareContents({ store, context }: OpenStore): Promise<boolean> {
  if (store.driver === 'overlay2') return true;
  const [from, to] = ['from', 'to'].map((name) => path.join(context.dataRoot.root, name));
  assert.ok(from !== undefined && to !== undefined);
  writeFileSync(from, 'x');
  try {
    copyFileSync(from, to, constants.COPYFILE_FICLONE_FORCE);
    return true;
  } catch {
    return false; // ENOTSUP and the like: no reflinks here
  }
}
