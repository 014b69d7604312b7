import { firstBytes, prepend, stillOpen } from '../base/first-bytes.ts';
import {
  detectCompression,
  inflateStream,
  isCodecError,
  MAGIC_BYTES,
  openSyncInflater,
} from '../kernel/sync-inflate.ts';
import type { BlobCheckpoint } from '../store/layers/layer-checkpoint.ts';
import { layerTarPrefix } from '../store/layers/layer-tar.ts';
import { EarlierFiles } from './earlier-files.ts';
import {
  type ExtractedLayer,
  type ExtractionOptions,
  LayerExtraction,
  verificationFailed,
} from './layer-extraction.ts';

/** Where a layer comes from, and how it is extracted. */
export type ExtractOptions = Omit<ExtractionOptions, 'from'> & {
  /**
   * The layer as a registry or archive has it: gzip, zstd (found out by its first bytes) or plain.
   * With `earlier` it begins behind the bytes that the checkpoint's digest stands for.
   */
  readonly source: AsyncIterable<Uint8Array>;
  /** An extraction of the same layer that was cut off, to be gone on with. */
  readonly earlier?: { readonly directory: string; readonly checkpoint: BlobCheckpoint };
  readonly signal: AbortSignal;
  /** Bytes of the source that are dealt with. */
  readonly onProgress?: (bytes: number) => void;
  /** For tests: what happens where zlib cannot be driven synchronously. */
  readonly withoutSyncInflate?: boolean;
};

/**
 * Extracts one layer in one pass and without a temporary copy ({@link LayerExtraction}).
 *
 * All contents are written when this resolves, but nothing is durable and named yet: that is
 * `LayerStore.commit`. On failure the caller drops `directory`.
 *
 * @throws dataLoss for bytes that are not those expected ("filesystem layer verification failed for
 * digest …") or that are damaged; invalidArgument for tars that cannot or must not be extracted;
 * internal ("failed to register layer: …") when the disk is full or fails; what the source throws
 */
export async function extractLayer(options: ExtractOptions): Promise<ExtractedLayer> {
  const { earlier, sys } = options;
  using files = earlier && new EarlierFiles(sys, earlier.directory, earlier.checkpoint.tail);
  const from = earlier && files && { checkpoint: earlier.checkpoint, files };
  await using extraction = new LayerExtraction({
    ...options,
    ...(from === undefined ? {} : { from }),
  });
  if (earlier !== undefined) await replay(options, extraction, earlier);
  // What was written behind the checkpoint may never have come to the disk.
  files?.[Symbol.dispose]();
  for await (const chunk of meter(options, extraction)) {
    extraction.push(chunk);
    if (extraction.isBehind) await extraction.catchUp();
  }
  return await extraction.finish();
}

/** Takes in the tar up to the checkpoint, as the earlier extraction left it. */
async function replay(
  { sys, signal }: ExtractOptions,
  extraction: LayerExtraction,
  { directory, checkpoint }: NonNullable<ExtractOptions['earlier']>,
): Promise<void> {
  const { point, tail } = checkpoint;
  for (const chunk of layerTarPrefix({ sys, directory }, point.outputBytes, tail)) {
    signal.throwIfAborted();
    extraction.replay(chunk);
    if (extraction.isBehind) await extraction.catchUp();
  }
}

/** The source's chunks, or what an asynchronous codec makes of them where no synchronous one is. */
async function* meter(
  options: ExtractOptions,
  extraction: LayerExtraction,
): AsyncGenerator<Uint8Array> {
  const { source, signal, expected } = options;
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      signal.throwIfAborted();
      extraction.received(chunk);
      if (expected.sizeBytes !== undefined && extraction.sizeBytes > expected.sizeBytes) {
        throw verificationFailed(expected, `more than ${expected.sizeBytes} bytes came`);
      }
      yield chunk;
      options.onProgress?.(extraction.sizeBytes);
    }
  };
  const isSync = options.withoutSyncInflate !== true && syncInflateWorks();
  if (isSync || options.earlier !== undefined) {
    yield* counted();
    return;
  }
  const chunks = counted();
  try {
    const head = await firstBytes(chunks, MAGIC_BYTES);
    const compression = detectCompression(Buffer.concat(head));
    extraction.inflatedElsewhere(compression);
    yield* inflateStream(prepend(head, stillOpen(chunks)), compression);
  } catch (error) {
    if (!isCodecError(error)) throw error;
    extraction.fail(error);
    for await (const _chunk of chunks) signal.throwIfAborted();
  } finally {
    await chunks.return(undefined);
  }
}

let syncWorks: boolean | undefined;

function syncInflateWorks(): boolean {
  if (syncWorks === undefined) {
    using probe = openSyncInflater('gzip', () => undefined, { outputBytes: 64 });
    syncWorks = probe !== undefined;
  }
  return syncWorks;
}
