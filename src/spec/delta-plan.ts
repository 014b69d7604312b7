/** What a pull of an image would cost, by each way there is. Ours, not Docker's. */
export type DeltaPlan = {
  /** As the user reads it. */
  readonly Target: string;
  /** The image's ID, and the digest of its manifest. */
  readonly Id: string;
  readonly Digest: string;
  readonly Layers: {
    readonly Total: number;
    readonly Missing: number;
    /** Bytes of those that are missing. */
    readonly Bytes: number;
  };
  /** The smallest first. */
  readonly Deltas: readonly PlannedDelta[];
  /** Why deltas are not known of, or not all; '' when they are. */
  readonly Problem: string;
  /** What a pull would do: `nothing`, `layers`, or the digest of a delta. */
  readonly Choice: string;
};

export type PlannedDelta = {
  readonly Digest: string;
  /** ID of the image that it starts from. */
  readonly Base: string;
  /** Its name here; '' when it is not here. */
  readonly BaseName: string;
  /** To fetch what is missing here; where the base is not here, all of the delta. */
  readonly Bytes: number;
  /** Why it cannot be used; '' when nothing speaks against it. */
  readonly Problem: string;
};
