import assert from 'node:assert/strict';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import type { DiffId, Digest } from '../../src/base/digest.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import {
  mountByData,
  mountByFsopen,
  mountOverlay,
  unmountIfMounted,
} from '../../src/kernel/mount.ts';
import { type Database, openDatabase } from '../../src/store/db.ts';
import { imageStore } from '../../src/store/images.ts';
import { OBJECTS_LOCK } from '../../src/store/layers/catalog.ts';
import { findCheckpoint, writeCheckpoint } from '../../src/store/layers/layer-checkpoint.ts';
import { layerTable } from '../../src/store/layers/layer-table.ts';
import { layerTar as readLayerTar } from '../../src/store/layers/layer-tar.ts';
import { CONTENTS } from '../../src/store/layers/objects.ts';
import { adoptLayersInTransaction } from '../../src/store/lost-database.ts';
import { findOrphanedObjects, findOrphans, isOlderThan } from '../../src/store/orphans.ts';
import { recoverStore } from '../../src/store/recover.ts';
import { verifyLayer } from '../../src/worker/layer-verify.ts';
import { layerTar } from '../support/images.ts';
import { addImage, assertExact, BASE_LAYER, TOP_LAYER } from '../support/layer-store-suite.ts';
import { type OpenStore, openStore } from '../support/layers.ts';
import { unmountAllBelow } from '../support/mounts.ts';
import { temporaryFolder } from '../support/temp.ts';

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

test('layers are on the disk before they appear, unless sync_diffs is off', async () => {
  const tar = await layerTar(BASE_LAYER);
  for (const syncDiffs of [true, false]) {
    await using here = await openStore('overlay2', undefined, { sizeBytes: 0, syncDiffs });
    const { sys } = here.context;
    const syncfsAsync = sys.syncfsAsync.bind(sys);
    let syncs = 0;
    sys.syncfsAsync = async (fd) => {
      syncs += 1;
      await syncfsAsync(fd);
    };
    await here.add(tar);
    assert.equal(syncs, syncDiffs ? 1 : 0);
  }
});

test('where no overlay can lie containers are full copies, and overlay2 is refused', async () => {
  using folder = temporaryFolder('on-overlay');
  const at = (name: string): string => path.join(folder.path, name);
  for (const name of ['lower', 'upper', 'work', 'merged']) mkdirSync(at(name));
  // As for an engine in a container: its data root lies on an overlay.
  mountOverlay(openSyscalls(), {
    ...{ lower: [at('lower')], data: [], upper: at('upper'), work: at('work') },
    target: at('merged'),
  });
  try {
    const root = at('merged/data');
    mkdirSync(root);
    {
      await using here = await openStore('', root);
      const { store } = here;
      assert.equal(store.driver, 'vfs');
      const layers = await here.add(await layerTar(BASE_LAYER), await layerTar(TOP_LAYER));
      for (const diffId of layers) {
        assertExact(here, diffId);
        const directory = path.dirname(store.directoryOf(diffId));
        const { sys } = here.context;
        const { signal } = new AbortController();
        assert.equal(await verifyLayer({ sys, directory, diffId }, signal), undefined);
      }
      await store.createRootfs('c1', layers);
      const { merged } = await store.mountRootfs('c1', layers);
      assert.deepEqual(readdirSync(merged, { recursive: true, encoding: 'utf8' }).sort(), [
        ...['etc', 'etc/passwd', 'file', 'file/inside', 'link', 'opt', 'opt/c'],
      ]);
      await store.removeRootfs('c1');
    }
    await assert.rejects(openStore('overlay2', root), /cannot use the storage driver overlay2/);
  } finally {
    unmountAllBelow(at('merged'));
  }
});

test('the recipe of a container that is booted follows a repaired layer, and goes first', async () => {
  await using here = await openStore('overlay2');
  const { store, context } = here;
  const tar = await layerTar(BASE_LAYER);
  const [base] = await here.add(tar);
  assert.ok(base !== undefined);
  addImage(here, [base]);
  await store.createRootfs('c1', [base], { forBoot: true });
  const recipe = path.join(context.dataRoot.containers, 'c1/mount');
  const lower = (): string =>
    `lowerdir+=${path.relative(context.dataRoot.root, store.directoryOf(base))}\n`;
  const before = lower();
  assert.ok(readFileSync(recipe, 'utf8').includes(before));
  store.setDamaged(base, 'a test');
  await here.add(tar);
  assert.notEqual(lower(), before);
  assert.ok(readFileSync(recipe, 'utf8').includes(lower()));
  await store.removeRootfs('c1');
  assert.equal(existsSync(recipe), false);
  await here.settle();
});

test('a container that is booted does not do without a lost layer, and has it when it comes', async () => {
  using root = temporaryFolder('boot');
  const tars = [await layerTar(BASE_LAYER), await layerTar(TOP_LAYER)] as const;
  const recipe = path.join(root.path, 'containers/c1/mount');
  let layers: readonly DiffId[] = [];
  {
    await using here = await openStore('overlay2', root.path);
    layers = await here.add(...tars);
    await here.store.createRootfs('c1', layers, { forBoot: true });
    here.database
      .sql('INSERT INTO containers VALUES (?, ?, ?, ?, ?)')
      .run('c1', 'c1', 'x', '{}', '{}');
    rmSync(path.dirname(here.store.directoryOf(layers[0] as DiffId)), { recursive: true });
  }
  const before = readFileSync(recipe, 'utf8');
  {
    await using here = await openStore('overlay2', root.path);
    recoverStore(here.context, here.store);
    await here.settle();
  }
  await using here = await openStore('overlay2', root.path);
  assert.equal(readFileSync(recipe, 'utf8'), before);
  await here.add(tars[0]);
  here.store.adoptRootfs('c1', layers);
  for (const layer of layers) {
    const lower = path.relative(root.path, here.store.directoryOf(layer));
    assert(readFileSync(recipe, 'utf8').includes(`lowerdir+=${lower}\n`), lower);
  }
});

test('recovery takes away what has no row and names what lost its files', async () => {
  using root = temporaryFolder('recovery');
  let damaged: DiffId | undefined;
  {
    await using here = await openStore('overlay2', root.path);
    const layers = await here.add(await layerTar(BASE_LAYER), await layerTar(TOP_LAYER));
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
    // A layer that was being deleted: its image has a file of this name, and it is no checkpoint.
    const going = path.join(root.path, 'staging/gone-layer/diff');
    mkdirSync(going, { recursive: true });
    writeCheckpoint(going, {
      ...{ digest: layers[0] as string as Digest, compression: 'none', headersBytes: 0 },
      ...{ hashedBytes: 1, hashState: Buffer.alloc(112), dropBytes: 0, tail: undefined },
      point: { inputBytes: 1, outputBytes: 1, bits: 0, lastByte: 0, window: Buffer.alloc(0) },
    });
    assert(findCheckpoint(going, ['none']));
    rmSync(path.dirname(here.store.directoryOf(damaged as DiffId)), { recursive: true });
  }
  await using here = await openStore('overlay2', root.path);
  const errors: string[] = [];
  const log = { ...here.context.log, error: (message: string) => errors.push(message) };
  recoverStore({ ...here.context, log }, here.store);
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
  assert.equal(existsSync(here.context.dataRoot.partial), false);
  assert.deepEqual(readdirSync(path.join(root.path, 'containers')), ['known']);
});

test('recovery takes a layer that cannot be looked at for none that is lost', async () => {
  using root = temporaryFolder('unreadable');
  await using here = await openStore('overlay2', root.path);
  const layers = await here.add(await layerTar(BASE_LAYER));
  addImage(here, layers, 'a');
  const folder = path.dirname(here.store.directoryOf(layers[0] as DiffId));
  // Fails as a bad card does, with something else than ENOENT.
  rmSync(folder, { recursive: true });
  symlinkSync(path.basename(folder), folder);
  recoverStore(here.context, here.store);
  await here.settle();
  assert.equal(imageStore(here.database).list().length, 1);
});

test('layers that a new database takes in survive a power cut at any moment of that', async () => {
  using folder = temporaryFolder('new-database');
  const here = await openStore('overlay2', path.join(folder.path, 'root'));
  const { context } = here;
  const layers = await here.add(await layerTar(BASE_LAYER), await layerTar(TOP_LAYER));
  await here[Symbol.asyncDispose]();
  const file = path.join(folder.path, 'db');
  const cut = path.join(folder.path, 'cut');
  const adopt = (database: Database): void => adoptLayersInTransaction({ ...context, database });
  // As it lies on the disk just before it is done.
  openDatabase(file, (fresh) => {
    adopt(fresh);
    for (const end of ['', '-wal']) copyFileSync(`${file}${end}`, `${cut}${end}`);
  }).close();
  const database = openDatabase(cut, adopt);
  const found = layers.filter((diffId) => layerTable(database).find(diffId) !== undefined);
  database.close();
  assert.deepEqual(found, layers);
});

test('what a layer that goes shares with one that is being extracted stays', async () => {
  await using here = await openStore('overlay2');
  const { store, context } = here;
  const file = (name: string, fill: string): Promise<Uint8Array> =>
    layerTar([{ name, content: fill.repeat(100_000) }]);
  const [shares] = await here.add(await file('old', 'x'));
  assert(shares !== undefined);
  const held = store.hold([shares]);
  await here.add(await file('other', 'y'));

  const slow = store.stage();
  await store.collect(); // takes the other layer away, whose contents wait for the slow operation
  await using pulling = store.stage();
  const staged = await here.stage(await file('new', 'x'));
  assert.equal(staged.sharedBytes, 100_000);
  held[Symbol.dispose]();
  assert.deepEqual(await store.collect(), [shares]);
  await slow[Symbol.asyncDispose]();
  await context.locks.run(OBJECTS_LOCK, async () => undefined);
  await store.commit([staged], () => undefined);
  await pulling[Symbol.asyncDispose]();
  await here.settle();

  const directory = path.dirname(store.directoryOf(staged.diffId));
  const tar = Buffer.concat([...readLayerTar({ ...context, directory, diffId: staged.diffId })]);
  assert(tar.includes('x'.repeat(100_000)));
  // The other layer's are gone: one group is left.
  const groups = readdirSync(context.dataRoot.objects).filter((name) => !name.startsWith('.'));
  assert.equal(groups.length, 1);
});

test('what a layer uses stays, also when the layer has lost its list of it', async () => {
  await using here = await openStore('overlay2');
  const { store, context } = here;
  const content = 'x'.repeat(100_000);
  const [first] = await here.add(await layerTar([{ name: 'old', content }]));
  // A name of every length, so that none is right by luck.
  const [second] = await here.add(
    await layerTar(
      Array.from({ length: 60 }, (_, i) => ({ name: `ü/${'n'.repeat(i + 1)}`, content })),
    ),
  );
  assert(first !== undefined && second !== undefined);
  const directory = path.dirname(store.directoryOf(second));
  rmSync(path.join(directory, CONTENTS));
  const held = store.hold([second]);
  assert.deepEqual(await store.collect(), [first]);
  await here.settle();
  const tar = Buffer.concat([...readLayerTar({ ...context, directory, diffId: second })]);
  assert(tar.includes(content));
  held[Symbol.dispose]();
  await store.collect();
  await here.settle();
  const groups = readdirSync(context.dataRoot.objects).filter((name) => !name.startsWith('.'));
  assert.deepEqual(groups, []);
});

test('a layer that is about to get its row is no orphan, whatever the clock says', async () => {
  await using here = await openStore('overlay2');
  const { context, store } = here;
  const isOld = isOlderThan(0, 0); // as after a jump
  const staged = [await here.stage(await layerTar(BASE_LAYER))];
  const done = store.commit(staged, () => undefined);
  let isCommitted = false;
  void done.then(() => {
    isCommitted = true;
  });
  let moments = 0;
  while (!isCommitted) {
    const without = { isOld, isUnderWay: () => false };
    moments += findOrphans(context, without).filter(({ kind }) => kind === 'layer').length;
    const found = findOrphans(context, { isOld, isUnderWay: store.isUnderWay });
    assert.deepEqual(
      found.filter(({ kind }) => kind === 'layer'),
      [],
    );
    await setImmediate();
  }
  await done;
  assert(moments > 0, 'it was there without a row for a moment');
});

test('leases last as long as they should, however the clock is set meanwhile', async () => {
  const dayMs = 24 * 3600_000;
  const yearMs = 365 * dayMs;
  using folder = temporaryFolder('leases');
  const setting = { wallMs: 60 * yearMs, awakeMs: 0 };
  const clock = {
    ...systemClock,
    nowMs: () => setting.wallMs + setting.awakeMs,
    monotonicMs: () => setting.awakeMs,
  };
  const open = async (): Promise<OpenStore> =>
    await openStore('overlay2', folder.path, undefined, clock);
  const lease = async ({ store, stage }: OpenStore): Promise<DiffId> => {
    const layer = await stage(await layerTar(BASE_LAYER));
    await store.commit([layer], () => store.leaseInTransaction(layer.diffId));
    return layer.diffId;
  };
  {
    await using here = await open();
    const layer = await lease(here);
    for (const wallMs of [60.1 * yearMs, 0, 40 * yearMs, 60 * yearMs]) {
      setting.wallMs = wallMs;
      assert.deepEqual(await here.store.collect(), [], `it was set to ${wallMs}`);
    }
    setting.awakeMs += 13 * dayMs;
    assert.deepEqual(await here.store.collect(), []);
    setting.awakeMs += 2 * dayMs;
    assert.deepEqual(await here.store.collect(), [layer], 'they are over');
    setting.wallMs = 0; // as before the network is there
    await lease(here);
    setting.wallMs = 60 * yearMs;
    await lease(here);
    assert.deepEqual(await here.store.collect(), []);
  }
  // A board without a battery starts again, and is told the time.
  setting.wallMs = 0;
  await using here = await open();
  assert.deepEqual(await here.store.collect(), []);
  setting.wallMs = 60 * yearMs;
  assert.deepEqual(await here.store.collect(), []);
  setting.awakeMs += 15 * dayMs;
  assert.equal((await here.store.collect()).length, 1);
});

test('a folder is old when it is from the future', () => {
  using folder = temporaryFolder('age');
  const nowMs = Date.now();
  assert(isOlderThan(0, nowMs + 60_000)(folder.path));
  assert(!isOlderThan(600_000, nowMs + 60_000)(folder.path));
  assert(isOlderThan(600_000, nowMs + 601_000)(folder.path));
  assert(isOlderThan(600_000, nowMs - 60_000)(folder.path));
  assert(!isOlderThan(0, nowMs)(path.join(folder.path, 'gone')));
});

test('shared contents are looked through while others of them are removed', async () => {
  await using here = await openStore('overlay2');
  const { context, store } = here;
  for (let i = 0; i < 300; i += 1) {
    const group = path.join(context.dataRoot.objects, `group${i}`);
    mkdirSync(group);
    writeFileSync(path.join(group, '1'), 'content');
  }
  const { signal } = new AbortController();
  store.trimContents();
  const found = await findOrphanedObjects(context, { isOld: () => true, signal });
  await here.settle();
  assert(found.length === 0 || found.length === 300, `${found.length}`);
});
