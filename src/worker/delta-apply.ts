import { createHash } from 'node:crypto';
import type { DiffId } from '../base/digest.ts';
import { dataLoss, errnoOf, invalidArgument, isEngineError } from '../base/errors.ts';
import { firstBytes, prepend } from '../base/first-bytes.ts';
import { LIMITS } from '../base/limits.ts';
import { DeltaLayerReader } from '../formats/delta-layer.ts';
import { collectGarbage } from '../kernel/collect-garbage.ts';
import { detectCompression, inflatePieces, MAGIC_BYTES } from '../kernel/sync-inflate.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import type { StagedLayer } from '../store/layer-store.ts';
import type { LayerBasis } from '../store/layers/layer-basis.ts';
import { type ExpectedLayer, LayerExtraction, verificationFailed } from './layer-extraction.ts';

/** A layer of a target, to be made. */
export type DeltaLayerOptions = {
  readonly sys: Syscalls;
  /** Absolute; does not exist yet. The caller drops it on failure. */
  readonly directory: string;
  readonly basis: LayerBasis;
  /** What must come out. */
  readonly diffId: DiffId;
  /** Number of the layer, 0 is the bottom: for messages. */
  readonly position: number;
  readonly signal: AbortSignal;
};

/** The same by a delta. */
export type ApplyOptions = DeltaLayerOptions & {
  /** A delta layer, plain or compressed. */
  readonly source: AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
  /** What its bytes must be; what is left out is not checked. */
  readonly expected: Omit<ExpectedLayer, 'diffId'>;
  /** Bytes of the source that are dealt with. */
  readonly onProgress?: (bytes: number) => void;
};

/** Pieces of the delta that are turned into commands at once. */
const SLICE_BYTES = 64 << 10;
/** What is made until the garbage of making it is collected: large contents, or some 700 files. */
const COLLECT_BYTES = 16 << 20;
const COLLECT_PIECES = 2048;

/**
 * Makes a layer of a target from the base and one layer of a delta, in one pass: nothing but the
 * layer's files is written. Its diffID is verified.
 *
 * @throws dataLoss for bytes that are not those expected; invalidArgument for a delta that is
 * damaged, or not of this base and this target
 */
export async function applyDeltaLayer(options: ApplyOptions): Promise<StagedLayer> {
  const { basis, source, expected, signal } = options;
  await using extraction = openExtraction(options);
  const blob = new CheckedSource(source, expected, signal, options.onProgress);
  const bounds = { basisBytes: basis.bytes, outputBytesMax: LIMITS.layerBytesMax };
  const reader = new DeltaLayerReader(bounds);
  try {
    for await (const chunk of inflated(blob.chunks())) {
      for (let at = 0; at < chunk.length; at += SLICE_BYTES) {
        for (const command of reader.push(chunk.subarray(at, at + SLICE_BYTES))) {
          if (command.kind === 'literal') take(extraction, command.bytes);
          else await copy(extraction, options, command.at, command.bytes);
        }
        if (extraction.isBehind) await extraction.catchUp();
      }
    }
    reader.end();
    const staged = await finish(extraction, options);
    await blob.drain();
    return staged;
  } catch (error) {
    const isTheirs = isEngineError(error, 'dataLoss', 'invalidArgument');
    if (!isTheirs || errnoOf(error) !== undefined) throw error;
    // When the bytes are not those that were asked for, that is what is wrong. When they are, there
    // is no use in asking for them again.
    await blob.drain();
    throw invalidArgument(`cannot apply the delta: ${error.message}`, {
      cause: error,
      detail: error.detail,
    });
  }
}

/**
 * Makes a layer of a target that is one of the base's.
 * @throws dataLoss when the base is damaged or has no such layer
 */
export async function copyBaseLayer(options: DeltaLayerOptions): Promise<StagedLayer> {
  const found = options.basis.find(options.diffId);
  if (found === undefined) throw dataLoss(`the base has no layer ${options.diffId}`);
  await using extraction = openExtraction(options);
  await copy(extraction, options, found.at, found.bytes);
  return await finish(extraction, options);
}

function openExtraction({ sys, directory, diffId }: DeltaLayerOptions): LayerExtraction {
  const extraction = new LayerExtraction({
    ...{ sys, directory, origin: undefined },
    expected: { diffId },
  });
  // A target's layer is a plain tar, whatever its first bytes look like.
  extraction.inflatedElsewhere('none');
  return extraction;
}

async function copy(
  extraction: LayerExtraction,
  { basis, signal }: DeltaLayerOptions,
  at: number,
  bytes: number,
): Promise<void> {
  for (const piece of basis.read(at, bytes)) {
    signal.throwIfAborted();
    take(extraction, piece);
    if (extraction.isBehind) await extraction.catchUp();
  }
}

/** Of all layers that this process makes: its garbage is theirs together. */
const sinceCollected = { bytes: 0, pieces: 0 };

function take(extraction: LayerExtraction, bytes: Uint8Array): void {
  extraction.received(bytes);
  extraction.push(bytes);
  sinceCollected.bytes += bytes.length;
  sinceCollected.pieces += 1;
  if (sinceCollected.bytes < COLLECT_BYTES && sinceCollected.pieces < COLLECT_PIECES) return;
  Object.assign(sinceCollected, { bytes: 0, pieces: 0 });
  collectGarbage();
}

async function finish(
  extraction: LayerExtraction,
  { position, diffId }: DeltaLayerOptions,
): Promise<StagedLayer> {
  try {
    const { digest: _, sizeBytes: __, compression: ___, ...staged } = await extraction.finish();
    return staged;
  } catch (error) {
    const got = isEngineError(error, 'dataLoss') ? error.detail['got'] : undefined;
    if (got === undefined) throw error;
    throw dataLoss(
      `invalid diffID for layer ${position}: expected "${diffId}", got "${String(got)}": the delta or its base is damaged`,
      { cause: error },
    );
  }
}

/** The chunks of a delta layer, counted and hashed. */
class CheckedSource {
  readonly #iterator: AsyncIterator<Uint8Array> | Iterator<Uint8Array>;
  readonly #expected: ApplyOptions['expected'];
  readonly #signal: AbortSignal;
  readonly #onProgress: ((bytes: number) => void) | undefined;
  readonly #hash = createHash('sha256');
  #bytes = 0;
  #isDone = false;
  /** One piece at a time: a codec that has read ahead is not waited for when it is given up. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(
    source: ApplyOptions['source'],
    expected: ApplyOptions['expected'],
    signal: AbortSignal,
    onProgress: ((bytes: number) => void) | undefined,
  ) {
    this.#iterator =
      Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]();
    this.#expected = expected;
    this.#signal = signal;
    this.#onProgress = onProgress;
  }

  async *chunks(): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = await this.#next();
      if (chunk === undefined) return;
      yield chunk;
    }
  }

  /**
   * Takes in what is left, and checks that all of it is what was asked for.
   * @throws dataLoss when it is not
   */
  async drain(): Promise<void> {
    while ((await this.#next()) !== undefined);
    const { digest, sizeBytes } = this.#expected;
    const sum = `sha256:${this.#hash.copy().digest('hex')}`;
    if (digest !== undefined && sum !== digest) {
      throw verificationFailed(this.#expected, `its digest is ${sum}`);
    }
    if (sizeBytes !== undefined && this.#bytes !== sizeBytes) {
      throw verificationFailed(this.#expected, `${this.#bytes} bytes came`);
    }
  }

  #next(): Promise<Uint8Array | undefined> {
    const next = this.#last.then(() => this.#take());
    this.#last = next.catch(() => undefined);
    return next;
  }

  async #take(): Promise<Uint8Array | undefined> {
    if (this.#isDone) return undefined;
    this.#signal.throwIfAborted();
    const { value, done } = await this.#iterator.next();
    if (done === true) {
      this.#isDone = true;
      return undefined;
    }
    const chunk = value;
    this.#bytes += chunk.length;
    const { sizeBytes } = this.#expected;
    if (sizeBytes !== undefined && this.#bytes > sizeBytes) {
      throw verificationFailed(this.#expected, `more than ${sizeBytes} bytes came`);
    }
    this.#hash.update(chunk);
    this.#onProgress?.(this.#bytes);
    return chunk;
  }
}

async function* inflated(chunks: AsyncGenerator<Uint8Array>): AsyncGenerator<Buffer> {
  const head = await firstBytes(chunks, MAGIC_BYTES);
  yield* inflatePieces(prepend(head, chunks), detectCompression(Buffer.concat(head)));
}
