/** Input of the job `delta-layout`: deltas between images in OCI layouts, without a daemon. */
export type DeltaLayoutInput = {
  /** Where an image is: a folder, and the name of one of its manifests ('' when it has one). */
  readonly target: LayoutImage;
  readonly bases: readonly LayoutImage[];
  /** Folder of a layout that gets the deltas; it may be the target's. Made when it is missing. */
  readonly output: string;
};

export type LayoutImage = {
  /** Absolute. */
  readonly folder: string;
  readonly name: string;
};
