import type { DiffId } from '../base/digest.ts';
import type { ImagePlatform } from '../policy/platform.ts';
import type { StagedLayer } from '../store/layer-store.ts';
import type { DeltaQuestion } from './delta-protocol.ts';

/** What daemon and worker say to each other about image archives. All of it is JSON. */

/** Input of the job `load`; the archive comes over stdin. */
export type LoadInput = {
  /** Folder of this operation below the data root's staging. */
  readonly staging: string;
  /** Layers that are here: digests of their compressed forms, and diffIDs, to diffIDs. */
  readonly known: Readonly<Record<string, DiffId>>;
  /** Which image of an index for several platforms. */
  readonly platform: ImagePlatform;
  /** Report a {@link ProgressMessage} for each layer. */
  readonly quiet: boolean;
};

/** What the job `load` asks the daemon. */
export type LoadQuestion =
  | DeltaQuestion
  /** Folder of a layer that is here, which holds `diff/` and `headers`. Answer: string. */
  | { readonly ask: 'layer'; readonly diffId: DiffId };

export type LoadedImage = {
  readonly configBase64: string;
  /** Bottom first. */
  readonly diffIds: readonly DiffId[];
  /** References as the archive has them, not checked. */
  readonly tags: readonly string[];
};

/** Result of `load`. */
export type LoadResult = {
  readonly images: readonly LoadedImage[];
  /** Layers that were not here. */
  readonly staged: readonly StagedLayer[];
};

/** Input of the job `save`; the archive goes to stdout. */
export type SaveInput = {
  readonly images: readonly {
    readonly configBase64: string;
    readonly layers: readonly {
      readonly diffId: DiffId;
      /** The layer's folder, which holds `diff/` and `headers`. */
      readonly directory: string;
      readonly tarBytes: number;
    }[];
    readonly tags: readonly {
      readonly full: string;
      readonly familiar: string;
      readonly tag: string;
    }[];
  }[];
};

/** Input of the job `import`; the tar comes over stdin, or from a URL. */
export type ImportInput = {
  readonly staging: string;
  /** `http:` or `https:`; '' for stdin. */
  readonly url: string;
};

/** Result of `import`. */
export type ImportResult = { readonly layer: StagedLayer };
