import type { ImageId } from '../base/digest.ts';
import type { StagedLayer } from '../store/layer-store.ts';
import type { BasisLayer } from '../store/layers/layer-basis.ts';

/** What the daemon and a worker say to each other about deltas. All of it is JSON. */

/**
 * What a worker that meets a delta asks the daemon. The base is held from then on, and the target
 * when it is here. Fails with notFound when the base is not here.
 */
export type DeltaQuestion = {
  readonly ask: 'delta';
  readonly base: ImageId;
  readonly target: ImageId;
};

export type DeltaAnswer = {
  /** The target is here, with all its layers. Then the base is not looked for. */
  readonly isHere: boolean;
  /** Of the base, bottom first. */
  readonly basis: readonly BasisLayer[];
};

/** Input of the job `delta-create`. */
export type DeltaCreateInput = {
  readonly staging: string;
  /** As the user wrote it, for messages. */
  readonly baseName: string;
  readonly base: readonly (BasisLayer & { readonly tarBytes: number })[];
  readonly target: readonly (BasisLayer & {
    readonly tarBytes: number;
    /** Sum of the sizes of its files. */
    readonly diskBytes: number;
  })[];
};

/** Result of the job `delta-create`: the delta's layers, bottom first. */
export type DeltaCreateResult = {
  readonly layers: readonly StagedLayer[];
  /** Sum of the files of the target's layers that the base has not. */
  readonly normalBytes: number;
  readonly deltaBytes: number;
};
