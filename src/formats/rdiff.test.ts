import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import { EngineError } from '../base/errors.ts';
import { RdiffReader, RdiffWriter } from './rdiff.ts';
import { RdiffEncoder, RdiffSignature } from './rdiff-signature.ts';

/** Applies a delta in chunks of `step` bytes. */
function apply(basis: Buffer, delta: Uint8Array, step = 7, outputBytesMax = 64 << 20): Buffer {
  const out: Buffer[] = [];
  const reader = new RdiffReader(
    {
      literal: (bytes) => void out.push(Buffer.from(bytes)),
      copy: (at, length) => void out.push(basis.subarray(at, at + length)),
    },
    { basisBytes: basis.length, outputBytesMax },
  );
  for (let at = 0; at < delta.length; at += step) reader.push(delta.subarray(at, at + step));
  reader.end();
  return Buffer.concat(out);
}

function makeDelta(basis: Buffer, target: Buffer, step = 1 << 20): Buffer {
  const signature = new RdiffSignature(basis.length);
  for (let at = 0; at < basis.length; at += step) signature.push(basis.subarray(at, at + step));
  const out: Buffer[] = [];
  const encoder = new RdiffEncoder(signature, (bytes) => void out.push(Buffer.from(bytes)));
  for (let at = 0; at < target.length; at += step) encoder.push(target.subarray(at, at + step));
  encoder.end();
  return Buffer.concat(out);
}

/** Bytes in which equal blocks, shifts and edits occur. */
const pieces = fc.array(
  fc.record({ seed: fc.integer({ min: 0, max: 5 }), bytes: fc.integer({ min: 1, max: 1500 }) }),
  { maxLength: 8 },
);
function bytesOf(list: { seed: number; bytes: number }[]): Buffer {
  return Buffer.concat(
    list.map(({ seed, bytes }) => {
      const block = createHash('sha256').update(String(seed)).digest();
      return Buffer.alloc(bytes, seed === 0 ? Buffer.alloc(1) : block);
    }),
  );
}

test('apply(delta(a, b), a) = b, in chunks of any size', () => {
  fc.assert(
    fc.property(pieces, pieces, fc.integer({ min: 1, max: 3000 }), (a, b, step) => {
      const [basis, target] = [bytesOf(a), bytesOf(b)];
      const delta = makeDelta(basis, target, step);
      assert.deepEqual(apply(basis, delta, step), target);
      assert.deepEqual(makeDelta(basis, target, 100_000), delta);
    }),
  );
});

test('what rdiff(1) decodes is what we meant', (t) => {
  if (spawnSync('rdiff', ['--version']).error !== undefined)
    return t.skip('rdiff is not installed');
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-rdiff-'));
  after(() => rmSync(folder, { recursive: true }));
  const file = (name: string): string => path.join(folder, name);
  const basis = createHash('shake256', { outputLength: 70_000 }).update('x').digest();
  const target = Buffer.concat([basis.subarray(30_000, 50_001), Buffer.alloc(300), basis]);
  writeFileSync(file('basis'), basis);
  writeFileSync(file('delta'), makeDelta(basis, target));
  const { status } = spawnSync('rdiff', ['patch', file('basis'), file('delta'), file('out')]);
  assert.equal(status, 0);
  assert.deepEqual(readFileSync(file('out')), target);
  // And the other way: rdiff's own delta, with immediate literals, through our reader.
  writeFileSync(file('target'), target);
  spawnSync('rdiff', ['signature', file('basis'), file('sig')]);
  spawnSync('rdiff', ['delta', file('sig'), file('target'), file('theirs')]);
  assert.deepEqual(apply(basis, readFileSync(file('theirs'))), target);
});

test('each way a stream can lie is refused', () => {
  const basis = Buffer.alloc(1000, 'b');
  const bytes = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');
  const cases: [string, RegExp][] = [
    ['', /ends before its end/],
    ['72730136 00', /magic number 72730136/],
    ['72730236', /ends before its end/],
    ['72730236 41', /ends before its end/],
    ['72730236 4105 61', /ends before its end/],
    ['72730236 55', /reserved command 0x55/],
    ['72730236 45 00 00 00', /copy of no bytes/],
    ['72730236 4a 03e7 0002 00', /beyond the basis of 1000/],
    ['72730236 54 ffffffffffffffff 0000000000000001 00', /beyond the basis/],
    ['72730236 44 0004000000000000 00', /claims more than/],
    ['72730236 00 00', /data after its end/],
  ];
  for (const [hex, message] of cases) {
    assert.throws(
      () => apply(basis, bytes(hex), 1),
      (error) =>
        error instanceof EngineError && error.kind === 'dataLoss' && message.test(error.message),
      hex,
    );
  }
});

test('hostile bytes end in a result or one error, within bounds', () => {
  const basis = Buffer.alloc(600, 'b');
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (tail) => {
      try {
        const out = apply(basis, Buffer.concat([Buffer.from('72730236', 'hex'), tail]), 3, 5000);
        assert.ok(out.length <= 5000);
      } catch (error) {
        assert.ok(error instanceof EngineError && error.kind === 'dataLoss', String(error));
      }
    }),
    { numRuns: 5000 },
  );
});

test('a literal longer than 16 MiB is cut there', () => {
  const sizes: number[] = [];
  const writer = new RdiffWriter((bytes) => void sizes.push(bytes.length));
  writer.literal(Buffer.alloc((16 << 20) + 5));
  writer.end();
  assert.deepEqual(sizes, [4, 5, 16 << 20, 2, 5, 1]);
});

const VECTORS = path.join(import.meta.dirname, '../../../shared/vectors/balena-delta');

/** Members of an archive by name. */
async function members(archive: string | Buffer): Promise<Map<string, Buffer>> {
  const found = new Map<string, Buffer>();
  const parser = extract();
  parser.end(typeof archive === 'string' ? readFileSync(archive) : archive);
  for await (const entry of parser) {
    const chunks: Buffer[] = [];
    for await (const chunk of entry) chunks.push(chunk as Buffer);
    found.set(entry.header.name, Buffer.concat(chunks));
  }
  return found;
}

/** Layer tars of a `save` archive, bottom first. */
async function layersOf(name: string): Promise<Buffer[]> {
  const files = await members(path.join(VECTORS, name));
  const manifest = JSON.parse(String(files.get('manifest.json'))) as [{ Layers: string[] }];
  return manifest[0].Layers.map((layer) => files.get(layer) ?? Buffer.alloc(0));
}

test('deltas that balenaEngine made give the layers of the target, and ours are the same bytes', async (t) => {
  if (!existsSync(VECTORS)) return t.skip('../shared/vectors is missing');
  const basis = Buffer.concat(await layersOf('old.tar'));
  const targets = await layersOf('new.tar');
  const deltas = await layersOf('delta.tar');
  assert.equal(deltas.length, targets.length);
  let compared = 0;
  for (const [i, layer] of deltas.entries()) {
    const delta = (await members(layer)).get('delta');
    if (delta === undefined) continue; // a layer that both images have
    assert.deepEqual(apply(basis, delta, 4096), targets[i]);
    assert.deepEqual(makeDelta(basis, targets[i] ?? Buffer.alloc(0)), delta);
    compared += 1;
  }
  assert.equal(compared, 2);
});
