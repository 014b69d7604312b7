import { type DiffId, isSha256 } from '../../base/digest.ts';
import { invalidArgument } from '../../base/errors.ts';
import { type ArchivedImage, archivedImages, missing } from '../../formats/image-archive.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import { chooseManifest } from '../../policy/pull-plan.ts';
import { decodeJson } from '../../spec/decode.ts';
import { imageConfig } from '../../spec/oci/image.ts';
import type { StagedLayer } from '../../store/layer-store.ts';
import type { LoadedImage, LoadInput, LoadResult } from '../archive-protocol.ts';
import { ArchiveReader, layerLabel } from '../archive-reader.ts';
import type { JobContext } from '../job.ts';
import { LayerProgress } from '../layer-progress.ts';
import { targetOf } from '../load-delta.ts';
import { plainBytes } from '../plain-bytes.ts';

/**
 * The job `load`: an archive of images from stdin, plain or compressed, into staged layers and
 * configs. Every layer that an image names is verified against its config. Of a delta the target
 * is made and loaded in its place.
 */
export async function load(input: unknown, context: JobContext): Promise<LoadResult> {
  const job = input as LoadInput;
  const { staging, known, platform, quiet } = job;
  const lines = new Map<string, LayerProgress>();
  const onProgress = (name: string, bytes: number, totalBytes: number): void => {
    if (quiet) return;
    let line = lines.get(name);
    if (line === undefined) {
      line = new LayerProgress(layerLabel(name), context.report);
      lines.set(name, line);
    }
    line.bytes('Loading layer', bytes, totalBytes, bytes === totalBytes);
  };
  const sys = openSyscalls();
  await using reader = new ArchiveReader({ sys, staging, known, onProgress });
  for await (const chunk of plainBytes(context.stdinPieces(), context.signal)) {
    await reader.push(chunk);
  }
  reader.end();

  const small = (path: string): Uint8Array | undefined => {
    const file = reader.find(path);
    if (file?.kind === 'damaged') throw file.error;
    return file?.kind === 'small' ? file.content : undefined;
  };
  const archived = archivedImages(small, (index) => chooseManifest(index, platform));
  const staged = new Map<DiffId, StagedLayer>();
  const images: LoadedImage[] = [];
  for (const image of archived) {
    const loaded = loadedImage(reader, image, staged);
    images.push(await targetOf({ sys, input: job, context, staged, images }, loaded));
  }
  return { images, staged: [...staged.values()] };
}

function loadedImage(
  reader: ArchiveReader,
  { config, layers, tags }: ArchivedImage,
  staged: Map<DiffId, StagedLayer>,
): LoadedImage {
  const file = reader.find(config);
  if (file === undefined) throw missing(config);
  if (file.kind === 'damaged') throw file.error;
  if (file.kind !== 'small') throw invalidArgument(`invalid archive: ${config} is no image config`);
  const wanted = decodeJson(imageConfig, file.content.toString('utf8')).rootfs.diff_ids;
  if (wanted.length !== layers.length) {
    throw invalidArgument(
      `invalid manifest, layers length mismatch: expected ${wanted.length}, got ${layers.length}`,
    );
  }
  const diffIds = layers.map((path, i) => {
    const layer = reader.find(path);
    if (layer === undefined) throw missing(path);
    if (layer.kind === 'damaged') throw layer.error;
    if (layer.kind !== 'layer') throw invalidArgument(`invalid archive: ${path} is no layer`);
    const expected = wanted[i] ?? '';
    if (!isSha256(expected) || layer.diffId !== expected) {
      throw invalidArgument(
        `invalid diffID for layer ${i}: expected "${expected}", got "${layer.diffId}"`,
      );
    }
    if (layer.staged !== undefined && !staged.has(layer.diffId)) {
      staged.set(layer.diffId, layer.staged);
    }
    return layer.diffId;
  });
  return { configBase64: file.content.toString('base64'), diffIds, tags };
}
