import { createHash } from 'node:crypto';
import { once } from 'node:events';
import type { Writable } from 'node:stream';
import { hexOf } from '../../base/digest.ts';
import { dataLoss } from '../../base/errors.ts';
import { fromText } from '../../formats/byte-string.ts';
import {
  archiveIndexFiles,
  blobPath,
  type ImageToArchive,
  ociManifestOf,
} from '../../formats/image-archive.ts';
import { encodeTarHeader, TAR_END, tarPadding } from '../../formats/tar-writer.ts';
import { openSyscalls } from '../../kernel/ffi.ts';
import { layerTar } from '../../store/layers/layer-tar.ts';
import type { SaveInput } from '../archive-protocol.ts';
import type { JobContext } from '../job.ts';

/**
 * The job `save`: images as one archive on stdout that is a Docker archive and an OCI layout at
 * once, as Docker's own is. Layers are the exact tars they came as, each verified by its diffID
 * while it is sent, so that a damaged one cuts the archive off instead of going out. The same
 * images give the same bytes.
 */
export async function save(input: unknown, context: JobContext): Promise<null> {
  const { images } = input as SaveInput;
  const archive = new ArchiveWriter(context);
  const described = images.map(describe);
  await archive.directory('blobs');
  await archive.directory('blobs/sha256');
  const manifests = new Map<string, { hex: string; bytes: number }>();
  for (const image of described) {
    const manifest = ociManifestOf(image);
    const hex = createHash('sha256').update(manifest).digest('hex');
    manifests.set(image.configHex, { hex, bytes: manifest.length });
    await archive.file(blobPath(`sha256:${image.configHex}`), image.config);
    await archive.file(blobPath(`sha256:${hex}`), manifest);
  }
  const sys = openSyscalls();
  for (const layer of images.flatMap((image) => image.layers)) {
    const path = blobPath(layer.diffId);
    await archive.stream(path, layer.tarBytes, () => layerTar({ sys, ...layer }));
  }
  const files = archiveIndexFiles(described, ({ configHex }) => {
    const found = manifests.get(configHex);
    if (found === undefined) throw new Error(`assertion failed: no manifest of ${configHex}`);
    return found;
  });
  for (const { path, content } of files) await archive.file(path, content);
  await archive.end();
  return null;
}

function describe(image: SaveInput['images'][number]): ImageToArchive {
  const config = Buffer.from(image.configBase64, 'base64');
  return {
    configHex: createHash('sha256').update(config).digest('hex'),
    config,
    layers: image.layers.map(({ diffId, tarBytes }) => ({ hex: hexOf(diffId), tarBytes })),
    tags: image.tags,
  };
}

/** Writes a tar as fast as it is read. A path that was written already is left out. */
class ArchiveWriter {
  readonly #output: Writable;
  readonly #signal: AbortSignal;
  readonly #written = new Set<string>();

  constructor({ stdout, signal }: JobContext) {
    this.#output = stdout;
    this.#signal = signal;
  }

  async directory(path: string): Promise<void> {
    await this.#write(encodeTarHeader({ kind: 'directory', path: fromText(path), mode: 0o755 }));
  }

  async file(path: string, content: Uint8Array): Promise<void> {
    await this.stream(path, content.length, () => [content]);
  }

  async stream(path: string, sizeBytes: number, chunks: () => Iterable<Uint8Array>): Promise<void> {
    if (this.#written.has(path)) return;
    this.#written.add(path);
    await this.#write(
      encodeTarHeader({ kind: 'file', path: fromText(path), mode: 0o644, sizeBytes }),
    );
    let bytes = 0;
    for (const chunk of chunks()) {
      bytes += chunk.length;
      await this.#write(chunk);
    }
    if (bytes !== sizeBytes) throw dataLoss(`${path} has ${bytes} bytes instead of ${sizeBytes}`);
    await this.#write(tarPadding(sizeBytes));
  }

  async end(): Promise<void> {
    await this.#write(TAR_END);
  }

  async #write(bytes: Uint8Array): Promise<void> {
    this.#signal.throwIfAborted();
    if (bytes.length === 0 || this.#output.write(bytes)) return;
    await once(this.#output, 'drain', { signal: this.#signal });
  }
}
