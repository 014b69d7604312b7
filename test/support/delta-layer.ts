import { mkdtempSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { DiffId } from '../../src/base/digest.ts';
import { deltaLayerHeader } from '../../src/formats/delta-layer.ts';
import { RdiffEncoder, RdiffSignature } from '../../src/formats/rdiff-signature.ts';
import { TAR_END, tarPadding } from '../../src/formats/tar-writer.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import type { StagedLayer } from '../../src/store/layer-store.ts';
import { type BasisLayer, LayerBasis } from '../../src/store/layers/layer-basis.ts';
import { type ApplyOptions, applyDeltaLayer } from '../../src/worker/delta-apply.ts';
import { extractLayer } from '../../src/worker/extract.ts';
import { digestOf } from './images.ts';

const sys = openSyscalls();
const { signal } = new AbortController();

/** A delta's body: librsync's stream. */
export function rdiffOf(basis: Uint8Array, target: Uint8Array): Buffer {
  const signature = new RdiffSignature(basis.length);
  signature.push(basis);
  const out: Buffer[] = [];
  const encoder = new RdiffEncoder(signature, (bytes) => void out.push(Buffer.from(bytes)));
  encoder.push(target);
  encoder.end();
  return Buffer.concat(out);
}

/** The tar of a delta layer. */
export function deltaLayer(rdiff: Uint8Array): Buffer {
  return Buffer.concat([deltaLayerHeader(rdiff.length), rdiff, tarPadding(rdiff.length), TAR_END]);
}

/** Layers of a base that were extracted in memory, and what is tried with them. */
export type DeltaBench = Disposable & {
  readonly basis: LayerBasis;
  /** Folder of a layer of the base. */
  readonly layerFolder: (position: number) => string;
  /** Applies a delta layer; what it makes is dropped. */
  readonly apply: (
    delta: Uint8Array,
    diffId: string,
    expected?: ApplyOptions['expected'],
  ) => Promise<StagedLayer>;
};

/** Makes one of the tars of a base. */
export async function openDeltaBench(tars: readonly Uint8Array[]): Promise<DeltaBench> {
  const folder = mkdtempSync('/dev/shm/coracle-delta-');
  const layers: BasisLayer[] = [];
  for (const [i, tar] of tars.entries()) {
    const diffId = digestOf(tar) as DiffId;
    const directory = path.join(folder, `base-${i}`);
    const expected = { diffId };
    const source = chunksOf(tar, 65_536);
    await extractLayer({ sys, signal, directory, source, expected, origin: undefined });
    layers.push({ diffId, directory });
  }
  const basis = new LayerBasis(sys, layers);
  let tries = 0;
  return {
    basis,
    layerFolder: (position) => path.join(folder, `base-${position}`),
    apply: async (delta, diffId, expected = {}) => {
      tries += 1;
      const directory = path.join(folder, `try-${tries}`);
      try {
        return await applyDeltaLayer({
          ...{ sys, signal, directory, expected, basis, position: 0 },
          diffId: diffId as DiffId,
          source: chunksOf(delta, 1 + (tries % 997)),
        });
      } finally {
        rmSync(directory, { recursive: true, force: true });
      }
    },
    [Symbol.dispose]: () => {
      basis[Symbol.dispose]();
      rmSync(folder, { recursive: true });
    },
  };
}

async function* chunksOf(bytes: Uint8Array, size: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
