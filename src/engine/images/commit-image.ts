import { createHash } from 'node:crypto';
import { type DiffId, type Digest, type ImageId, parseImageId } from '../../base/digest.ts';
import { dataLoss, invalidArgument } from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { decodeJson } from '../../spec/decode.ts';
import { imageConfig } from '../../spec/oci/image.ts';
import type { ManifestRecord } from '../../store/images.ts';
import type { StagedLayer, WearCause } from '../../store/layer-store.ts';
import type { Engine } from '../engine.ts';

/** What becomes an image. */
export type NewImage = {
  /** Layers that a worker has filled. Those of `diffIds` that are missing here exist already. */
  readonly staged: readonly StagedLayer[];
  /** The image config's exact bytes; their sha256 is the image's ID. */
  readonly config: Uint8Array;
  /** All layers, bottom first. */
  readonly diffIds: readonly DiffId[];
  /** `repository` in full. */
  readonly tags: readonly { readonly repository: string; readonly tag: string }[];
  readonly repoDigests: readonly { readonly repository: string; readonly digest: Digest }[];
  readonly manifests: readonly ManifestRecord[];
  readonly cause: WearCause;
  /** What it was built on. */
  readonly parent?: ImageId | undefined;
};

/**
 * Makes an image and its names appear in one durable step. An image that is here already keeps its
 * record and gets the names. Events are the caller's to publish. Whoever leaves out layers that
 * exist must `hold` them from when it looked until this returns.
 *
 * @throws invalidArgument when the config does not list exactly these layers; dataLoss when a
 * layer is neither staged nor here
 */
export async function commitImage(
  engine: Pick<Engine, 'layers' | 'store' | 'clock'>,
  image: NewImage,
): Promise<ImageId> {
  const { layers, store, clock } = engine;
  checkConfig(image);
  const id = parseImageId(`sha256:${createHash('sha256').update(image.config).digest('hex')}`);
  const sizes = new Map(image.staged.map((layer) => [layer.diffId, layer.diskBytes]));
  let sizeBytes = 0;
  for (const diffId of image.diffIds) {
    const bytes = sizes.get(diffId) ?? layers.find(diffId)?.diskBytes;
    if (bytes === undefined) throw dataLoss(`layer ${diffId} of image ${id} is missing`);
    sizeBytes += bytes;
  }
  const nowMs = clock.nowMs();
  await layers.commit(
    image.staged,
    () => {
      store.images.addInTransaction({
        id,
        config: image.config,
        diffIds: image.diffIds,
        sizeBytes,
        createdMs: nowMs,
      });
      if (image.parent !== undefined && image.parent !== id) {
        store.images.setParentInTransaction(id, image.parent);
      }
      for (const tag of image.tags) {
        store.images.setTagInTransaction({ ...tag, imageId: id, nowMs });
      }
      for (const each of image.repoDigests) {
        store.images.setRepoDigestInTransaction({ ...each, imageId: id });
      }
      for (const manifest of image.manifests) {
        store.images.addManifestInTransaction({ ...manifest, imageId: id });
      }
    },
    image.cause,
  );
  return id;
}

function checkConfig({ config, diffIds }: NewImage): void {
  if (config.length > LIMITS.imageConfigBytesMax) {
    throw invalidArgument(`image config of ${config.length} bytes is too large`);
  }
  const { rootfs } = decodeJson(imageConfig, Buffer.from(config).toString());
  const same =
    rootfs.diff_ids.length === diffIds.length &&
    rootfs.diff_ids.every((diffId, i) => diffId === diffIds[i]);
  if (!same) throw invalidArgument("layers from manifest don't match image configuration");
  if (diffIds.length > LIMITS.layersMax) {
    throw invalidArgument(`image has ${diffIds.length} layers; at most ${LIMITS.layersMax} work`);
  }
}
