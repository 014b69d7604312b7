import assert from 'node:assert/strict';
import { rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { EngineError } from '../../src/base/errors.ts';
import { type DeltaBench, deltaLayer, openDeltaBench, rdiffOf } from '../support/delta-layer.ts';
import { noise } from '../support/deltas.ts';
import { digestOf, layerTar } from '../support/images.ts';

/** A base of two layers and a target that copies from both and adds something. */
async function smallPair(): Promise<{ base: Uint8Array[]; target: Uint8Array; delta: Buffer }> {
  const content = noise('base', 1400);
  const base = [
    await layerTar([{ name: 'a', content }]),
    await layerTar([{ name: 'b', content: noise('top', 600) }]),
  ];
  const target = await layerTar([
    { name: 'a', content: Buffer.concat([content, Buffer.from('and more')]) },
    { name: 'b', content: noise('top', 600) },
  ]);
  const delta = rdiffOf(Buffer.concat(base), target);
  assert.ok(delta.length < target.length / 2, 'it copies');
  return { base, target, delta };
}

/** True when it was refused; then by one sentence of ours. */
async function isRefused(bench: DeltaBench, delta: Uint8Array, diffId: string): Promise<boolean> {
  try {
    const staged = await bench.apply(delta, diffId);
    assert.equal(staged.diffId, diffId);
    return false;
  } catch (error) {
    assert.ok(error instanceof EngineError, String(error));
    assert.ok(error.kind === 'invalidArgument' || error.kind === 'dataLoss', error.kind);
    assert.match(error.message, /^cannot apply the delta: [^\n]+$/);
    return true;
  }
}

test('a delta that is cut off is refused, wherever the cut is', async () => {
  const { base, target, delta } = await smallPair();
  using bench = await openDeltaBench(base);
  const layer = deltaLayer(delta);
  assert.equal(await isRefused(bench, layer, digestOf(target)), false);
  const needed = 512 + delta.length;
  for (let bytes = 0; bytes < needed; bytes += 1) {
    assert.ok(await isRefused(bench, layer.subarray(0, bytes), digestOf(target)), `${bytes}`);
  }
  const packed = gzipSync(layer);
  for (let bytes = 0; bytes < packed.length - 8; bytes += 1) {
    assert.ok(await isRefused(bench, packed.subarray(0, bytes), digestOf(target)), `gz ${bytes}`);
  }
});

test('a delta with a flipped bit is refused or gives the right layer, wherever the bit is', async () => {
  const { base, target, delta } = await smallPair();
  using bench = await openDeltaBench(base);
  const layer = deltaLayer(delta);
  let refused = 0;
  for (let i = 0; i < layer.length; i += 1) {
    const wrong = Buffer.from(layer);
    wrong[i] = (wrong[i] ?? 0) ^ (1 << (i % 8));
    if (await isRefused(bench, wrong, digestOf(target))) refused += 1;
  }
  // What is behind the delta means nothing, and in its header some bits.
  assert.ok(refused > delta.length + 300, `${refused} of ${layer.length}`);
  const packed = gzipSync(layer);
  for (let i = 0; i < packed.length; i += 1) {
    const wrong = Buffer.from(packed);
    wrong[i] = (wrong[i] ?? 0) ^ (1 << (i % 8));
    await isRefused(bench, wrong, digestOf(target));
    await assert.rejects(
      bench.apply(wrong, digestOf(target), { digest: digestOf(packed) as never }),
      { kind: 'dataLoss', message: /^filesystem layer verification failed for digest sha256:/ },
    );
  }
});

test('lengths that lie are refused without taking memory or disk', async () => {
  const { base, target } = await smallPair();
  using bench = await openDeltaBench(base);
  const head = '72730236';
  const petabyte = '0004000000000000';
  const cases: [hex: string, message: RegExp][] = [
    [`${head}44${petabyte}00`, /claims more than/],
    [`${head}44ffffffffffffffff00`, /claims more than/],
    [`${head}4e0000000000000000${petabyte}00`, /./],
    [`${head}54${petabyte}000000000000000100`, /goes beyond the basis of \d+ bytes/],
    [`${head}540000000000000000${petabyte}00`, /goes beyond the basis of \d+ bytes/],
    [`${head}4500000000`, /a copy of no bytes/],
    [`${head}43ffffffff61`, /./],
    ['72730136', /got magic number 72730136/],
    [`${head}00`, /invalid diffID for layer 0: expected "sha256:\w+", got "sha256:\w+"/],
  ];
  const before = process.memoryUsage().rss;
  for (const [hex, message] of cases) {
    await assert.rejects(bench.apply(deltaLayer(Buffer.from(hex, 'hex')), digestOf(target)), {
      kind: 'invalidArgument',
      message,
    });
  }
  // The basis, over and over again: it ends as soon as it is no tar any more.
  const whole = Buffer.alloc(13);
  whole.writeUInt8(0x4f, 0);
  whole.writeUInt32BE(0, 1);
  whole.writeUInt32BE(bench.basis.bytes, 5);
  const copies = Buffer.concat(Array.from({ length: 20_000 }, () => whole.subarray(0, 9)));
  const bomb = Buffer.concat([Buffer.from(head, 'hex'), copies, Buffer.of(0)]);
  await assert.rejects(bench.apply(deltaLayer(bomb), digestOf(target)), {
    kind: 'invalidArgument',
  });
  // The young generation of this process alone grows by 64 MB; what was claimed is 10^6 times more.
  assert.ok(process.memoryUsage().rss - before < 256 << 20);
});

test('what is no delta at all is refused', async () => {
  const { base, target } = await smallPair();
  using bench = await openDeltaBench(base);
  const cases = [
    Buffer.alloc(1024),
    await layerTar([{ name: 'delta', type: 'directory' }]),
    await layerTar([{ name: 'delta', type: 'symlink', linkname: '/etc/shadow' }]),
    await layerTar([{ name: 'delta', content: '' }]),
    target,
    Buffer.from('no tar'),
  ];
  for (const layer of cases) assert.ok(await isRefused(bench, layer, digestOf(target)));
});

test('a base that has changed is refused, and named', async () => {
  const { base, target, delta } = await smallPair();
  const layer = deltaLayer(delta);
  const tries: [spoil: (file: string) => void, message: RegExp][] = [
    [(file) => writeFileSync(file, noise('other', 1400)), /the delta or its base is damaged$/],
    [(file) => truncateSync(file, 100), /layer sha256:\w+ of the base is damaged: a file is short/],
    [(file) => rmSync(file), /layer sha256:\w+ of the base is damaged: /],
  ];
  for (const [spoil, message] of tries) {
    using bench = await openDeltaBench(base);
    spoil(path.join(bench.layerFolder(0), 'diff/a'));
    await assert.rejects(bench.apply(layer, digestOf(target)), { message });
  }
});
