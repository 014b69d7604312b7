import type { DiffId, Digest } from '../base/digest.ts';
import type { DeltaMode } from '../policy/delta-mode.ts';
import type { ImagePlatform } from '../policy/platform.ts';
import type { RegistryConfig } from '../policy/registry-config.ts';
import type { Credentials } from '../registry/auth.ts';
import type { ProgressMessage } from '../spec/docker/progress.ts';
import type { Platform } from '../spec/oci/image.ts';
import type { LayerBlob, StagedLayer } from '../store/layer-store.ts';
import type { DeltaQuestion } from './delta-protocol.ts';

/** What the daemon and a worker say to each other about registries. Types only. */

/** How a worker gets at a registry. */
export type RegistryAccess = {
  readonly domain: string;
  /** Null: anonymous. */
  readonly credentials: Credentials | null;
  readonly config: RegistryConfig;
  /** `User-Agent`. */
  readonly agent: string;
};

/** Input of the job `pull`. */
export type PullInput = {
  readonly access: RegistryAccess;
  /** `library/debian`. */
  readonly path: string;
  /** A tag or a digest. */
  readonly reference: string;
  /** As the user reads it, for messages. */
  readonly familiar: string;
  /** What the user asked for; null: what fits the machine. */
  readonly platform: ImagePlatform | null;
  readonly host: ImagePlatform;
  readonly attempts: number;
  readonly concurrency: number;
  /** Over all layers; 0 for no limit. */
  readonly bytesPerSecMax: number;
  readonly delta: DeltaMode;
  /** Absolute folder in staging, this job's own, to be made when it is needed. */
  readonly staging: string;
};

/** What the worker asks the daemon. */
export type PullQuestion =
  /** Is this image here, with all its layers? Answer: boolean. */
  | { readonly ask: 'image'; readonly id: Digest }
  | DeltaQuestion
  /** Which of these layers are here? They are held from now on. Answer: boolean[]. */
  | { readonly ask: 'layers'; readonly layers: readonly { diffId: DiffId; digest: Digest }[] }
  /**
   * May I fetch this layer? Waits while another pull fetches it. Answer: 'fetch', or 'here' when
   * it has come meanwhile.
   */
  | { readonly ask: 'claim'; readonly diffId: DiffId }
  /**
   * Which of these images are here? They are held from now on. Answer: {@link BasesAnswer}.
   */
  | { readonly ask: 'bases'; readonly ids: readonly string[] }
  /**
   * Keep these layers: they are whole. Answered when they are durable; the last ones become so
   * together with the image, in one transaction.
   */
  | { readonly ask: 'keep'; readonly layers: readonly StagedLayer[]; readonly isLast: boolean };

/** An image that is here, with what a delta from it needs. */
export type LocalBase = {
  readonly id: Digest;
  /** As its user knows it. */
  readonly name: string;
  readonly diffIds: readonly DiffId[];
  /** Absolute folders of its layers, bottom first. */
  readonly directories: readonly string[];
};

/** Which images are here, in the order asked for. */
export type BasesAnswer = {
  readonly bases: readonly (LocalBase | null)[];
  /** Why some of them may be here all the same; '' when that is known of all. */
  readonly problem: string;
};

/** What the worker reports: a line for the client. */
export type PullReport = ProgressMessage;

/** A manifest with its bytes in base64. */
export type PulledManifest = {
  readonly digest: Digest;
  readonly mediaType: string;
  readonly base64: string;
};

/** Result of the job `pull`. */
export type PullResult = {
  /** What the reference named: the digest of an index, if it was one. */
  readonly digest: Digest;
  readonly imageId: Digest;
  /** Null when the image is here already. */
  readonly image: null | { readonly configBase64: string; readonly diffIds: readonly DiffId[] };
  readonly manifests: readonly PulledManifest[];
  readonly downloadedBytes: number;
};

/** Input of the job `registry`: small questions, each with its own result. */
export type RegistryInput =
  /** All tags of a repository. Result: string[]. */
  | {
      readonly ask: 'tags';
      readonly access: RegistryAccess;
      readonly path: string;
      /** As the user reads the repository. */
      readonly familiar: string;
    }
  /** What does a name stand for? Result: {@link DistributionResult}. */
  | {
      readonly ask: 'manifest';
      readonly access: RegistryAccess;
      readonly path: string;
      /** A tag or a digest. */
      readonly reference: string;
      readonly familiar: string;
      readonly attempts: number;
    }
  /** Are these credentials good? Result: {@link LoginResult}. */
  | { readonly ask: 'login'; readonly access: RegistryAccess }
  /** Repositories that match a word. Result: {@link SearchResult}[]. */
  | {
      readonly ask: 'search';
      readonly access: RegistryAccess;
      readonly term: string;
      /** 1 to 100. */
      readonly limit: number;
    };

/** A manifest, and the platforms of the image or images that it describes. */
export type DistributionResult = {
  readonly mediaType: string;
  readonly digest: string;
  readonly sizeBytes: number;
  readonly annotations: Readonly<Record<string, string>> | null;
  readonly platforms: readonly Platform[];
};

export type LoginResult = {
  /** An OAuth2 refresh token in place of the password; ''. */
  readonly identityToken: string;
};

export type SearchResult = {
  readonly name: string;
  readonly description: string;
  readonly stars: number;
  readonly isOfficial: boolean;
  readonly isAutomated: boolean;
};

/** A layer to push: what it is called, where it lies, and where registries have it. */
export type PushLayer = {
  readonly diffId: DiffId;
  /** Absolute folder with `diff/` and `headers`. */
  readonly directory: string;
  readonly tarBytes: number;
  readonly blobs: readonly LayerBlob[];
};

/** Input of the job `push`: one image under one or several tags. */
export type PushInput = {
  readonly access: RegistryAccess;
  readonly path: string;
  readonly tags: readonly string[];
  readonly attempts: number;
  readonly concurrency: number;
  /** Of blobs that come from where they were pulled from, over all layers; 0 for no limit. */
  readonly bytesPerSecMax: number;
  readonly imageId: Digest;
  readonly configBase64: string;
  /** Bottom first. */
  readonly layers: readonly PushLayer[];
  /** Repositories that the image was pulled from or pushed to, in full, but for the target. */
  readonly origins: readonly string[];
  /** Manifests of single images that were pulled with it: pushed again as they are, if possible. */
  readonly manifests: readonly PulledManifest[];
};

/** Result of the job `push`. */
export type PushResult = {
  readonly manifest: PulledManifest;
  readonly sizeBytes: number;
  /** What the registry has now. */
  readonly blobs: readonly LayerBlob[];
  readonly uploadedBytes: number;
};
