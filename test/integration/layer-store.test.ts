import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { describe, test } from 'node:test';
import type { DiffId, Digest, ImageId } from '../../src/base/digest.ts';
import { mountByData, mountByFsopen, unmountIfMounted } from '../../src/kernel/mount.ts';
import { imageStore } from '../../src/store/images.ts';
import { recoverStore } from '../../src/store/recover.ts';
import { type LayerEntry, layerTar } from '../support/images.ts';
import { type OpenStore, openStore } from '../support/layers.ts';
import { temporaryFolder } from '../support/temp.ts';

const BASE: readonly LayerEntry[] = [
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
const TOP: readonly LayerEntry[] = [
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

function files(root: string, relative = ''): string[] {
  return readdirSync(path.join(root, relative), { withFileTypes: true })
    .flatMap((entry) => {
      const below = path.join(relative, entry.name);
      return entry.isDirectory() ? [`${below}/`, ...files(root, below)] : [below];
    })
    .sort();
}

/** Makes an image of layers, so that they are in use. */
function addImage({ database }: OpenStore, layers: readonly DiffId[], hex = 'a'): ImageId {
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

for (const driver of ['overlay2', 'vfs'] as const) {
  describe(`storage driver ${driver}`, () => {
    test('a container sees its layers as one tree and writes beside them', async () => {
      await using here = await openStore(driver);
      const { store } = here;
      const layers = await here.add(await layerTar(BASE), await layerTar(TOP));
      await store.createRootfs('c1', layers);
      const { merged } = await store.mountRootfs('c1', layers);
      assert.deepEqual(files(merged), [
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

    test('an image without layers gives an empty root', async () => {
      await using here = await openStore(driver);
      await here.store.createRootfs('c1', []);
      const { merged } = await here.store.mountRootfs('c1', []);
      assert.deepEqual(readdirSync(merged), []);
      writeFileSync(path.join(merged, 'a'), 'b');
      await here.store.removeRootfs('c1');
    });

    test('mounting twice is mounting once', async () => {
      await using here = await openStore(driver);
      const layers = await here.add(await layerTar(BASE));
      await here.store.createRootfs('c1', layers);
      const { merged } = await here.store.mountRootfs('c1', layers);
      await here.store.mountRootfs('c1', layers);
      await here.store.unmountRootfs('c1');
      assert.deepEqual(readdirSync(merged), []);
      await here.store.unmountRootfs('c1');
    });

    test('layers go when no image and no container needs them', async () => {
      await using here = await openStore(driver);
      const { store } = here;
      const [base, top] = await here.add(await layerTar(BASE), await layerTar(TOP));
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
      await using here = await openStore(driver);
      const { store } = here;
      const tar = await layerTar(BASE);
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
      await using here = await openStore(driver);
      const layer = await here.stage(await layerTar(BASE));
      const commit = here.store.commit([layer], () => {
        throw new Error('no');
      });
      await assert.rejects(commit, /^Error: no$/);
      await here.settle();
      assert.equal(here.store.find(layer.diffId), undefined);
      assert.deepEqual(readdirSync(here.context.dataRoot.layers), []);
    });

    test('a container of a missing layer is not made', async () => {
      await using here = await openStore(driver);
      const absent = `sha256:${'c'.repeat(64)}` as DiffId;
      await assert.rejects(here.store.createRootfs('c1', [absent]), /is not here: pull its image/);
      await here.settle();
      assert.equal(existsSync(path.join(here.context.dataRoot.containers, 'c1/upper')), false);
    });
  });
}

test('127 layers mount, by either way of the kernel', async () => {
  using folder = temporaryFolder('mounts');
  await using here = await openStore('overlay2');
  const { sys } = here.context;
  const at = (...names: string[]): string => path.join(folder.path, ...names);
  const lower = Array.from({ length: 127 }, (_, i) => at('layers', `abcdef${i}`, 'diff'));
  for (const [i, each] of lower.entries()) {
    mkdirSync(each, { recursive: true });
    writeFileSync(path.join(each, `f${i}`), '');
  }
  for (const name of ['upper', 'work', 'merged']) mkdirSync(at(name));
  mkdirSync(at('data'));
  const mount = {
    ...{ lower, data: [at('data')] },
    ...{ upper: at('upper'), work: at('work'), target: at('merged') },
  };
  for (const way of [mountByFsopen, mountByData]) {
    assert.notEqual(way(sys, mount), false);
    try {
      assert.equal(readdirSync(at('merged')).length, 127);
    } finally {
      unmountIfMounted(sys, at('merged'));
    }
  }
});

test('recovery takes away what has no row and names what lost its files', async () => {
  using root = temporaryFolder('recovery');
  let damaged: DiffId | undefined;
  {
    await using here = await openStore('overlay2', root.path);
    const layers = await here.add(await layerTar(BASE), await layerTar(TOP));
    [damaged] = layers;
    addImage(here, layers, 'a');
    addImage(here, layers.slice(1), 'b');
    await here.store.createRootfs('known', layers.slice(1));
    await here.store.createRootfs('unknown', layers.slice(1));
    here.database
      .sql('INSERT INTO containers VALUES (?, ?, ?, ?, ?)')
      .run('known', 'known', 'x', '{}', '{}');
    mkdirSync(path.join(root.path, 'layers/norow/diff'), { recursive: true });
    mkdirSync(path.join(root.path, 'staging/left/1/diff'), { recursive: true });
    chmodSync(path.join(root.path, 'staging/left/1'), 0);
    rmSync(path.dirname(here.store.directoryOf(damaged as DiffId)), { recursive: true });
  }
  await using here = await openStore('overlay2', root.path);
  const errors: string[] = [];
  const log = { ...here.context.log, error: (message: string) => errors.push(message) };
  recoverStore({ ...here.context, log });
  await here.settle();
  assert.deepEqual(errors, ['dropped an image that lost a layer: pull it again']);
  const images = imageStore(here.database).list();
  assert.deepEqual(
    images.map((image) => image.id),
    [`sha256:${'b'.repeat(64)}`],
  );
  assert.equal(here.store.find(damaged as DiffId), undefined);
  assert.equal(readdirSync(path.join(root.path, 'layers')).length, 1);
  assert.deepEqual(readdirSync(path.join(root.path, 'staging')), []);
  assert.deepEqual(readdirSync(path.join(root.path, 'containers')), ['known']);
});
