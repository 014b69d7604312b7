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
  /** What a pull would do: `nothing`, `layers`, or the digest of a delta. */
  readonly Choice: string;
};

export type PlannedDelta = {
  readonly Digest: string;
  /** ID of the image that it starts from. */
  readonly Base: string;
  /** Its name here; '' when it is not here. */
  readonly BaseName: string;
  readonly Bytes: number;
};
