import type { StagedLayer } from '../store/layer-store.ts';
import type { TreeDiffInput } from './tree-protocol.ts';

/**
 * What the daemon and the worker of one build say to each other. The worker takes the context in,
 * and then asks again and again for the next command, with the result of the last; the first
 * question has a {@link BuildContextResult}. A command that fails ends the build.
 */
export type BuildInput = {
  /** Folder of this operation below the data root's staging. */
  readonly staging: string;
  /** Where in the context the Dockerfile is, as the client says it. */
  readonly dockerfile: string;
  /** URL of a tar, or of a Dockerfile; '' when the context comes over stdin. */
  readonly remote: string;
};

export type BuildQuestion = { readonly result: unknown };

export type BuildContextResult = {
  /** The Dockerfile's text. */
  readonly text: string;
};

/** A file or folder that COPY or ADD takes. */
export type BuildSource = {
  /** `file:…` or `dir:…`: what decides about the cache. */
  readonly digest: string;
  /** In the source tree, as the user names it; of a download, its name. */
  readonly path: string;
  /** Where a download lies; '' for what lies in the tree. */
  readonly download: string;
};

/** Where files come from: the root of a mounted image, or '' for the context. */
type Tree = string;

export type BuildCommand =
  | {
      readonly do: 'sources';
      readonly from: Tree;
      readonly paths: readonly string[];
      /** ADD: URLs are downloaded. */
      readonly mayDownload: boolean;
    }
  | ({
      readonly do: 'copy';
      readonly from: Tree;
      readonly sources: readonly BuildSource[];
      /** Absolute; a slash at its end means a folder. */
      readonly to: string;
      /** `user:group` of `--chown`; '' is root. */
      readonly owner: string;
      /** Files keep the owners that they have where they come from. */
      readonly keepsOwner: boolean;
      /** ADD: archives are unpacked. */
      readonly unpacks: boolean;
    } & LayerOf)
  /** WORKDIR: makes a folder, where there is none. */
  | ({ readonly do: 'folder'; readonly path: string } & LayerOf)
  /** RUN: takes what a container has changed. */
  | ({ readonly do: 'layer' } & LayerOf);

/** A filesystem whose changes become a layer in the folder `name` of staging. */
type LayerOf = { readonly of: TreeDiffInput; readonly name: string };

/** Answer of all commands that make a layer. */
export type BuildLayerResult = { readonly layer: StagedLayer };
