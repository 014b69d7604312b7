import assert from 'node:assert/strict';
import { createHash, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { constants as zlib, zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { parseDiffId, parseDigest, parseImageId } from '../../src/base/digest.ts';
import { isEngineError, unavailable } from '../../src/base/errors.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { findCheckpoint } from '../../src/store/layers/layer-checkpoint.ts';
import { LayerEntries } from '../../src/store/layers/layer-entries.ts';
import { layerTar as exactTar } from '../../src/store/layers/layer-tar.ts';
import { makeDeltas } from '../../src/worker/deltas/delta-maker.ts';
import { extractPart } from '../../src/worker/deltas/part-decoder.ts';
import { TarFiles } from '../../src/worker/deltas/tar-files.ts';
import { noise } from '../support/deltas.ts';
import { type LayerEntry, layerTar } from '../support/images.ts';
import { type OpenStore, openStore } from '../support/layers.ts';

/** Parts of deltas, made from tars and used on layers in a real store. */

let here: OpenStore;
const sys = openSyscalls();
const signal = new AbortController().signal;

before(async () => {
  here = await openStore('overlay2');
});
after(async () => {
  await here[Symbol.asyncDispose]();
});

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

type Part = {
  readonly bytes: Buffer;
  readonly frames: readonly number[];
  readonly tarBytes: number;
  readonly diffId: string;
};

/** Parts from a base to a target, each a list of tars. */
async function make(
  base: readonly Uint8Array[],
  target: readonly Uint8Array[],
  options: { frameBytes?: number } = {},
): Promise<Part[]> {
  const folder = path.join(here.context.dataRoot.staging, randomUUID());
  mkdirSync(folder);
  try {
    const image = (name: string, tars: readonly Uint8Array[]) => {
      const files = tars.map((tar, i) => {
        const file = path.join(folder, `${name}-${i}`);
        writeFileSync(file, tar);
        return file;
      });
      const entries = new TarFiles(files);
      const id = parseImageId(`sha256:${sha256(Buffer.from(name))}`);
      const diffIds = tars.map((tar) => parseDiffId(`sha256:${sha256(tar)}`));
      const tar = (position: number) => entries.tar(position);
      return { id, config: Buffer.alloc(0), diffIds, entries, tar };
    };
    const [from, to] = [image('base', base), image('target', target)];
    using _from = from.entries;
    using _to = to.entries;
    const [made] = await makeDeltas({
      ...{ target: to, bases: [from], folder, signal, ...options },
      onProgress: () => undefined,
    });
    return (made?.parts ?? []).flatMap((part, i) =>
      part === undefined
        ? []
        : [
            {
              bytes: readFileSync(part.file),
              frames: part.frames,
              tarBytes: part.tarBytes,
              diffId: to.diffIds[i] ?? '',
            },
          ],
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
}

type AnyPart = Omit<Part, 'bytes' | 'frames'> & {
  readonly bytes: Uint8Array;
  /** One, where nothing is said. */
  readonly frames?: readonly number[];
};

/** Uses a part on layers of the store; `cutAt`: the link breaks behind so many bytes. */
async function extract(
  entries: LayerEntries,
  part: AnyPart,
  directory: string,
  how: { cutAt?: number; earlier?: string } = {},
) {
  const checkpoint = how.earlier === undefined ? undefined : findCheckpoint(how.earlier, ['delta']);
  const fromByte = checkpoint?.hashedBytes ?? 0;
  const earlier =
    how.earlier === undefined || checkpoint === undefined
      ? undefined
      : { directory: how.earlier, checkpoint };
  const { bytes } = part;
  const layer = await extractPart({
    ...{ sys, base: entries, directory, signal, earlier },
    diffId: parseDiffId(part.diffId),
    source: pieces(bytes.subarray(fromByte), (how.cutAt ?? bytes.length + 1) - fromByte),
    part: {
      digest: parseDigest(`sha256:${sha256(bytes)}`),
      sizeBytes: bytes.length,
      frames: part.frames ?? [bytes.length],
      tarBytes: part.tarBytes,
    },
    checkpointMs: 0,
    onProgress: () => undefined,
  });
  return { layer, fromByte };
}

/** The same; what it makes is dropped again. */
async function use(entries: LayerEntries, part: AnyPart): Promise<string> {
  const directory = path.join(here.context.dataRoot.staging, randomUUID());
  try {
    const { layer } = await extract(entries, part, directory);
    return layer.diffId;
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

async function* pieces(bytes: Uint8Array, cutAt: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += 700) {
    if (at >= cutAt) throw unavailable('the link is gone');
    yield bytes.subarray(at, at + 700);
  }
  await Promise.resolve();
}

async function openBase(tars: readonly Uint8Array[]): Promise<LayerEntries> {
  const diffIds = await here.add(...tars);
  return new LayerEntries(
    sys,
    diffIds.map((diffId) => path.dirname(here.store.directoryOf(diffId))),
  );
}

const content = fc
  .tuple(fc.nat(5), fc.constantFrom(0, 1, 511, 512, 5000, 70_000), fc.nat(80))
  .map(([seed, bytes, edit]) => {
    const made = noise(String(seed), bytes);
    if (bytes > edit && edit > 0) made[edit] = 7;
    return edit % 3 === 1 ? Buffer.concat([made, Buffer.from('more')]) : made;
  });
const time = fc.nat(1000).map((sec) => new Date(1_700_000_000_000 + sec * 1000));
const name = fc.constantFrom('a', 'b', 'lib-1.2/x', 'lib-1.3/x', 'deep/er/file', '.wh.gone', 'é');
const entry: fc.Arbitrary<LayerEntry> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ name, content, mtime: time }) },
  fc.record({ name, content, mtime: time }).map((each) => ({
    ...each,
    name: `${'long/'.repeat(30)}${each.name}`,
    pax: { 'SCHILY.xattr.user.note': each.name },
  })),
  time.map((mtime) => ({ name: 'dir/', type: 'directory' as const, mtime })),
  name.map((to) => ({ name: 'link', type: 'symlink' as const, linkname: to })),
  fc.constant({ name: 'null', type: 'character-device' as const, devmajor: 1, devminor: 3 }),
);
const layer = fc.array(entry, { maxLength: 8 });

test('what a delta makes of the base is the target, whatever the layers', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(layer, { minLength: 1, maxLength: 2 }),
      fc.array(layer, { minLength: 1, maxLength: 2 }),
      async (old, target) => {
        const [base, tars] = [
          await Promise.all(old.map(layerTar)),
          await Promise.all(target.map(layerTar)),
        ];
        const parts = await make(base, tars);
        using entries = await openBase(base);
        for (const part of parts) assert.equal(await use(entries, part), part.diffId);
        assert.deepEqual(await make(base, tars), parts, 'the same layers give the same bytes');
      },
    ),
    { numRuns: 12 },
  );
});

test('a tar with bytes where zeros should be comes back too', async () => {
  const base = Buffer.from(await layerTar([{ name: 'a', content: 'xyz' }]));
  const odd = Buffer.from(await layerTar([{ name: 'a', content: 'xyz' }, { name: 'b' }]));
  odd.write('not zero', 512 + 100);
  const long = Buffer.concat([base, Buffer.alloc(2 << 20)]);
  using entries = await openBase([base]);
  for (const tar of [odd, long, Buffer.concat([base, Buffer.alloc(100)])]) {
    const [part] = await make([base], [tar]);
    assert.ok(part !== undefined);
    assert.equal(await use(entries, part), part.diffId);
  }
});

test('a file that begins as the copied one before it is not taken for that', async () => {
  const copied = noise('c', 20_000);
  const like = Buffer.from(copied);
  like[19_000] = (like[19_000] ?? 0) ^ 1;
  const large = noise('l', 100_000);
  const base = await layerTar([
    { name: 'copied', content: copied },
    { name: 'large', content: large },
  ]);
  const target = await layerTar([
    { name: 'copied', content: copied },
    { name: 'like', content: like },
    { name: 'large', content: large },
    { name: 'like-large', content: Buffer.concat([large.subarray(1), Buffer.of(9)]) },
  ]);
  const [part] = await make([base], [target]);
  assert.ok(part !== undefined);
  using entries = await openBase([base]);
  const directory = path.join(here.context.dataRoot.staging, randomUUID());
  const { layer } = await extract(entries, part, directory);
  assert.equal(layer.sharedBytes, 120_000);
  const tar = [...exactTar({ sys, directory, diffId: layer.diffId })];
  assert.deepEqual(Buffer.concat(tar), Buffer.from(target));
  rmSync(directory, { recursive: true });
});

/** A small pair with every kind of content. */
async function smallPair(): Promise<{ base: Uint8Array; part: Part }> {
  const program = noise('p', 3000);
  const changed = Buffer.from(program);
  changed[1000] = 1;
  const base = await layerTar([
    { name: 'program', content: program },
    { name: 'same', content: 'the same' },
    { name: 'moved', content: noise('m', 600) },
  ]);
  const target = await layerTar([
    { name: 'program', content: changed, mtime: new Date(1_800_000_000_000) },
    { name: 'same', content: 'the same' },
    { name: 'elsewhere', content: noise('m', 600) },
    { name: 'new', content: 'a few words that are new' },
  ]);
  const [part] = await make([base], [target]);
  assert.ok(part !== undefined);
  return { base, part };
}

async function refused(what: Promise<unknown>, why: string): Promise<void> {
  await assert.rejects(what, (error) => {
    assert.ok(isEngineError(error, 'dataLoss', 'invalidArgument'), `${why}: ${String(error)}`);
    assert.equal(error.message.split('\n').length, 1);
    return true;
  });
}

/** All of what begins and ends it, where lengths and check sums are, and every seventh between. */
function placesIn(bytes: Uint8Array): number[] {
  const isTried = (at: number): boolean => at < 60 || at >= bytes.length - 20 || at % 7 === 0;
  return Array.from(bytes.keys()).filter(isTried);
}

test('a cut or a flipped bit anywhere in a small part makes the layer or nothing', async () => {
  const { base, part } = await smallPair();
  using entries = await openBase([base]);
  assert.equal(await use(entries, part), part.diffId);
  const inside = zstdDecompressSync(part.bytes);
  for (const [what, bytes, pack] of [
    ['part', part.bytes, (each: Buffer) => each],
    ['stream in the part', inside, (each: Buffer) => zstdCompressSync(each)],
  ] as const) {
    for (const at of placesIn(bytes)) {
      const cut = pack(bytes.subarray(0, at));
      const flipped = Buffer.from(bytes);
      flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
      // Not all bits mean something: what comes out is the layer, verified, or nothing.
      const orNothing = async (bad: Buffer, why: string): Promise<void> => {
        const result = use(entries, { ...part, frames: [bad.length], bytes: bad });
        const made = await result.catch(() => undefined);
        if (made === undefined) await refused(result, why);
        else assert.equal(made, part.diffId, why);
      };
      await orNothing(pack(flipped), `${what} flipped at ${at}`);
      if (what === 'part') await orNothing(cut, `part cut at ${at}`);
      else
        await refused(
          use(entries, { ...part, frames: [cut.length], bytes: cut }),
          `${what} cut at ${at}`,
        );
    }
  }
});

test('a part that is cut off anywhere and gone on with makes the same layer', async () => {
  const file = (i: number, version: number): LayerEntry => ({
    name: `d/f${i}`,
    content: noise(`${i} ${i % 3 === 0 ? '' : version}`, 1500 + (i % 7) * 100),
    mtime: new Date(1_700_000_000_000 + version * 1000),
  });
  const tarOf = async (version: number) =>
    await layerTar([
      { name: 'd', type: 'directory' },
      ...Array.from({ length: 40 }, (_, i) => file(i, version)),
      { name: 'link', type: 'link', linkname: 'd/f4' },
    ]);
  const base = await tarOf(1);
  const [part] = await make([base], [await tarOf(2)], { frameBytes: 4000 });
  assert.ok(part !== undefined);
  assert.ok(part.frames.length > 5, `${part.frames.length} frames`);
  using entries = await openBase([base]);
  let goneOn = 0;
  for (let cutAt = 0; cutAt < part.bytes.length; cutAt += 3700) {
    const folder = path.join(here.context.dataRoot.staging, randomUUID());
    mkdirSync(folder);
    const [first, second, third] = ['first', 'second', 'third'].map((name) =>
      path.join(folder, name),
    ) as [string, string, string];
    await assert.rejects(extract(entries, part, first, { cutAt }), { kind: 'unavailable' });
    const later = { cutAt: cutAt + 5000, earlier: first };
    const isCut = await extract(entries, part, second, later).then(
      () => false,
      (error: unknown) => isEngineError(error, 'unavailable'),
    );
    const found = findCheckpoint(second, ['delta']);
    const earlier = isCut && found !== undefined ? second : first;
    const { layer, fromByte } = await extract(entries, part, third, { earlier });
    assert.equal(layer.diffId, part.diffId);
    // No more than a frame, and what was on its way, comes again.
    assert.ok(fromByte > cutAt - Math.max(...part.frames) - 700, `${fromByte} at ${cutAt}`);
    if (fromByte > 0) goneOn += 1;
    const tar = [...exactTar({ sys, directory: third, diffId: layer.diffId })];
    assert.equal(`sha256:${sha256(Buffer.concat(tar))}`, part.diffId);
    assert.ok(!existsSync(path.join(third, 'checkpoint')));
    // What is damaged of it is found out.
    if (findCheckpoint(first, ['delta']) !== undefined) {
      // As long as it may become an image of its names it has no tree.
      const tree = path.join(first, 'diff');
      const one = path.join(first, existsSync(tree) ? 'diff/d/f1' : 'objects/0/1');
      writeFileSync(one, readFileSync(one).fill(0, 100, 101));
      const again = extract(entries, part, path.join(folder, 'again'), { earlier: first });
      await assert.rejects(again, { kind: 'dataLoss' });
    }
    rmSync(folder, { recursive: true });
  }
  assert.ok(goneOn > 6, `${goneOn} were gone on with`);
});

test('frames that lie about where they begin are refused', async () => {
  const { base, part } = await smallPair();
  using entries = await openBase([base]);
  const { length } = part.bytes;
  for (const frames of [[1, length - 1], [length - 1, 1], [length + 1], [length - 1], []]) {
    await refused(use(entries, { ...part, frames }), frames.join());
  }
});

test('lengths that lie, bombs and large windows are refused, and memory stays bounded', async () => {
  const { base, part } = await smallPair();
  using entries = await openBase([base]);
  const whole = (bytes: Uint8Array) => ({ ...part, frames: [bytes.length], bytes });
  const u = (value: number): number[] =>
    value < 128 ? [value] : [(value % 128) | 128, ...u(Math.floor(value / 128))];
  const columns = (lengths: readonly number[]): number[] => lengths.flatMap(u);
  const petabyte = 2 ** 50;
  const streams: Record<string, readonly number[]> = {
    'a group that is too long': u(petabyte),
    'a column of a petabyte': [1, ...columns([petabyte])],
    'columns that are too long together': [1, ...columns(Array(10).fill(1 << 20) as number[])],
    'a trailer of a petabyte': [0, ...u(petabyte)],
    'an integer that does not end': Array(20).fill(0xff) as number[],
  };
  const rssBefore = process.memoryUsage().rss;
  for (const [why, stream] of Object.entries(streams)) {
    await refused(use(entries, whole(zstdCompressSync(Buffer.from(stream)))), why);
  }
  const bomb = zstdCompressSync(
    Buffer.concat([zstdDecompressSync(part.bytes), Buffer.alloc(256 << 20)]),
  );
  await refused(use(entries, whole(bomb)), 'a bomb behind the end');
  const params = { [zlib.ZSTD_c_windowLog]: 27, [zlib.ZSTD_c_compressionLevel]: 1 };
  const wide = zstdCompressSync(noise('w', 70 << 20), { params });
  await refused(use(entries, whole(wide)), 'a window of 128 MiB');
  await refused(use(entries, { ...part, tarBytes: part.tarBytes - 1 }), 'more than it says');
  await refused(use(entries, { ...part, tarBytes: part.tarBytes + 1 }), 'less than it says');
  const grownMb = (process.memoryUsage().rss - rssBefore) / 2 ** 20;
  assert.ok(grownMb < 600, `${grownMb.toFixed(0)} MB`);
});
