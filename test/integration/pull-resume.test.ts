import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import {
  existsSync,
  lstatSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import fc from 'fast-check';
import { type DiffId, parseDiffId, parseDigest } from '../../src/base/digest.ts';
import { unavailable } from '../../src/base/errors.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { BLOB_CHECKPOINTS, findCheckpoint } from '../../src/store/layers/layer-checkpoint.ts';
import { layerTar as exactTar } from '../../src/store/layers/layer-tar.ts';
import { extractLayer } from '../../src/worker/extract.ts';
import { startFaultyRegistry } from '../fault/registry.ts';
import { startDaemon } from '../support/daemon.ts';
import { buildImage, digestOf, type LayerEntry, layerTar } from '../support/images.ts';
import { chunksOf, type OpenStore, openStore } from '../support/layers.ts';
import { eventually } from '../support/processes.ts';

const sys = openSyscalls();
const EAGER = { everyBytes: 12_000, everyMs: 0 };
const KINDS = BLOB_CHECKPOINTS;

/** Names, kinds, modes, owners, times, contents and links of a tree. */
function treeOf(folder: string): string[] {
  const names = readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort();
  const first = new Map<number, string>();
  return names.map((name) => {
    const place = path.join(folder, name);
    const stats = lstatSync(place, { bigint: true });
    const ino = Number(stats.ino);
    if (!first.has(ino)) first.set(ino, name);
    const content = stats.isFile()
      ? createHash('sha256').update(readFileSync(place)).digest('hex').slice(0, 16)
      : stats.isSymbolicLink()
        ? readlinkSync(place)
        : '';
    // A whiteout has no time that means anything.
    const time = stats.isCharacterDevice() ? '' : stats.mtimeNs;
    return `${name} ${stats.mode} ${stats.uid}:${stats.gid} ${time} ${first.get(ino)} ${content}`;
  });
}

type Cut = { readonly atByte: number };

/** One extraction of a blob into a folder of staging; cut off somewhere, or gone on with. */
async function extract(
  here: OpenStore,
  blob: Uint8Array,
  name: string,
  how: {
    readonly cut?: Cut;
    readonly earlier?: string;
    readonly diffId?: DiffId;
    readonly everyBytes?: number;
  } = {},
) {
  const directory = path.join(here.context.dataRoot.staging, name);
  const checkpoint = how.earlier === undefined ? undefined : findCheckpoint(how.earlier, KINDS);
  const fromByte = checkpoint?.hashedBytes ?? 0;
  const source = async function* (): AsyncGenerator<Uint8Array> {
    let at = fromByte;
    for await (const chunk of chunksOf(blob.subarray(fromByte), 1_500)) {
      if (how.cut !== undefined && at >= how.cut.atByte) throw unavailable('the link is gone');
      at += chunk.length;
      yield chunk;
    }
  };
  const layer = await extractLayer({
    ...{ sys, directory, source: source() },
    checkpoints: { ...EAGER, everyBytes: how.everyBytes ?? EAGER.everyBytes },
    expected: {
      digest: parseDigest(digestOf(blob)),
      sizeBytes: blob.length,
      ...(how.diffId === undefined ? {} : { diffId: how.diffId }),
    },
    origin: undefined,
    signal: new AbortController().signal,
    ...(how.earlier === undefined || checkpoint === undefined
      ? {}
      : { earlier: { directory: how.earlier, checkpoint } }),
  });
  return { layer, directory, fromByte };
}

/** What a layer is made of: folders, links, replaced files, whiteouts, contents of three kinds. */
const WISHES = fc.array(
  // Shrinking takes minutes.
  fc.noShrink(
    fc.record({
      kind: fc.oneof(
        { arbitrary: fc.constantFrom('file', 'directory', 'symlink', 'link', 'gone'), weight: 60 },
        { arbitrary: fc.constant('again'), weight: 1 },
      ),
      content: fc.constantFrom('small', 'random', 'text'),
      bytes: fc.oneof(
        { arbitrary: fc.integer({ min: 1, max: 50_000 }), weight: 7 },
        { arbitrary: fc.integer({ min: 200_000, max: 600_000 }), weight: 1 },
      ),
      mode: fc.constantFrom(0o644, 0o755, 0o600, 0o4755),
      uid: fc.constantFrom(0, 1000),
    }),
  ),
  { minLength: 8, maxLength: 25 },
);
type Wish = typeof WISHES extends fc.Arbitrary<(infer W)[]> ? W : never;

function contentOf({ content, bytes }: Wish): Buffer {
  if (content === 'random') return randomBytes(bytes);
  const text = 'text of a file, again and again\n';
  return Buffer.alloc(content === 'small' ? bytes % 300 : bytes, text);
}

function entriesOf(wish: Wish, i: number): LayerEntry[] {
  const mtime = new Date(1_700_000_000_000 + i * 1000);
  const { kind, mode, uid } = wish;
  const content = contentOf(wish);
  const file = { name: `d/f${i}`, content, mode, uid, mtime };
  switch (kind) {
    case 'directory':
      return [{ name: `d${i}`, type: 'directory', mode: 0o750, mtime }];
    case 'symlink':
      return [{ name: `d/s${i}`, type: 'symlink', linkname: `f${i}`, mtime }];
    case 'link':
      return [file, { name: `d/l${i}`, type: 'link', linkname: `d/f${i}`, mtime }];
    case 'again':
      return [file, { ...file, content: Buffer.concat([content, Buffer.from('!')]) }];
    case 'gone':
      return [{ name: `d/.wh.x${i}`, content: '', mtime }];
    case 'file':
      return [file];
  }
}

/** Cut into so many pieces, each packed by itself. */
const inPieces = (tar: Buffer, pieces: number, pack: (bytes: Buffer) => Buffer): Buffer => {
  const bytes = Math.ceil(tar.length / pieces);
  const at = Array.from({ length: pieces }, (_, i) => i * bytes);
  return Buffer.concat(at.map((start) => pack(tar.subarray(start, start + bytes))));
};

/** Ways to pack a layer. */
const PACK = {
  none: (tar: Buffer) => tar,
  gzip: (tar: Buffer) => gzipSync(tar, { level: 6, memLevel: 3 }),
  members: (tar: Buffer) => inPieces(tar, 2, (piece) => gzipSync(piece)),
  zstd: (tar: Buffer) => zstdCompressSync(tar),
  frames: (tar: Buffer) => inPieces(tar, 6, (piece) => zstdCompressSync(piece)),
} as const;
const PACKINGS = ['none', 'gzip', 'members', 'zstd', 'frames'] as const;

test('an extraction that is cut off anywhere and gone on with gives the very same layer', async () => {
  let resumed = 0;
  await fc.assert(
    fc.asyncProperty(
      WISHES,
      fc.integer({ min: 100, max: 980 }).map((n) => n / 1000),
      fc.integer({ min: 100, max: 980 }).map((n) => n / 1000),
      fc.constantFrom(...PACKINGS),
      async (wishes, first, second, packing) => {
        await using here = await openStore('overlay2');
        const top: LayerEntry = { name: 'd', type: 'directory' };
        const tar = Buffer.from(await layerTar([top, ...wishes.flatMap(entriesOf)]));
        const blob = PACK[packing](tar);
        const whole = await extract(here, blob, 'whole');
        // Two cuts, one after the other.
        let earlier: string | undefined;
        for (const [i, share] of [first, first + (1 - first) * second].entries()) {
          const name = `cut-${i}`;
          const cut = { atByte: share * blob.length };
          const outcome = await extract(here, blob, name, {
            cut,
            ...(earlier === undefined ? {} : { earlier }),
          }).catch((error: unknown) => {
            assert.match(String(error), /the link is gone/);
            return undefined;
          });
          if (outcome !== undefined) return; // the cut came after the last byte
          const directory = path.join(here.context.dataRoot.staging, name);
          if (findCheckpoint(directory, KINDS) !== undefined) earlier = directory;
        }
        if (earlier === undefined) return;
        resumed += 1;
        const rest = await extract(here, blob, 'rest', { earlier });
        assert.equal(rest.layer.diffId, whole.layer.diffId);
        assert(
          packing === 'zstd' ? rest.fromByte === 0 : rest.fromByte > 0 || packing === 'frames',
        );
        const trees = [rest, whole].map(({ directory }) => treeOf(path.join(directory, 'diff')));
        assert.deepEqual(trees[0], trees[1]);
        const { directory, layer } = rest;
        const again = Buffer.concat([...exactTar({ sys, directory, diffId: layer.diffId })]);
        assert(again.equals(tar));
        assert(!existsSync(path.join(directory, 'checkpoint')));
      },
    ),
    { numRuns: 36, endOnFailure: true },
  );
  assert(resumed > 7, `${resumed} of 36 were gone on with`);
});

test('files that are here already are not written again', async () => {
  await using here = await openStore('overlay2');
  const entries = Array.from({ length: 200 }, (_, i) => ({
    name: `f${i}`,
    content: randomBytes(20_000),
  }));
  const blob = gzipSync(await layerTar(entries));
  const everyBytes = 100_000;
  const cut = { atByte: blob.length * 0.9 };
  await assert.rejects(extract(here, blob, 'cut', { cut, everyBytes }));
  const earlier = path.join(here.context.dataRoot.staging, 'cut');
  const { layer, fromByte } = await extract(here, blob, 'rest', { earlier, everyBytes });
  // What was unpacked ahead of the files is lost: less than a megabyte.
  assert(fromByte > blob.length * 0.65, `gone on from ${fromByte} of ${blob.length}`);
  const written = layer.writtenBytes;
  assert(written < 1_500_000, `${written} of 4,000,000 bytes were written`);
});

test('zstd is gone on with at the last frame, and what is on the disk is not written again', async () => {
  await using here = await openStore('overlay2');
  const entries = Array.from({ length: 40 }, (_, i) => ({
    name: `f${i}`,
    content: randomBytes(20_000),
  }));
  const tar = Buffer.from(await layerTar(entries));
  for (const [packing, fromShare] of [
    ['zstd', 0],
    ['frames', 0.6],
  ] as const) {
    const blob = PACK[packing](tar);
    const name = `cut-${packing}`;
    await assert.rejects(extract(here, blob, name, { cut: { atByte: blob.length * 0.9 } }));
    const earlier = path.join(here.context.dataRoot.staging, name);
    const again = await extract(here, blob, `rest-${packing}`, { earlier });
    const { layer, fromByte } = again;
    assert(fromByte >= blob.length * fromShare && fromByte < blob.length * 0.9, `${fromByte}`);
    // A single frame's output comes in blocks of 128 KiB.
    assert(layer.writtenBytes < 350_000, `${layer.writtenBytes} of 800,000 bytes were written`);
    assert.equal(layer.diffId, digestOf(tar));
  }
});

/** Text that packs to about half: blocks of deflate as programs have them. */
function packable(bytes: number): Buffer {
  return Buffer.from(randomBytes(Math.ceil((bytes * 3) / 4)).toString('base64')).subarray(0, bytes);
}

test('inside a file that makes the whole layer, little comes again and is written again', async () => {
  const everyBytes = 100_000;
  for (const [content, pack] of [
    [packable(6_000_000), gzipSync],
    [randomBytes(6_000_000), gzipSync],
    [packable(6_000_000), (tar: Uint8Array): Uint8Array => tar],
  ] as const) {
    await using here = await openStore('overlay2');
    const entries: LayerEntry[] = [
      { name: 'usr', type: 'directory' },
      { name: 'usr/app', content, mode: 0o4755, uid: 7, mtime: new Date(1_600_000_000_000) },
      { name: 'usr/later', content: 'later' },
    ];
    const blob = pack(await layerTar(entries));
    const whole = await extract(here, blob, 'whole', { everyBytes });
    let earlier: string | undefined;
    for (const share of [0.4, 0.9]) {
      const name = `cut-${share}`;
      const from = earlier === undefined ? {} : { earlier };
      const cut = { atByte: share * blob.length };
      const how = { cut, everyBytes, ...from };
      await assert.rejects(extract(here, blob, name, how), /the link is gone/);
      earlier = path.join(here.context.dataRoot.staging, name);
    }
    assert(earlier !== undefined);
    const { tail } = findCheckpoint(earlier, KINDS) ?? assert.fail('no checkpoint');
    assert.equal(tail?.path, 'usr/app');
    const rest = await extract(here, blob, 'rest', { earlier, everyBytes });
    assert(rest.fromByte > blob.length * 0.7, `gone on from ${rest.fromByte} of ${blob.length}`);
    const { writtenBytes } = rest.layer;
    assert(writtenBytes < content.length * 0.3, `${writtenBytes} bytes were written`);
    assert.deepEqual(
      treeOf(path.join(rest.directory, 'diff')),
      treeOf(path.join(whole.directory, 'diff')),
    );
  }
});

test('a cut while a file is found to be here already is gone on from too', async () => {
  await using here = await openStore('overlay2');
  const content = packable(8_000_000);
  const app = { name: 'app', content };
  await here.add(await layerTar([app]));
  const entries = [
    { ...app, mtime: new Date(1_600_000_000_000) },
    { name: 'b', content: 'b' },
  ];
  const blob = gzipSync(await layerTar(entries));
  const cut = { atByte: blob.length * 0.8 };
  await assert.rejects(extract(here, blob, 'cut', { cut }), /the link is gone/);
  const earlier = path.join(here.context.dataRoot.staging, 'cut');
  assert.equal(findCheckpoint(earlier, KINDS)?.tail?.isObject, true);
  const rest = await extract(here, blob, 'rest', { earlier });
  // What the unpacking thread has not come to is not counted.
  assert(rest.fromByte > blob.length * 0.5);
  assert.equal(rest.layer.sharedBytes, content.length);
});

test('what an extraction wrote behind its checkpoint is not believed', async () => {
  await using here = await openStore('overlay2');
  const entries: LayerEntry[] = Array.from({ length: 40 }, (_, i) => ({
    name: `f${i}`,
    content: randomBytes(i === 20 ? 400_000 : 20_000),
  }));
  const blob = gzipSync(await layerTar(entries));
  const whole = await extract(here, blob, 'whole');
  for (const share of [0.3, 0.5, 0.9]) {
    const name = `cut-${share}`;
    const cut = { atByte: blob.length * share };
    await assert.rejects(extract(here, blob, name, { cut }), /the link is gone/);
    const earlier = path.join(here.context.dataRoot.staging, name);
    const { point, tail } = findCheckpoint(earlier, KINDS) ?? assert.fail('no checkpoint');
    // As after a power cut: sizes are right, contents never came to the disk.
    let at = 0;
    let spoiled = 0;
    for (const { name: file, content = '' } of entries) {
      const bytes = content.length;
      const [begin, end] = [at, at + 512 + bytes];
      at += 512 + Math.ceil(bytes / 512) * 512;
      const known = file === tail?.path ? tail.bytes : 0;
      const wasWhole = begin < point.outputBytes && tail === undefined;
      if (wasWhole || end <= point.outputBytes) continue;
      const place = path.join(earlier, 'diff', file);
      const before = existsSync(place) ? readFileSync(place).subarray(0, known) : Buffer.alloc(0);
      writeFileSync(place, Buffer.concat([before, Buffer.alloc(bytes - before.length)]));
      spoiled += 1;
    }
    assert(spoiled > 0);
    const rest = await extract(here, blob, `rest-${share}`, { earlier });
    assert.deepEqual(
      treeOf(path.join(rest.directory, 'diff')),
      treeOf(path.join(whole.directory, 'diff')),
    );
  }
});

test('what is damaged of an earlier extraction is found out', async () => {
  await using here = await openStore('overlay2');
  const entries = Array.from({ length: 40 }, (_, i) => ({
    name: `f${i}`,
    content: randomBytes(20_000),
  }));
  const tar = Buffer.from(await layerTar(entries));
  const diffId = parseDiffId(digestOf(tar));
  for (const packing of PACKINGS) {
    const blob = PACK[packing](tar);
    const cut = { atByte: blob.length * 0.9 };
    await assert.rejects(extract(here, blob, `cut-${packing}`, { cut }));
    const earlier = path.join(here.context.dataRoot.staging, `cut-${packing}`);
    assert(findCheckpoint(earlier, KINDS));
    const file = path.join(earlier, 'diff/f3');
    const bytes = readFileSync(file);
    bytes[100] = (bytes[100] ?? 0) ^ 1;
    writeFileSync(file, bytes);
    await assert.rejects(
      extract(here, blob, `rest-${packing}`, { earlier, diffId }),
      { kind: 'dataLoss' },
      packing,
    );
  }
});

test('a pull goes on where it was when the engine was killed', async () => {
  await using registry = await startFaultyRegistry();
  await using daemon = await startDaemon();
  // Two layers: a small one that comes whole, and one of a single file that is cut off.
  const image = await buildImage({
    layers: [
      [{ name: 'small', content: 'small' }],
      [{ name: 'app', content: randomBytes(30_000_000) }],
    ],
  });
  registry.add('app', 'v1', image);
  const large = image.layers[1] ?? assert.fail();
  // About 4 MB a second, and nothing more behind 70 percent.
  let isSlow = true;
  let served = 0;
  registry.fault = async (request, answer) => {
    if (!request.path.endsWith(large.digest) || request.method !== 'GET') return false;
    const from = Number(/^bytes=(\d+)-/.exec(String(request.headers.range))?.[1] ?? 0);
    const end = large.bytes.length;
    answer.writeHead(from === 0 ? 200 : 206, {
      'content-length': end - from,
      'content-range': `bytes ${from}-${end - 1}/${end}`,
    });
    const limit = isSlow ? Math.floor(end * 0.7) : end;
    for (let at = from; at < limit && !answer.destroyed; at += 400_000) {
      const piece = large.bytes.subarray(at, Math.min(limit, at + 400_000));
      answer.write(piece);
      served += piece.length;
      if (isSlow) await sleep(100);
    }
    if (!isSlow) answer.end();
    return true;
  };
  const pull = () => daemon.api('POST', `/images/create?fromImage=${registry.host}/app&tag=v1`);
  const first = pull().catch(() => undefined);
  await eventually(() => served >= large.bytes.length * 0.68, { timeoutMs: 30_000 });
  await daemon.stop('SIGKILL');
  await first;
  const before = served;
  assert(before > large.bytes.length * 0.65);
  await daemon.start();
  assert.equal(readdirSync(path.join(daemon.dataRoot, 'partial')).length, 1);
  isSlow = false;
  const answer = await pull();
  assert.match(answer.text, /Resuming at \d+(\.\d+)?MB/);
  assert.match(answer.text, /Status: Downloaded newer image/);
  assert.equal(answer.text.match(/Already exists/g)?.length, 1, 'the layer that was whole');
  const again = served - before;
  const missing = large.bytes.length - before;
  assert(again <= missing + (12 << 20), `${again} bytes came again, ${missing} were missing`);
  assert.match(
    (await daemon.api('POST', `/images/${registry.host}/app:v1/verify`)).text,
    /is whole/,
  );
  await eventually(() => readdirSync(path.join(daemon.dataRoot, 'partial')).length === 0);
});
