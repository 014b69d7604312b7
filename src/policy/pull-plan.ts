import { type DiffId, type Digest, parseDiffId, parseDigest } from '../base/digest.ts';
import { invalidArgument, notFound } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import {
  type Descriptor,
  type ImageConfig,
  type Index,
  type Manifest,
  MEDIA_TYPE,
} from '../spec/oci/image.ts';
import { choosePlatform, formatPlatform, type ImagePlatform, platformRank } from './platform.ts';

/** What a pull has to fetch: decided from documents alone, before a layer is asked for. */

/** A layer of the image that is pulled. */
export type WantedLayer = {
  /** 0 is the bottom. */
  readonly position: number;
  readonly diffId: DiffId;
  readonly digest: Digest;
  readonly mediaType: string;
  /** Compressed bytes. */
  readonly sizeBytes: number;
};

const LAYER_TYPES: ReadonlySet<string> = new Set([
  MEDIA_TYPE.dockerLayer,
  MEDIA_TYPE.dockerLayerGzip,
  MEDIA_TYPE.ociLayer,
  MEDIA_TYPE.ociLayerGzip,
  MEDIA_TYPE.ociLayerZstd,
  // Written by some builders, although Docker's manifests know no zstd.
  'application/vnd.docker.image.rootfs.diff.tar.zstd',
]);

/** Layers that their publisher does not let registries hand out (Windows base images). */
const FOREIGN_TYPES =
  /^application\/vnd\.(docker\.image\.rootfs\.foreign\.|oci\.image\.layer\.nondistributable\.)/;

/**
 * Config types of images. The last four are what old registries and tools made of them (Docker
 * accepts the same).
 */
const CONFIG_TYPES: ReadonlySet<string> = new Set([
  MEDIA_TYPE.dockerConfig,
  MEDIA_TYPE.ociConfig,
  'application/octet-stream',
  'application/json',
  'text/html',
  '',
]);

/**
 * The entry of a list for a platform.
 * @throws notFound with Docker's text
 */
export function chooseManifest(index: Index, want: ImagePlatform): Descriptor {
  const found = choosePlatform(index.manifests, (entry) => entry.platform, want);
  if (found !== undefined) return found;
  // A list of one image without a platform can only mean that image (OCI image-spec, image-index).
  const [only] = index.manifests;
  if (index.manifests.length === 1 && only?.platform === null) return only;
  throw notFound(`no matching manifest for ${platformInWords(want)} in the manifest list entries`);
}

/** As Docker writes it: arm64 in full. */
function platformInWords(platform: ImagePlatform): string {
  const isPlainArm64 = platform.architecture === 'arm64' && platform.variant === '';
  return formatPlatform(isPlainArm64 ? { ...platform, variant: 'v8' } : platform);
}

/**
 * Checks a manifest before anything that it names is fetched.
 * @throws invalidArgument
 */
export function checkManifest(manifest: Manifest): { config: Digest; configBytes: number } {
  const { config, layers } = manifest;
  if (!CONFIG_TYPES.has(config.mediaType)) {
    throw invalidArgument(
      `Encountered remote ${JSON.stringify(config.mediaType.slice(0, 200))}(unknown) when fetching: this is not a container image`,
    );
  }
  checkSize(config.size, 'config');
  if (config.size > LIMITS.imageConfigBytesMax) {
    throw invalidArgument(
      `the image config is larger than ${LIMITS.imageConfigBytesMax} bytes, which is not supported`,
    );
  }
  if (layers.length > LIMITS.layersMax) {
    throw invalidArgument(
      `the image has ${layers.length} layers; at most ${LIMITS.layersMax} are possible`,
    );
  }
  for (const layer of layers) {
    if (FOREIGN_TYPES.test(layer.mediaType)) {
      throw invalidArgument(
        `the layer ${layer.digest.slice(0, 100)} is a foreign layer (${layer.mediaType}), which only its publisher hands out: such images are not supported`,
      );
    }
    if (!LAYER_TYPES.has(layer.mediaType)) {
      throw invalidArgument(
        `unsupported layer media type ${JSON.stringify(layer.mediaType.slice(0, 200))}`,
      );
    }
    parseDigest(layer.digest);
    checkSize(layer.size, `layer ${layer.digest}`);
  }
  return { config: parseDigest(config.digest), configBytes: config.size };
}

function checkSize(size: number, what: string): void {
  if (size < 0 || size > LIMITS.layerBytesMax) {
    throw invalidArgument(`the manifest gives an impossible size for ${what}: ${size}`);
  }
}

/**
 * The layers of an image whose manifest and config are known, bottom first.
 * @throws invalidArgument when the two do not belong together
 */
export function wantedLayers(manifest: Manifest, config: ImageConfig): WantedLayer[] {
  const { type, diff_ids: diffIds } = config.rootfs;
  if (type !== 'layers' || diffIds.length !== manifest.layers.length) {
    throw invalidArgument(
      type === 'layers' || type === ''
        ? `the image config lists ${diffIds.length} layers, the manifest ${manifest.layers.length}`
        : 'invalid rootfs in image configuration',
    );
  }
  return manifest.layers.map((layer, position) => ({
    position,
    diffId: parseDiffId(diffIds[position] ?? ''),
    digest: parseDigest(layer.digest),
    mediaType: layer.mediaType,
    sizeBytes: layer.size,
  }));
}

/**
 * Checks that an image that was named without a list fits the platform that was asked for.
 * @throws notFound with Docker's text
 */
export function checkPlatform(
  config: ImageConfig,
  wanted: ImagePlatform | undefined,
  reference: string,
): void {
  // Without a wish anything is taken, as Docker does: the machine may run it by emulation.
  if (config.os !== '' && config.os !== 'linux') {
    throw invalidArgument(
      `cannot download image with operating system ${JSON.stringify(config.os)} when requesting "linux"`,
    );
  }
  if (wanted === undefined || config.architecture === '') return;
  const actual = { os: 'linux', architecture: config.architecture, variant: config.variant };
  if (platformRank(wanted, actual) !== undefined) return;
  throw notFound(
    `image with reference ${reference} was found but does not match the specified platform: wanted ${formatPlatform(wanted)}, actual: ${formatPlatform(actual)}`,
  );
}

/** Layers to fetch, each content once however often the image has it, bottom first. */
export function layersToFetch(
  layers: readonly WantedLayer[],
  isHere: (layer: WantedLayer) => boolean,
): WantedLayer[] {
  const seen = new Set<DiffId>();
  return layers.filter((layer) => {
    if (seen.has(layer.diffId) || isHere(layer)) return false;
    seen.add(layer.diffId);
    return true;
  });
}
