import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EngineError } from '../../src/base/errors.ts';
import { deltaLayer, openDeltaBench, rdiffOf } from '../support/delta-layer.ts';
import { noise } from '../support/deltas.ts';
import { digestOf, type LayerEntry, layerTar } from '../support/images.ts';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 3);
const seed = process.env['FUZZ_SEED'];
const options = {
  numRuns: Number.MAX_SAFE_INTEGER,
  interruptAfterTimeLimit: seconds * 1000,
  ...(seed === undefined ? {} : { seed: Number(seed) }),
};

/** Files whose contents have pieces in common with each other, at any offset; links, folders, whiteouts. */
const entry: fc.Arbitrary<LayerEntry> = fc
  .record({
    name: fc.constantFrom('a', 'b', 'c', 'd/e', 'd/f', 'g'.repeat(120), '.wh.a', 'd/.wh..wh..opq'),
    pieces: fc.array(
      fc.record({ seed: fc.constantFrom('zero', '1', '2', '3'), bytes: fc.nat(2000) }),
      { maxLength: 4 },
    ),
    kind: fc.constantFrom('file' as const, 'file' as const, 'link' as const, 'symlink' as const),
    mode: fc.constantFrom(0o644, 0o4755),
    mtime: fc.constantFrom(new Date(0), new Date(1_700_000_000_000)),
  })
  .map(({ name, pieces, kind, mode, mtime }) => {
    if (name.includes('.wh.') || kind === 'file') {
      const content = Buffer.concat(
        pieces.map((piece) =>
          piece.seed === 'zero' ? Buffer.alloc(piece.bytes) : noise(piece.seed, piece.bytes),
        ),
      );
      return { name, content: name.includes('.wh.') ? '' : content, mode, mtime };
    }
    return { name, type: kind, linkname: kind === 'link' ? 'first' : 'd/e', mode, mtime };
  });

const layer = fc
  .array(entry, { maxLength: 6 })
  .map((entries): LayerEntry[] => [{ name: 'first', content: 'first' }, ...entries]);

test('a layer made of a base and a delta is the target, byte for byte', async () => {
  const pair = fc.tuple(fc.array(layer, { minLength: 1, maxLength: 3 }), layer);
  await fc.assert(
    fc.asyncProperty(pair, async ([baseLayers, target]) => {
      const base = await Promise.all(baseLayers.map(layerTar));
      const wanted = await layerTar(target);
      using bench = await openDeltaBench(base);
      const delta = rdiffOf(Buffer.concat(base), wanted);
      // Its diffID is checked before this resolves.
      const made = await bench.apply(deltaLayer(delta), digestOf(wanted));
      assert.equal(made.tarBytes, wanted.length);
    }),
    options,
  );
});

test('any range of a basis is that of the tars', async () => {
  const some = fc.tuple(
    fc.array(layer, { minLength: 1, maxLength: 3 }),
    fc.array(fc.tuple(fc.nat(1e6), fc.nat(1e6)), { minLength: 20, maxLength: 20 }),
  );
  await fc.assert(
    fc.asyncProperty(some, async ([layers, ranges]) => {
      const tars = await Promise.all(layers.map(layerTar));
      const whole = Buffer.concat(tars);
      using bench = await openDeltaBench(tars);
      assert.equal(bench.basis.bytes, whole.length);
      for (const [from, length] of ranges) {
        const at = from % (whole.length + 1);
        const bytes = Math.min(length, whole.length - at);
        const read = Array.from(bench.basis.read(at, bytes), (piece) => Buffer.from(piece));
        assert.ok(Buffer.concat(read).equals(whole.subarray(at, at + bytes)));
      }
    }),
    options,
  );
});

/** Commands that may be anything: lengths and positions in and out of range, cut anywhere. */
const command = fc.oneof(
  fc.uint8Array({ minLength: 1, maxLength: 20 }).map((bytes) => Buffer.from(bytes)),
  fc.tuple(fc.nat(9000), fc.nat(9000)).map(([at, bytes]) => {
    const copy = Buffer.alloc(9, 0x4f);
    copy.writeUInt32BE(at, 1);
    copy.writeUInt32BE(bytes, 5);
    return copy;
  }),
  fc.uint8Array({ minLength: 1, maxLength: 64 }).map((bytes) => {
    return Buffer.concat([Buffer.of(bytes.length), bytes]);
  }),
);

test('hostile deltas end in one error, and in no layer', async () => {
  const base = await layerTar([{ name: 'a', content: noise('base', 5000) }]);
  using bench = await openDeltaBench([base]);
  await fc.assert(
    fc.asyncProperty(fc.array(command, { maxLength: 30 }), async (commands) => {
      const body = Buffer.concat([Buffer.from('72730236', 'hex'), ...commands, Buffer.of(0)]);
      await assert.rejects(bench.apply(deltaLayer(body), digestOf(Buffer.of(1))), (error) => {
        assert.ok(error instanceof EngineError, String(error));
        return /^cannot apply the delta: [^\n]+$/.test(error.message);
      });
    }),
    options,
  );
});
