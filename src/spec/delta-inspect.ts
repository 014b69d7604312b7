/** A delta with where its bytes go. Ours, not Docker's. */
export type InspectedDelta = {
  readonly Digest: string;
  /** IDs of the images. */
  readonly Base: string;
  readonly Target: string;
  readonly Report: {
    readonly layers: readonly {
      readonly diffId: string;
      /** Bytes of its part, of its tar, and of what is no content. */
      readonly bytes: number;
      readonly tarBytes: number;
      readonly headBytes: number;
      readonly kinds: Readonly<
        Record<
          string,
          { readonly entries: number; readonly contentBytes: number; readonly bytes: number }
        >
      >;
      /** Files that cost something, the most expensive first. */
      readonly files: readonly {
        readonly path: string;
        readonly kind: string;
        readonly contentBytes: number;
        readonly bytes: number;
      }[];
    }[];
  };
};
