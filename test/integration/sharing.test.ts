import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { lstatSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import type { DiffId } from '../../src/base/digest.ts';
import { type LayerEntry, layerTar } from '../support/images.ts';
import { assertExact } from '../support/layer-store-suite.ts';
import { openStore } from '../support/layers.ts';

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
      /\/\d+$/.test(name),
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
