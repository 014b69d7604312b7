import { array, type Decoded, int, json, map, nullable, string, struct } from '../decode.ts';
import { containerConfig } from '../docker/container.ts';

/**
 * Images as registries hold them. Source: OCI image-spec v1.1 (descriptor, manifest, index,
 * config) and Docker's image manifest version 2, schema 2, which have the same shape.
 */

export const MEDIA_TYPE = {
  dockerManifest: 'application/vnd.docker.distribution.manifest.v2+json',
  dockerList: 'application/vnd.docker.distribution.manifest.list.v2+json',
  dockerSchema1: 'application/vnd.docker.distribution.manifest.v1+json',
  dockerSchema1Signed: 'application/vnd.docker.distribution.manifest.v1+prettyjws',
  dockerConfig: 'application/vnd.docker.container.image.v1+json',
  dockerLayerGzip: 'application/vnd.docker.image.rootfs.diff.tar.gzip',
  dockerLayer: 'application/vnd.docker.image.rootfs.diff.tar',
  dockerForeignLayer: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip',
  ociManifest: 'application/vnd.oci.image.manifest.v1+json',
  ociIndex: 'application/vnd.oci.image.index.v1+json',
  ociConfig: 'application/vnd.oci.image.config.v1+json',
  ociLayer: 'application/vnd.oci.image.layer.v1.tar',
  ociLayerGzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  ociLayerZstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  ociEmpty: 'application/vnd.oci.empty.v1+json',
} as const;

/** True for the media types of a single image's manifest. */
export function isImageManifest(mediaType: string): boolean {
  return mediaType === MEDIA_TYPE.dockerManifest || mediaType === MEDIA_TYPE.ociManifest;
}

export const platform = struct('Platform', {
  architecture: string,
  os: string,
  'os.version': string,
  'os.features': nullable(array(string)),
  variant: string,
});
export type Platform = Decoded<typeof platform>;

/** `digest` is text as received: check it with `parseDigest` before use. `size` is in bytes. */
export const descriptor = struct('Descriptor', {
  mediaType: string,
  digest: string,
  size: int,
  urls: nullable(array(string)),
  annotations: nullable(map(string)),
  artifactType: string,
  platform: nullable(platform),
});
export type Descriptor = Decoded<typeof descriptor>;

export const manifest = struct('Manifest', {
  schemaVersion: int,
  mediaType: string,
  artifactType: string,
  config: descriptor,
  layers: array(descriptor),
  subject: nullable(descriptor),
  annotations: nullable(map(string)),
});
export type Manifest = Decoded<typeof manifest>;

export const index = struct('Index', {
  schemaVersion: int,
  mediaType: string,
  artifactType: string,
  manifests: array(descriptor),
  subject: nullable(descriptor),
  annotations: nullable(map(string)),
});
export type Index = Decoded<typeof index>;

export const historyEntry = struct('History', {
  created: string,
  author: string,
  created_by: string,
  comment: string,
  empty_layer: json,
});

/** The image config's fields that the engine acts on; the exact bytes are kept beside it. */
export const imageConfig = struct('Image', {
  created: string,
  author: string,
  architecture: string,
  os: string,
  variant: string,
  'os.version': string,
  docker_version: string,
  container: string,
  comment: string,
  config: containerConfig,
  container_config: nullable(containerConfig),
  /** `diff_ids` bottom first, text as received. */
  rootfs: struct('RootFS', { type: string, diff_ids: array(string) }),
  history: array(historyEntry),
});
export type ImageConfig = Decoded<typeof imageConfig>;
