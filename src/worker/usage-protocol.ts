/** Input of the job `usage`. */
export type UsageInput = {
  /** Absolute folder of the layers. */
  readonly layers: string;
  readonly images: readonly {
    readonly layers: readonly { readonly dir: string; readonly diskBytes: number }[];
  }[];
};

/** Result of the job `usage`. */
export type UsageResult = {
  /** Of all images together. */
  readonly totalBytes: number;
  /** For each image, what would be free without it. */
  readonly uniqueBytes: readonly number[];
};
