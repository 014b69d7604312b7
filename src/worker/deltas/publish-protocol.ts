import type { DiffId, Digest, ImageId } from '../../base/digest.ts';
import type { RegistryAccess } from '../pull-protocol.ts';

/** What the daemon and a worker say to each other about deltas that are published. Types only. */

/** An image in the layer store. */
export type StoredImage = {
  readonly id: ImageId;
  /** As the user reads it. */
  readonly name: string;
  readonly configBase64: string;
  /** Bottom first; absolute folders. */
  readonly layers: readonly { readonly diffId: DiffId; readonly directory: string }[];
};

/** Input of the job `delta-publish`. */
export type DeltaPublishInput = {
  readonly access: RegistryAccess;
  readonly path: string;
  readonly attempts: number;
  /** Absolute, the job's own; gets the parts. */
  readonly staging: string;
  readonly target: StoredImage;
  /** Manifests by which registries have the target; one of them must be in this repository. */
  readonly manifests: readonly Digest[];
  readonly bases: readonly StoredImage[];
};

/** Result of the job `delta-publish`, in the order of the bases. */
export type DeltaPublishResult = readonly PublishedDelta[];

export type PublishedDelta = {
  readonly base: string;
  readonly digest: Digest;
  /** Bytes of its parts. */
  readonly sizeBytes: number;
};
