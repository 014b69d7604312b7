import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  closeSync,
  futimesSync,
  lstatSync,
  openSync,
  readdirSync,
  readFileSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import type { DiffId } from '../../src/base/digest.ts';
import { FADV } from '../../src/kernel/constants.ts';
import { type LayerEntry, layerTar } from '../support/images.ts';
import { assertExact } from '../support/layer-store-suite.ts';
import { openStore } from '../support/layers.ts';
import { temporaryFolder } from '../support/temp.ts';

const OLD = new Date(1_600_000_000_000);
const NEW = new Date(1_700_000_000_000);
const BIG = randomBytes(700_000);

function tree(mtime: Date, more: readonly LayerEntry[] = []): LayerEntry[] {
  return [
    { name: 'srv/', type: 'directory', mtime },
    { name: 'srv/small', content: 'a small file', mtime, mode: 0o640, uid: 3, gid: 4 },
    { name: 'srv/big', content: BIG, mtime, mode: 0o755 },
    { name: 'srv/empty', content: '', mtime },
    { name: 'srv/first', content: 'two names', mtime },
    { name: 'srv/second', type: 'link', linkname: 'srv/first', mtime },
    ...more,
  ];
}

test('a layer of known contents with new times is written as stubs', async () => {
  await using here = await openStore('overlay2');
  const { store } = here;
  const [old] = await here.add(await layerTar(tree(OLD)));
  const staged = await here.stage(await layerTar(tree(NEW)));
  assert.equal(staged.sharedBytes, BIG.length + 'a small file'.length + 'two names'.length);
  assert.ok(staged.writtenBytes < 2000, `${staged.writtenBytes} bytes were written`);
  await store.commit([staged], () => undefined);
  assert.ok(old !== undefined);
  for (const layer of [old, staged.diffId]) assertExact(here, layer);

  await store.createRootfs('c1', [staged.diffId]);
  const { merged } = await store.mountRootfs('c1', [staged.diffId]);
  const big = path.join(merged, 'srv/big');
  assert.deepEqual(readFileSync(big), BIG);
  assert.equal(lstatSync(big).mtimeMs, NEW.getTime());
  const small = lstatSync(path.join(merged, 'srv/small'));
  assert.deepEqual([small.mode & 0o7777, small.uid, small.gid], [0o640, 3, 4]);
  const [first, second] = ['srv/first', 'srv/second'].map((n) => lstatSync(path.join(merged, n)));
  assert.equal(first?.ino, second?.ino);
  writeFileSync(big, 'changed');
  assert.deepEqual(readFileSync(path.join(store.directoryOf(old), 'srv/big')), BIG);
  assertExact(here, staged.diffId);
});

test('the same file at the same path becomes a hard link', async () => {
  await using here = await openStore('overlay2');
  const more = { name: 'srv/more', content: 'more', mtime: NEW };
  const [old, next] = [
    ...(await here.add(await layerTar(tree(OLD)))),
    ...(await here.add(await layerTar(tree(OLD, [more])))),
  ];
  assert.ok(old !== undefined && next !== undefined);
  const ino = (layer: DiffId, name: string): number =>
    lstatSync(path.join(here.store.directoryOf(layer), name)).ino;
  assert.equal(ino(old, 'srv/big'), ino(next, 'srv/big'));
  assert.equal(ino(old, 'srv/small'), ino(next, 'srv/small'));
  // A file that has several names in its layer is nobody else's.
  assert.notEqual(ino(old, 'srv/first'), ino(next, 'srv/first'));
  for (const layer of [old, next]) assertExact(here, layer);
});

test('shared contents stay while a layer uses them, and go with the last', async () => {
  await using here = await openStore('overlay2');
  const { store, context } = here;
  const objects = (): string[] =>
    readdirSync(context.dataRoot.objects, { recursive: true, encoding: 'utf8' }).filter((name) =>
      /\/\d+\/\d+$/.test(name),
    );
  const gone: LayerEntry = { name: 'srv/gone', content: 'only in the old one', mtime: OLD };
  const [old] = await here.add(await layerTar(tree(OLD, [gone])));
  const next = await here.stage(await layerTar(tree(NEW)));
  await store.commit([next], () => undefined);
  assert.equal(objects().length, 4);
  {
    using _held = store.hold([next.diffId]);
    assert.deepEqual(await store.collect(), [old]);
    await here.settle();
  }
  assert.equal(objects().length, 3);
  assertExact(here, next.diffId);
  // They are found by way of the layer that uses them.
  const third = await here.stage(await layerTar(tree(new Date(1_650_000_000_000))));
  assert.equal(third.sharedBytes, next.sharedBytes);
  await store.collect();
  await here.settle();
  assert.deepEqual(objects(), []);
});

test('folders of shared contents go when no layer uses one of them', async () => {
  await using here = await openStore('overlay2');
  const { store, context } = here;
  const files = (names: readonly string[], mtime: Date): Promise<Uint8Array> =>
    layerTar(names.map((name) => ({ name: `srv/${name}`, content: `content of ${name}`, mtime })));
  const all = Array.from({ length: 200 }, (_, i) => String(i + 1));
  const objects = (): string[] =>
    readdirSync(context.dataRoot.objects, { recursive: true, encoding: 'utf8' })
      .filter((name) => !name.startsWith('.'))
      .map((name) => name.replace(/^[^/]+\/?/, ''))
      .toSorted();
  const [old] = await here.add(await files(all, OLD));
  const next = await here.stage(await files(['1', '2', '130'], NEW));
  await store.commit([next], () => undefined);
  assert.deepEqual(
    new Set(objects().filter((name) => !name.includes('/'))),
    new Set(['', '0', '1', '2', '3']),
  );
  {
    using _held = store.hold([next.diffId]);
    assert.deepEqual(await store.collect(), [old]);
    await here.settle();
  }
  assert.deepEqual(objects(), ['', '0', '0/1', '0/2', '2', '2/130']);
  assertExact(here, next.diffId);
  await store.collect();
  await here.settle();
  assert.deepEqual(objects(), []);
});

test('what was damaged here is not taken for what it was', async () => {
  await using here = await openStore('overlay2');
  const { store } = here;
  const [old] = await here.add(await layerTar(tree(OLD)));
  assert.ok(old !== undefined);
  const damaged = path.join(store.directoryOf(old), 'srv/big');
  const fd = openSync(damaged, 'r+');
  writeSync(fd, 'X', 500_000);
  futimesSync(fd, OLD, OLD);
  closeSync(fd);
  const next = await here.stage(await layerTar(tree(NEW)));
  assert.equal(next.sharedBytes, 'a small file'.length + 'two names'.length);
  await store.commit([next], () => undefined);
  assertExact(here, next.diffId);
  assert.throws(() => assertExact(here, old), /is damaged/);
});

test('comparing, and reading for a push, leave the page cache as it was', async () => {
  await using here = await openStore('overlay2');
  const { sys, dataRoot } = here.context;
  const [diffId] = await here.add(await layerTar(tree(OLD)));
  assert.ok(diffId !== undefined);
  const big = readdirSync(dataRoot.objects, { recursive: true, encoding: 'utf8' })
    .map((name) => path.join(dataRoot.objects, name))
    .find((file) => lstatSync(file).size === BIG.length);
  assert.ok(big !== undefined);
  const fd = openSync(big, 'r');
  try {
    if (sys.cachedPages(fd) === undefined) return; // before Linux 6.5 nobody can tell
    sys.fadvise(fd, 0, 0, FADV.DONTNEED);
    await here.stage(await layerTar(tree(NEW)));
    assert.equal(sys.cachedPages(fd), 0);
    assertExact(here, diffId);
    assert.equal(sys.cachedPages(fd), 0);
    readFileSync(big);
    const used = sys.cachedPages(fd);
    assert.ok(used !== undefined && used >= BIG.length / 4096 - 1);
    await here.stage(await layerTar(tree(NEW)));
    assertExact(here, diffId);
    assert.equal(sys.cachedPages(fd), used);
  } finally {
    closeSync(fd);
  }
});

test('stubs are files of their own where containers are full copies', async () => {
  using root = temporaryFolder('drivers');
  let layer: DiffId | undefined;
  {
    await using here = await openStore('overlay2', root.path);
    await here.add(await layerTar(tree(OLD)));
    const staged = await here.stage(await layerTar(tree(NEW)));
    assert.ok(staged.sharedBytes > BIG.length);
    await here.store.commit([staged], () => undefined);
    layer = staged.diffId;
  }
  await using here = await openStore('vfs', root.path);
  assert.ok(layer !== undefined);
  await here.store.createRootfs('c1', [layer]);
  const { merged } = await here.store.mountRootfs('c1', [layer]);
  const big = path.join(merged, 'srv/big');
  assert.deepEqual(readFileSync(big), BIG);
  assert.equal(lstatSync(big).mtimeMs, NEW.getTime());
  assert.deepEqual(here.context.sys.llistxattr(big), []);
  assertExact(here, layer);
});

test('what an operation has found stays until it ends, also when its layer goes meanwhile', async () => {
  await using here = await openStore('overlay2');
  const { store, context } = here;
  const [old] = await here.add(await layerTar(tree(OLD)));
  assert.ok(old !== undefined);
  const objects = (): number =>
    readdirSync(context.dataRoot.objects).filter((name) => !name.startsWith('.')).length;
  const staging = store.stage();
  const next = await here.stage(await layerTar(tree(NEW)));
  assert.deepEqual(await store.collect(), [old]);
  // Others come and go; this operation is still under way.
  await using _other = store.stage();
  await setTimeout(50);
  assert.equal(objects(), 1);
  await store.commit([next], () => undefined);
  await staging[Symbol.asyncDispose]();
  await here.settle();
  assertExact(here, next.diffId);
  assert.equal(objects(), 1);
});
