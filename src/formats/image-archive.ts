import { invalidArgument } from '../base/errors.ts';
import { array, decodeJson, nullable, string, struct } from '../spec/decode.ts';
import { type Descriptor, type Index, index, MEDIA_TYPE, manifest } from '../spec/oci/image.ts';

/**
 * Image archives: tars of images, in two layouts that may share one tar.
 *
 *   docker   manifest.json: [{ Config, RepoTags, Layers }], naming other files of the tar. Layers are
 *            plain tars; old ones are `ID/layer.tar`, where one may be a symlink to another
 *   OCI      oci-layout, index.json and blobs/sha256/HEX (OCI image-spec, image-layout.md)
 *
 * What is found wins in this order. Which file is which is known only when the manifest has come,
 * and that may be last.
 */

/** One image of an archive: paths of its files. */
export type ArchivedImage = {
  readonly config: string;
  /** Bottom first. */
  readonly layers: readonly string[];
  /** References as the archive has them, not checked. */
  readonly tags: readonly string[];
};

/** The small files of an archive, by path; undefined when there is none of that name. */
export type SmallFiles = (path: string) => Uint8Array | undefined;

const dockerManifest = nullable(
  array(
    struct('manifestItem', {
      Config: string,
      RepoTags: nullable(array(string)),
      Layers: array(string),
    }),
  ),
);

/** References that containerd and others write beside a manifest. */
const FULL_NAME = 'io.containerd.image.name';
const REF_NAME = 'org.opencontainers.image.ref.name';
const NESTING_MAX = 3;

/** Picks one manifest of an index for several platforms. @throws notFound */
export type ChooseManifest = (index: Index) => Descriptor;

/**
 * The images of an archive.
 * @throws invalidArgument when it is none, or its JSON names what is not there
 */
export function archivedImages(files: SmallFiles, choose: ChooseManifest): ArchivedImage[] {
  const docker = files('manifest.json');
  if (docker !== undefined) {
    const items = decodeJson(dockerManifest, textOf(docker)) ?? [];
    return items.map(({ Config, RepoTags, Layers }) => ({
      config: Config,
      layers: Layers,
      tags: RepoTags ?? [],
    }));
  }
  const layout = files('index.json');
  if (layout === undefined) {
    throw invalidArgument(
      files('repositories') === undefined
        ? 'invalid archive: it has neither a manifest.json nor an index.json, so it is not an image'
        : 'invalid archive: images saved before Docker 1.10 are not supported; load and save it with a newer Docker first',
    );
  }
  return decodeJson(index, textOf(layout)).manifests.map((descriptor) =>
    ociImage(files, descriptor, choose),
  );
}

function ociImage(
  files: SmallFiles,
  descriptor: Descriptor,
  choose: ChooseManifest,
): ArchivedImage {
  let current = descriptor;
  for (let depth = 0; isIndex(files, current); depth += 1) {
    if (depth >= NESTING_MAX) throw invalidArgument('invalid archive: an index inside indexes');
    current = choose(decodeJson(index, textOf(need(files, current))));
  }
  const { config, layers } = decodeJson(manifest, textOf(need(files, current)));
  return {
    config: blobPath(config.digest),
    layers: layers.map(({ digest }) => blobPath(digest)),
    tags: tagOf(descriptor),
  };
}

function isIndex(files: SmallFiles, { mediaType, digest }: Descriptor): boolean {
  if (mediaType !== '') {
    return mediaType === MEDIA_TYPE.ociIndex || mediaType === MEDIA_TYPE.dockerList;
  }
  const content = files(blobPath(digest));
  return content !== undefined && decodeJson(index, textOf(content)).manifests.length > 0;
}

function tagOf({ annotations }: Descriptor): string[] {
  const full = annotations?.[FULL_NAME];
  if (full !== undefined) return [full];
  const name = annotations?.[REF_NAME];
  // A bare tag says nothing of the repository.
  return name !== undefined && /[:/]/.test(name) ? [name] : [];
}

/** Where an OCI layout has a blob. */
export function blobPath(digest: string): string {
  return `blobs/${digest.replace(':', '/')}`;
}

function need(files: SmallFiles, { digest }: Descriptor): Uint8Array {
  const content = files(blobPath(digest));
  if (content === undefined) throw missing(blobPath(digest));
  return content;
}

/** The error of an archive that names a file it does not have. */
export function missing(path: string): Error {
  return invalidArgument(`invalid archive: ${path} is missing`);
}

function textOf(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('utf8');
}

/** An image that goes into an archive. */
export type ImageToArchive = {
  /** sha256 in hex of the config, and its bytes. */
  readonly configHex: string;
  readonly config: Uint8Array;
  /** Bottom first: diffIDs in hex and sizes of the plain tars. */
  readonly layers: readonly { readonly hex: string; readonly tarBytes: number }[];
  readonly tags: readonly {
    /** `docker.io/library/debian:12`. */
    readonly full: string;
    /** `debian`, `12`. */
    readonly familiar: string;
    readonly tag: string;
  }[];
};

/** A small file of an archive. */
export type ArchiveFile = { readonly path: string; readonly content: Buffer };

/** The manifest of an image whose layers are in the archive as plain tars. */
export function ociManifestOf(image: ImageToArchive): Buffer {
  return jsonBytes({
    schemaVersion: 2,
    mediaType: MEDIA_TYPE.ociManifest,
    config: {
      mediaType: MEDIA_TYPE.ociConfig,
      digest: `sha256:${image.configHex}`,
      size: image.config.length,
    },
    layers: image.layers.map(({ hex, tarBytes }) => ({
      mediaType: MEDIA_TYPE.ociLayer,
      digest: `sha256:${hex}`,
      size: tarBytes,
    })),
  });
}

/**
 * The files that describe the images of an archive in both layouts. `manifestHex` is the digest of
 * each image's {@link ociManifestOf}, by its config's.
 */
export function archiveIndexFiles(
  images: readonly ImageToArchive[],
  manifestHex: (image: ImageToArchive) => { hex: string; bytes: number },
): ArchiveFile[] {
  const repositories: Record<string, Record<string, string>> = {};
  const manifests: unknown[] = [];
  for (const image of images) {
    const { hex, bytes } = manifestHex(image);
    const descriptor = { mediaType: MEDIA_TYPE.ociManifest, digest: `sha256:${hex}`, size: bytes };
    if (image.tags.length === 0) manifests.push(descriptor);
    for (const { full, familiar, tag } of image.tags) {
      manifests.push({ ...descriptor, annotations: { [FULL_NAME]: full, [REF_NAME]: tag } });
      repositories[familiar] = {
        ...repositories[familiar],
        [tag]: image.layers.at(-1)?.hex ?? image.configHex,
      };
    }
  }
  const files: [path: string, value: unknown][] = [
    ['index.json', { schemaVersion: 2, mediaType: MEDIA_TYPE.ociIndex, manifests }],
    [
      'manifest.json',
      images.map((image) => ({
        Config: blobPath(`sha256:${image.configHex}`),
        RepoTags:
          image.tags.length === 0
            ? null
            : image.tags.map(({ familiar, tag }) => `${familiar}:${tag}`),
        Layers: image.layers.map(({ hex }) => blobPath(`sha256:${hex}`)),
      })),
    ],
    ['oci-layout', { imageLayoutVersion: '1.0.0' }],
  ];
  if (Object.keys(repositories).length > 0) files.push(['repositories', repositories]);
  return files.map(([path, value]) => ({ path, content: jsonBytes(value) }));
}

function jsonBytes(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
