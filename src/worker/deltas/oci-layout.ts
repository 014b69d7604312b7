import { createHash, randomUUID } from 'node:crypto';
import {
  closeSync,
  createReadStream,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { parseDiffId, parseDigest, parseImageId } from '../../base/digest.ts';
import { dataLoss, errnoOf, invalidArgument, notFound } from '../../base/errors.ts';
import type { Subject } from '../../formats/delta/artifact.ts';
import { blobPath } from '../../formats/image-archive.ts';
import { detectCompression, inflateStream, MAGIC_BYTES } from '../../kernel/sync-inflate.ts';
import { checkManifest, wantedLayers } from '../../policy/pull-plan.ts';
import { decodeJson } from '../../spec/decode.ts';
import type { LayoutImage } from '../../spec/delta-layout.ts';
import {
  type Descriptor,
  index,
  isImageManifest,
  MEDIA_TYPE,
  manifest,
} from '../../spec/oci/image.ts';
import { decodeImageConfig } from '../resolve-image.ts';
import type { DeltaImage } from './delta-source.ts';
import { TarFiles } from './tar-files.ts';

/** Images in OCI layouts (OCI image-spec, image-layout.md), read and added to. */

/** An image of a layout, with its layers unpacked into files. */
export type OpenLayoutImage = DeltaImage & { readonly subject: Subject };

const REF_NAME = 'org.opencontainers.image.ref.name';

/**
 * Opens an image. Its layers are unpacked into `folder`, which is the caller's to remove.
 * @throws notFound, invalidArgument or dataLoss for a layout that is none, or damaged
 */
export async function openLayoutImage(
  image: LayoutImage,
  folder: string,
  stack: DisposableStack,
): Promise<OpenLayoutImage> {
  const found = manifestIn(image);
  const bytes = readBlob(image.folder, found.digest);
  const content = decodeJson(manifest, bytes.toString('utf8'));
  const { config } = checkManifest(content);
  const configBytes = readBlob(image.folder, config);
  const layers = wantedLayers(content, decodeImageConfig(configBytes));
  const files: string[] = [];
  for (const { digest, diffId } of layers) {
    const file = path.join(folder, `${files.length}.tar`);
    await unpack(path.join(image.folder, blobPath(digest)), file, diffId);
    files.push(file);
  }
  const entries = stack.use(new TarFiles(files));
  return {
    id: parseImageId(config),
    config: configBytes,
    diffIds: layers.map(({ diffId }) => diffId),
    entries,
    tar: (position) => entries.tar(position),
    subject: {
      mediaType: found.mediaType,
      digest: parseDigest(found.digest),
      sizeBytes: bytes.length,
    },
  };
}

function manifestIn({ folder, name }: LayoutImage): Descriptor {
  const { manifests } = decodeJson(index, readText(path.join(folder, 'index.json')));
  const images = manifests.filter(
    ({ mediaType, artifactType, annotations }) =>
      isImageManifest(mediaType) &&
      artifactType === '' &&
      (name === '' || annotations?.[REF_NAME] === name),
  );
  const [found, another] = images;
  if (found === undefined) {
    throw notFound(`there is no image ${name === '' ? '' : `${name} `}in the OCI layout ${folder}`);
  }
  if (another !== undefined && another.digest !== found.digest) {
    throw invalidArgument(`the OCI layout ${folder} has several images: name one, oci:DIR:NAME`);
  }
  return found;
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    throw notFound(`${path.dirname(file)} is not an OCI layout: it has no index.json`);
  }
}

/** A document of a layout, verified. */
function readBlob(folder: string, digest: string): Buffer {
  const bytes = readFileSync(path.join(folder, blobPath(parseDigest(digest))));
  const sum = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  if (sum !== digest) throw dataLoss(`the blob ${digest} in ${folder} is damaged`);
  return bytes;
}

async function unpack(blob: string, file: string, diffId: string): Promise<void> {
  const hash = createHash('sha256');
  const fd = openSync(file, 'wx', 0o600);
  try {
    const head = await firstBytes(blob);
    const source = createReadStream(blob, { highWaterMark: 1 << 20 });
    for await (const piece of inflateStream(source, detectCompression(head))) {
      hash.update(piece);
      for (let at = 0; at < piece.length; ) at += writeSync(fd, piece, at);
    }
  } finally {
    closeSync(fd);
  }
  const sum = parseDiffId(`sha256:${hash.digest('hex')}`);
  if (sum !== diffId) throw dataLoss(`the layer ${blob} is not what the image says: ${sum}`);
}

async function firstBytes(file: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  const source = createReadStream(file, { end: MAGIC_BYTES - 1 });
  for await (const piece of source) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

/** Adds blobs and manifests to a layout, which is made when it is not there. */
export class LayoutWriter {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(path.join(folder, 'blobs/sha256'), { recursive: true });
    const marker = path.join(folder, 'oci-layout');
    if (!existsSync(marker)) writeFileSync(marker, '{"imageLayoutVersion":"1.0.0"}');
  }

  add(digest: string, bytes: Uint8Array): void {
    this.#put(blobPath(digest), bytes);
  }

  /** Lists manifests; one that is listed already stays where it is. */
  list(descriptors: readonly object[]): void {
    const file = path.join(this.#folder, 'index.json');
    const before = existsSync(file)
      ? (JSON.parse(readFileSync(file, 'utf8')) as { manifests?: { digest?: string }[] })
      : {};
    const listed = before.manifests ?? [];
    const fresh = descriptors.filter(
      (each) => !listed.some(({ digest }) => 'digest' in each && digest === each.digest),
    );
    const text = JSON.stringify({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.ociIndex,
      ...before,
      manifests: [...listed, ...fresh],
    });
    this.#put('index.json', Buffer.from(text));
  }

  #put(name: string, bytes: Uint8Array): void {
    const temporary = path.join(this.#folder, `.${randomUUID()}`);
    writeFileSync(temporary, bytes);
    renameSync(temporary, path.join(this.#folder, name));
  }
}
