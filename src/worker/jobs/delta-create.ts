import { closeSync, constants, openSync, readSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import { shortId } from '../../base/digest.ts';
import { formatDurationNs } from '../../base/duration.ts';
import { deltaLayerHeader } from '../../formats/delta-layer.ts';
import { RdiffEncoder, RdiffSignature } from '../../formats/rdiff-signature.ts';
import { TAR_END, tarPadding } from '../../formats/tar-writer.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import { commonLayers } from '../../policy/balena-delta.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import { layerTar } from '../../store/layers/layer-tar.ts';
import type { DeltaCreateInput, DeltaCreateResult } from '../delta-protocol.ts';
import { extractLayer } from '../extract.ts';
import type { JobContext } from '../job.ts';
import { LayerProgress } from '../layer-progress.ts';

type Layer = DeltaCreateInput['base'][number];

/**
 * The job `delta-create`: the layers of balenaEngine's delta image from one image to another, into
 * staging. The same images give the same bytes, and the same as balenaEngine's.
 */
export async function deltaCreate(input: unknown, context: JobContext): Promise<DeltaCreateResult> {
  const { staging, baseName, base, target } = input as DeltaCreateInput;
  const diffIds = (layers: readonly Layer[]) => layers.map((layer) => layer.diffId);
  const common = commonLayers(diffIds(base), diffIds(target));
  const maker = new Maker(staging, context);
  const lines = target.map(({ diffId }) => new LayerProgress(shortId(diffId), context.report));
  const signature = await maker.fingerprint(base, new LayerProgress(baseName, context.report));
  for (const line of lines) line.say('Waiting');
  const layers: StagedLayer[] = [];
  let normalBytes = 0;
  let deltaBytes = 0;
  for (const [i, layer] of target.entries()) {
    const line = lines[i];
    if (i < common) {
      layers.push(await maker.layer(i, [TAR_END]));
      line?.say('Skipping common layer');
      continue;
    }
    const made = await maker.delta(i, layer, signature, line);
    layers.push(made);
    normalBytes += layer.diskBytes;
    deltaBytes += made.diskBytes;
    line?.say('Delta complete');
  }
  return { layers, normalBytes, deltaBytes };
}

class Maker {
  readonly #staging: string;
  readonly #signal: AbortSignal;
  readonly #sys = openSyscalls();

  constructor(staging: string, { signal }: JobContext) {
    this.#staging = staging;
    this.#signal = signal;
  }

  /** Reads all of the base. */
  async fingerprint(base: readonly Layer[], line: LayerProgress): Promise<RdiffSignature> {
    const startMs = performance.now();
    const totalBytes = base.reduce((sum, { tarBytes }) => sum + tarBytes, 0);
    const signature = new RdiffSignature(totalBytes);
    let bytes = 0;
    for (const layer of base) {
      for await (const chunk of this.#tar(layer)) {
        signature.push(chunk);
        bytes += chunk.length;
        line.bytes('Fingerprinting', bytes, totalBytes);
      }
    }
    const tookNs = Math.round((performance.now() - startMs) * 1e6);
    line.say(`Fingerprint complete, took ${formatDurationNs(tookNs)}`);
    return signature;
  }

  /** The delta that makes a layer. Its length goes before it, so it is written aside first. */
  async delta(
    position: number,
    layer: Layer,
    signature: RdiffSignature,
    line: LayerProgress | undefined,
  ): Promise<StagedLayer> {
    const aside = path.join(this.#staging, `${position}.delta`);
    const { O_CREAT, O_EXCL, O_RDWR } = constants;
    const fd = openSync(aside, O_RDWR | O_CREAT | O_EXCL, 0o600);
    try {
      const output = new Output(fd);
      const encoder = new RdiffEncoder(signature, (bytes) => output.write(bytes));
      let bytes = 0;
      for await (const chunk of this.#tar(layer)) {
        encoder.push(chunk);
        bytes += chunk.length;
        line?.bytes('Computing delta', bytes, layer.tarBytes);
      }
      encoder.end();
      output.flush();
      return await this.layer(position, deltaTar(fd, output.bytes));
    } finally {
      closeSync(fd);
      rmSync(aside, { force: true });
    }
  }

  /** Stages a layer of the delta image. */
  async layer(position: number, tar: Iterable<Uint8Array>): Promise<StagedLayer> {
    const {
      digest: _,
      sizeBytes: __,
      compression: ___,
      ...staged
    } = await extractLayer({
      sys: this.#sys,
      directory: path.join(this.#staging, String(position)),
      source: eachOf(tar),
      expected: {},
      origin: undefined,
      signal: this.#signal,
    });
    return staged;
  }

  async *#tar({ diffId, directory }: Layer): AsyncGenerator<Buffer> {
    for (const chunk of layerTar({ sys: this.#sys, directory, diffId })) {
      // Lets the channel to the daemon breathe: reading and encoding never wait.
      await new Promise(setImmediate);
      this.#signal.throwIfAborted();
      yield chunk;
    }
  }
}

const OUTPUT_BYTES = 256 << 10;

/** Small writes to a file, gathered. */
class Output {
  readonly #fd: number;
  readonly #buffer = Buffer.allocUnsafe(OUTPUT_BYTES);
  #have = 0;
  #flushed = 0;

  constructor(fd: number) {
    this.#fd = fd;
  }

  get bytes(): number {
    return this.#flushed + this.#have;
  }

  write(bytes: Uint8Array): void {
    if (this.#have + bytes.length > OUTPUT_BYTES) this.flush();
    if (bytes.length > OUTPUT_BYTES) {
      this.#out(bytes);
      return;
    }
    this.#buffer.set(bytes, this.#have);
    this.#have += bytes.length;
  }

  flush(): void {
    this.#out(this.#buffer.subarray(0, this.#have));
    this.#have = 0;
  }

  #out(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) at += writeSync(this.#fd, bytes, at);
    this.#flushed += bytes.length;
  }
}

function* deltaTar(fd: number, bytes: number): Generator<Uint8Array> {
  yield deltaLayerHeader(bytes);
  const buffer = Buffer.allocUnsafe(OUTPUT_BYTES);
  for (let at = 0; at < bytes; ) {
    const read = readSync(fd, buffer, 0, OUTPUT_BYTES, at);
    if (read === 0) throw new Error('assertion failed: the delta is as long as was written');
    at += read;
    yield buffer.subarray(0, read);
  }
  yield tarPadding(bytes);
  yield TAR_END;
}

async function* eachOf(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  yield* chunks;
}
