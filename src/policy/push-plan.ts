import { type DiffId, type Digest, parseDigest } from '../base/digest.ts';
import { type Manifest, MEDIA_TYPE } from '../spec/oci/image.ts';

/** How an image is pushed: decided from what is known of its layers. */

/** A compressed form of a layer, and where a registry has it. */
export type KnownBlob = {
  readonly diffId: DiffId;
  readonly digest: Digest;
  /** In full: `docker.io/library/debian`. */
  readonly repository: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
  /** Of its beginning, when that was seen. */
  readonly headSum?: number;
};

/** A compressed form of a layer, and where to have it from. */
export type Candidate = {
  readonly blob: KnownBlob;
  /** Paths of other repositories of the target's registry. */
  readonly mountFrom: readonly string[];
  /** All repositories that had it, in full. */
  readonly origins: readonly string[];
};

/**
 * The compressed forms of a layer in the order to look for them, each with the repositories of
 * this registry that it could be mounted from. `preferred` is the form that the manifest that was
 * pulled names: with it, what is pushed is byte for byte what was pulled.
 */
export function candidateBlobs(
  blobs: readonly KnownBlob[],
  target: { readonly domain: string; readonly path: string },
  preferred: Digest | undefined,
): Candidate[] {
  const byDigest = new Map<Digest, { blob: KnownBlob; mountFrom: string[]; origins: string[] }>();
  for (const blob of blobs) {
    const entry = byDigest.get(blob.digest) ?? { blob, mountFrom: [], origins: [] };
    byDigest.set(blob.digest, entry);
    const path = pathIn(target.domain, blob.repository);
    if (path !== undefined && path !== target.path) entry.mountFrom.push(path);
    // Archives have no name, and what is pushed to has been asked.
    if (blob.repository !== '' && path !== target.path) entry.origins.push(blob.repository);
  }
  const rank = (digest: Digest, mounts: number): number =>
    (digest === preferred ? 0 : 2) + (mounts > 0 ? 0 : 1);
  return [...byDigest.values()].sort(
    (a, b) =>
      rank(a.blob.digest, a.mountFrom.length) - rank(b.blob.digest, b.mountFrom.length) ||
      (a.blob.digest < b.blob.digest ? -1 : 1),
  );
}

/** Path of a repository of the registry `domain`; undefined for one of another. */
export function pathIn(domain: string, repository: string): string | undefined {
  return repository.startsWith(`${domain}/`) ? repository.slice(domain.length + 1) : undefined;
}

/** A layer as the registry has it at the end. */
export type PushedLayer = {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly sizeBytes: number;
};

/** The first of the manifests that names exactly this config and these layers. */
export function sameManifest<T extends { readonly content: Manifest }>(
  manifests: readonly T[],
  config: Digest,
  layers: readonly PushedLayer[],
): T | undefined {
  return manifests.find(
    ({ content }) =>
      content.config.digest === config &&
      content.layers.length === layers.length &&
      content.layers.every((layer, i) => layer.digest === layers[i]?.digest),
  );
}

/** Digest of the layer at `position` in the first manifest that has one there. */
export function preferredDigest(
  manifests: readonly { readonly content: Manifest }[],
  position: number,
): Digest | undefined {
  for (const { content } of manifests) {
    const layer = content.layers[position];
    if (layer !== undefined) return parseDigest(layer.digest);
  }
  return undefined;
}

const OCI_OF: Readonly<Record<string, string>> = {
  [MEDIA_TYPE.dockerLayer]: MEDIA_TYPE.ociLayer,
  [MEDIA_TYPE.dockerLayerGzip]: MEDIA_TYPE.ociLayerGzip,
  'application/vnd.docker.image.rootfs.diff.tar.zstd': MEDIA_TYPE.ociLayerZstd,
};
const DOCKER_OF: Readonly<Record<string, string>> = {
  [MEDIA_TYPE.ociLayer]: MEDIA_TYPE.dockerLayer,
  [MEDIA_TYPE.ociLayerGzip]: MEDIA_TYPE.dockerLayerGzip,
};

/**
 * A new manifest: Docker's schema 2, as Docker pushes, or OCI's where the image came as OCI or a
 * layer is of a kind that only OCI knows.
 */
export function newManifest(
  config: { readonly digest: Digest; readonly sizeBytes: number },
  layers: readonly PushedLayer[],
  wasOci: boolean,
): { mediaType: string; bytes: Uint8Array } {
  const isOci = wasOci || layers.some((layer) => layer.mediaType.endsWith('zstd'));
  const translate = isOci ? OCI_OF : DOCKER_OF;
  const mediaType = isOci ? MEDIA_TYPE.ociManifest : MEDIA_TYPE.dockerManifest;
  const document = {
    schemaVersion: 2,
    mediaType,
    config: {
      mediaType: isOci ? MEDIA_TYPE.ociConfig : MEDIA_TYPE.dockerConfig,
      size: config.sizeBytes,
      digest: config.digest,
    },
    layers: layers.map((layer) => ({
      mediaType: translate[layer.mediaType] ?? layer.mediaType,
      size: layer.sizeBytes,
      digest: layer.digest,
    })),
  };
  return { mediaType, bytes: Buffer.from(JSON.stringify(document, undefined, 3)) };
}
