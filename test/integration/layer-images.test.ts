import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes, randomInt } from 'node:crypto';
import {
  closeSync,
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { type DiffId, parseDigest } from '../../src/base/digest.ts';
import { unavailable } from '../../src/base/errors.ts';
import { readMountInfo } from '../../src/kernel/mountinfo.ts';
import { syscallError } from '../../src/kernel/syscall-error.ts';
import { CWD, type Syscalls } from '../../src/kernel/syscalls.ts';
import { BLOB_CHECKPOINTS, findCheckpoint } from '../../src/store/layers/layer-checkpoint.ts';
import { hasImage, LAYER_IMAGE } from '../../src/store/layers/layer-images.ts';
import { CONTENTS, imagesMarker } from '../../src/store/layers/objects.ts';
import { openLayerStore } from '../../src/store/layers/open.ts';
import { extractLayer } from '../../src/worker/extract.ts';
import { verifyLayer } from '../../src/worker/layer-verify.ts';
import { digestOf, type LayerEntry, layerTar } from '../support/images.ts';
import { layerPair, treeOf } from '../support/layer-samples.ts';
import { assertExact } from '../support/layer-store-suite.ts';
import { chunksOf, type OpenStore, openStore } from '../support/layers.ts';

/** Layers that share nearly all their contents: their names are an image, not a tree. */

const OLD = new Date(1_600_000_000_000);
const NEW = new Date(1_700_000_000_000);

/** Enough files that those who share them become images. */
function common(mtime: Date): LayerEntry[] {
  return [
    { name: 'common/', type: 'directory', mtime },
    ...Array.from({ length: 40 }, (_, i) => ({
      name: `common/${String(i).padStart(200, 'n')}`,
      content: `the content of number ${i}`,
      mtime,
    })),
  ];
}

const folderOf = ({ store }: OpenStore, diffId: DiffId): string =>
  path.dirname(store.directoryOf(diffId));

/** Commits the common files and these entries, and then an image of the same with new times. */
async function addImage(here: OpenStore, entries: readonly LayerEntry[] = []): Promise<DiffId> {
  return (await addLayers(here, entries))[1];
}

async function addLayers(
  here: OpenStore,
  entries: readonly LayerEntry[],
): Promise<[lower: DiffId, image: DiffId]> {
  const older = entries.map((each) => ({ ...each, mtime: OLD }));
  const [lower] = await here.add(await layerTar([...common(OLD), ...older]));
  const [image] = await here.add(await layerTar([...common(NEW), ...entries]));
  assert.ok(lower !== undefined && image !== undefined && hasImage(folderOf(here, image)));
  return [lower, image];
}

async function verify(here: OpenStore, diffId: DiffId): Promise<string | undefined> {
  const directory = folderOf(here, diffId);
  const { signal } = new AbortController();
  return await verifyLayer({ sys: here.context.sys, directory, diffId }, signal);
}

/**
 * Without names that are taken twice, as with those a layer is a tree: files, and whiteouts of them.
 * The first of a name stays, where it is: a hard link has its target before it.
 */
function onceEach(entries: readonly LayerEntry[]): LayerEntry[] {
  const names = new Map(entries.toReversed().map((each) => [each.name, each]));
  return entries.filter(
    (each) =>
      names.get(each.name) === each &&
      (!names.has(each.name.replace('.wh.', '')) || !/\.wh\./.test(each.name)),
  );
}

test('a layer that is an image is the layer it would be as a tree', async () => {
  let images = 0;
  const seed = randomInt(2 ** 31);
  await fc.assert(
    fc.asyncProperty(layerPair, fc.boolean(), async ([lower, entries], isPlain) => {
      const upper = isPlain ? onceEach(entries) : entries;
      const tars = [
        await layerTar([...common(OLD), ...lower]),
        await layerTar([...upper, ...common(NEW)]),
      ];
      const trees: unknown[] = [];
      for (const isTree of [false, true]) {
        await using here = await openStore('overlay2');
        if (isTree) rmSync(imagesMarker(here.context.dataRoot.objects));
        const layers: DiffId[] = [];
        for (const tar of tars) layers.push(...(await here.add(tar)));
        const top = layers.at(-1) as DiffId;
        if (hasImage(folderOf(here, top))) images += 1;
        assert.equal(isTree && hasImage(folderOf(here, top)), false);
        await here.store.createRootfs('c1', layers);
        const { merged } = await here.store.mountRootfs('c1', layers);
        trees.push(treeOf(here.context.sys, merged));
        for (const layer of layers) {
          assertExact(here, layer);
          assert.equal(await verify(here, layer), undefined);
        }
        await here.store.removeRootfs('c1');
        await here.settle();
      }
      assert.deepEqual(trees[0], trees[1]);
    }),
    { numRuns: 12, seed },
  );
  assert.ok(images > 0, `no layer became an image (seed ${seed})`);
});

test('everything a layer can have is in its image', async () => {
  await using here = await openStore('overlay2');
  const deep = Array.from({ length: 12 }, (_, i) => `${i}`.padEnd(250, 'x')).join('/');
  const [lower, layer] = await addLayers(here, [
    { name: 'k/', type: 'directory', mode: 0o1777, uid: 200_000, gid: 70_000, mtime: NEW },
    {
      name: 'k/program',
      content: 'a program',
      mode: 0o6755,
      uid: 5,
      pax: { mtime: '1700000000.123456789' },
    },
    { name: 'k/other', type: 'link', linkname: 'k/program' },
    { name: 'k/fifo', type: 'fifo', mode: 0o640, pax: { mtime: '-1.5' } },
    { name: 'k/disk', type: 'character-device', devmajor: 259, devminor: 200_000, mtime: NEW },
    { name: 'k/long', type: 'symlink', linkname: 'y'.repeat(4095), mtime: NEW },
    { name: 'k/short', type: 'symlink', linkname: 'program', mtime: NEW },
    { name: 'k/empty', content: '', mode: 0o400, mtime: NEW },
    { name: `${deep}/file`, content: 'at the end of a long path', mtime: NEW },
    { name: 'k/.wh.hidden', content: '' },
    { name: 'k/opaque/', type: 'directory', mtime: NEW },
    { name: 'k/opaque/.wh..wh..opq', content: '' },
    { name: 'k/noted', content: 'noted', pax: { 'SCHILY.xattr.user.note': 'a note' }, mtime: NEW },
  ]);
  // A whiteout is only seen as one where there is something below.
  await here.store.createRootfs('c1', [lower, layer]);
  const { merged } = await here.store.mountRootfs('c1', [lower, layer]);
  const { sys } = here.context;
  const at = (name: string): string => path.join(merged, name);
  const tree = treeOf(sys, merged) as Record<string, Record<string, unknown>>;
  const about = (name: string): unknown[] => {
    const { mode, uid, gid, mtime } = tree[name] ?? {};
    return [mode, uid, gid, mtime];
  };
  const mtime = BigInt(NEW.getTime()) * 1_000_000n;
  assert.deepEqual(about('k'), ['41777', 200_000n, 70_000n, mtime]);
  assert.deepEqual(about('k/program'), ['106755', 5n, 0n, mtime + 123_456_789n]);
  assert.equal(tree['k/program']?.['same'], 'k/other');
  assert.equal(statSync(at('k/program')).nlink, 2);
  assert.deepEqual(about('k/fifo'), ['10640', 0n, 0n, -1_500_000_000n]);
  assert.equal(
    lstatSync(at('k/disk')).rdev,
    (259 << 8) | (200_000 & 0xff) | ((200_000 & ~0xff) << 12),
  );
  assert.equal(tree['k/long']?.['content'], 'y'.repeat(4095));
  assert.equal(tree['k/short']?.['content'], 'program');
  assert.deepEqual([tree['k/empty']?.['size'], tree['k/empty']?.['mode']], [0n, '100400']);
  assert.equal(readFileSync(at(`${deep}/file`), 'utf8'), 'at the end of a long path');
  assert.equal(existsSync(at('k/hidden')), false);
  assert.deepEqual(tree['k/noted']?.['xattrs'], [['user.note', 'a note']]);
  const diff = here.store.directoryOf(layer);
  assert.equal(lstatSync(path.join(diff, 'k/hidden')).rdev, 0);
  assert.equal(String(sys.lgetxattr(path.join(diff, 'k/opaque'), 'trusted.overlay.opaque')), 'y');
  assert.equal(await verify(here, layer), undefined);
  execFileSync('fsck.erofs', [path.join(path.dirname(diff), LAYER_IMAGE)], { stdio: 'pipe' });
  // What is written in a container is beside it.
  writeFileSync(at('k/program'), 'changed');
  assert.equal(readFileSync(at('k/program'), 'utf8'), 'changed');
  assert.equal(
    readFileSync(at(`common/${'7'.padStart(200, 'n')}`), 'utf8'),
    'the content of number 7',
  );
});

test('contents that are new are objects, and a layer with more of them is a tree', async () => {
  await using here = await openStore('overlay2');
  const fresh = { name: 'new', content: 'is in no other layer', mtime: NEW };
  await here.add(await layerTar(common(OLD)));
  const [image] = await here.add(await layerTar([fresh, ...common(NEW)]));
  const many = Array.from({ length: 60 }, (_, i) => ({ name: `z/${i}`, content: `new ${i}` }));
  const large = { name: 'z/large', content: randomBytes(3 << 20) };
  const [tree] = await here.add(
    await layerTar([{ ...fresh, mtime: OLD }, ...common(NEW), ...many]),
  );
  const [bulk] = await here.add(await layerTar([...common(NEW), large]));
  assert.ok(image !== undefined && tree !== undefined && bulk !== undefined);
  const isImage = [image, tree, bulk].map((each) => hasImage(folderOf(here, each)));
  assert.deepEqual(isImage, [true, false, false]);
  assert.deepEqual(readFileSync(path.join(folderOf(here, bulk), 'diff/z/large')), large.content);
  for (const layer of [image, tree, bulk]) {
    here.store.show(layer);
    assertExact(here, layer);
    assert.equal(await verify(here, layer), undefined);
  }
  // The tree shares the content that only the image has, and keeps it.
  here.store.hideAll();
  using _held = here.store.hold([tree]);
  await here.store.collect();
  await here.settle();
  assertExact(here, tree);
  assert.equal(await verify(here, tree), undefined);
});

test('what an image uses stays, also when the layer has lost its list of it', async () => {
  await using here = await openStore('overlay2');
  const layer = await addImage(here);
  rmSync(path.join(folderOf(here, layer), CONTENTS));
  using _held = here.store.hold([layer]);
  assert.equal((await here.store.collect()).length, 1);
  await here.settle();
  assertExact(here, layer);
});

test('what kernels do better than an image becomes a tree', async () => {
  const odd: Record<string, LayerEntry[]> = {
    'a name that is taken': [
      { name: 'twice', content: 'first' },
      { name: 'twice', content: 'second' },
    ],
    'a path through a symlink': [
      { name: 'real/', type: 'directory' },
      { name: 'alias', type: 'symlink', linkname: 'real' },
      { name: 'alias/file', content: 'in real' },
    ],
    'a folder in place of a whiteout': [
      { name: '.wh.back', content: '' },
      { name: 'back/', type: 'directory' },
    ],
  };
  for (const [what, entries] of Object.entries(odd)) {
    await using here = await openStore('overlay2');
    await here.add(await layerTar(common(OLD)));
    const [layer] = await here.add(await layerTar([...common(NEW), ...entries]));
    assert.ok(layer !== undefined);
    assert.equal(hasImage(folderOf(here, layer)), false, what);
    assertExact(here, layer);
    assert.equal(await verify(here, layer), undefined, what);
  }
});

test('what no layer may have is refused in the words of a tree', async () => {
  const refused: readonly LayerEntry[][] = [
    [{ name: 'link', type: 'link', linkname: 'nothing' }],
    [{ name: 'link', type: 'link', linkname: '/' }],
    [{ name: 'link', type: 'link', linkname: 'common' }],
    [{ name: '../out', content: 'x' }],
    [{ name: `d/${'n'.repeat(256)}`, content: 'x' }],
    [{ name: 'long', type: 'symlink', linkname: 'y'.repeat(4096) }],
    [
      { name: 'file', content: 'x' },
      { name: 'file/below', content: 'y' },
    ],
    [{ name: '.wh.', content: '' }],
    [{ name: 'disk', type: 'character-device', devmajor: 5000, devminor: 1 }],
    [{ name: './', type: 'symlink', linkname: '/etc' }],
  ];
  await using here = await openStore('overlay2');
  await here.add(await layerTar(common(OLD)));
  for (const entries of refused) {
    const tar = await layerTar([...common(NEW), ...entries]);
    const said: string[] = [];
    for (const isTree of [false, true]) {
      const marker = imagesMarker(here.context.dataRoot.objects);
      if (isTree) rmSync(marker);
      await here.stage(tar).catch((error: Error) => said.push(error.message));
      writeFileSync(marker, '');
    }
    assert.equal(said.length, 2, entries.map(({ name }) => name).join());
    assert.equal(said[0], said[1]);
  }
});

test('any damage to an image is found', async () => {
  await using here = await openStore('overlay2');
  const layer = await addImage(here);
  here.store.show(layer);
  assert.equal(await verify(here, layer), undefined);
  const file = path.join(folderOf(here, layer), LAYER_IMAGE);
  const whole = readFileSync(file);
  for (const at of [0, 1024, 1100, 5000, whole.length - 40, whole.length - 1]) {
    const damaged = Buffer.from(whole);
    damaged[at] = (damaged[at] ?? 0) ^ 4;
    writeFileSync(file, damaged);
    assert.equal(
      await verify(here, layer),
      'the image of its names is not what it was',
      `at ${at}`,
    );
  }
  writeFileSync(file, whole.subarray(0, 4096));
  assert.match((await verify(here, layer)) ?? '', /not what it was/);
  writeFileSync(file, whole);
  here.store.hideAll();
  assert.match((await verify(here, layer)) ?? '', /cannot be mounted here/);
  unlinkSync(file);
  assert.match((await verify(here, layer)) ?? '', /is missing/);
});

test('a pull of a layer that becomes an image goes on where it was cut off', async () => {
  await using here = await openStore('overlay2');
  const { sys, dataRoot } = here.context;
  const large = { name: 'new/large', content: randomBytes(300_000), mtime: NEW };
  await here.add(await layerTar(common(OLD)));
  const blob = await layerTar([
    ...common(NEW),
    large,
    { name: 'z', content: 'the last', mtime: NEW },
  ]);
  const extract = async (name: string, endsAt: number, earlier?: string) => {
    const checkpoint =
      earlier === undefined ? undefined : findCheckpoint(earlier, BLOB_CHECKPOINTS);
    const fromByte = checkpoint?.hashedBytes ?? 0;
    const source = async function* (): AsyncGenerator<Uint8Array> {
      yield* chunksOf(blob.subarray(fromByte, endsAt), 1_500);
      if (endsAt < blob.length) throw unavailable('the link is gone');
    };
    const directory = path.join(dataRoot.staging, name);
    const layer = await extractLayer({
      ...{ sys, directory, source: source(), origin: undefined },
      checkpoints: { everyBytes: 1, everyMs: 0 },
      expected: { digest: parseDigest(digestOf(blob)), sizeBytes: blob.length },
      signal: new AbortController().signal,
      ...(earlier && checkpoint ? { earlier: { directory: earlier, checkpoint } } : {}),
    });
    return { layer, fromByte };
  };
  // In the common files, and in the middle of the new one.
  const cuts = [30_000, blob.length - 100_000];
  for (const [i, cut] of cuts.entries()) {
    const at = (name: string): string => path.join(dataRoot.staging, `${name}-${i}`);
    await assert.rejects(extract(`cut-${i}`, cut), /the link is gone/);
    assert.equal(existsSync(path.join(at('cut'), 'diff')), false);
    const { layer, fromByte } = await extract(`on-${i}`, blob.length, at('cut'));
    assert.ok(fromByte > cut - 20_000, `it went on from ${fromByte} of ${cut}`);
    assert.ok(hasImage(layer.directory));
    if (i + 1 < cuts.length) continue;
    await here.store.commit([layer], () => undefined);
    here.store.show(layer.diffId);
    assertExact(here, layer.diffId);
    assert.equal(await verify(here, layer.diffId), undefined);
  }
});

test('where the kernel has no such images a pull makes trees, and nothing is lost', async () => {
  await using here = await openStore('overlay2');
  const layer = await addImage(here);
  await here.store.createRootfs('c1', [layer]);
  here.store.hideAll();
  const real = here.context.sys;
  const sys: Syscalls = Object.assign(Object.create(real) as Syscalls, {
    mount: (args: Parameters<Syscalls['mount']>[0]) => {
      if (args.type === 'erofs') throw syscallError('mount', 19, args.target);
      real.mount(args);
    },
  });
  const storage = { sizeBytes: 0, syncDiffs: true };
  const old = await openLayerStore({ ...here.context, sys }, 'overlay2', storage);
  assert.equal(existsSync(imagesMarker(here.context.dataRoot.objects)), false);
  assert.match(old.damageOf(layer) ?? '', /needs EROFS from files/);
  await assert.rejects(old.mountRootfs('c1', [layer]), /cannot mount the image of a layer's names/);
  const capable = await openLayerStore(here.context, 'overlay2', storage);
  assert.equal(capable.damageOf(layer), undefined);
  await capable.mountRootfs('c1', [layer]);
  await capable.unmountRootfs('c1');
  // The old kernel again: what comes takes the image's place.
  capable.hideAll();
  const again = await openLayerStore({ ...here.context, sys }, 'overlay2', storage);
  const staged = await here.stage(await layerTar(common(NEW)));
  await again.commit([staged], () => undefined);
  assert.equal(hasImage(path.dirname(again.directoryOf(layer))), false);
  const { merged } = await again.mountRootfs('c1', [layer]);
  assert.equal(readdirSync(path.join(merged, 'common')).length, 40);
});

test('an image that goes is not mounted any more', async () => {
  await using here = await openStore('overlay2');
  const layer = await addImage(here);
  const folder = folderOf(here, layer);
  const isMounted = (): boolean =>
    readMountInfo().some(({ mountPoint }) => mountPoint === path.join(folder, 'diff'));
  await here.store.createRootfs('c1', [layer]);
  const { merged } = await here.store.mountRootfs('c1', [layer]);
  assert.ok(isMounted());
  here.store.hideAll();
  assert.equal(isMounted(), false);
  // A container that runs keeps what it is made of.
  assert.equal(readdirSync(path.join(merged, 'common')).length, 40);
  await here.store.unmountRootfs('c1');
  await here.store.mountRootfs('c1', [layer]);
  assert.ok(isMounted());
  await here.store.removeRootfs('c1');
  await here.store.collect();
  await here.settle();
  assert.equal(existsSync(folder), false);
  assert.equal(isMounted(), false);
  assert.deepEqual(readdirSync(here.context.dataRoot.staging), []);
});

test('what a container calls like an image of names is nothing to the engine', async () => {
  await using here = await openStore('overlay2');
  const { store, context } = here;
  const [layer] = await here.add(await layerTar(common(OLD)));
  assert.ok(layer !== undefined);
  await store.createRootfs('c1', [layer]);
  await store.createRootfs('c2', [layer]);
  const { merged } = await store.mountRootfs('c2', [layer]);
  const upper = path.join(context.dataRoot.containers, 'c1/upper');
  writeFileSync(path.join(upper, LAYER_IMAGE), '');
  symlinkSync(merged, path.join(upper, 'diff'));
  await store.removeRootfs('c1');
  await here.settle();
  assert.equal(readdirSync(path.join(merged, 'common')).length, 40);
  await store.removeRootfs('c2');
});

test('an image leaves nothing in the page cache when it is written', async () => {
  await using here = await openStore('overlay2');
  await here.add(await layerTar(common(OLD)));
  const staged = await here.stage(await layerTar(common(NEW)));
  const { sys } = here.context;
  assert.ok(hasImage(staged.directory));
  const fd = sys.openat2(CWD, path.join(staged.directory, LAYER_IMAGE), { flags: 0 });
  assert.equal(sys.cachedPages(fd), 0);
  closeSync(fd);
});
