import { type Decoded, string, struct } from '../decode.ts';
import type { ContainerConfig } from './container.ts';

/**
 * Images as the API shows them. Source: Engine API v1.51, `ImageSummary`, `ImageInspect`,
 * `ImageHistoryResponseItem`, `ImageDeleteResponseItem`, `ImageManifestSummary`.
 */

/** The platform that a client wants of an image that has several. */
export const platformWish = struct('Platform', {
  os: string,
  architecture: string,
  variant: string,
});
export type PlatformWish = Decoded<typeof platformWish>;

/** A descriptor of the OCI image-spec, as the API shows it. */
export type ImageDescriptor = {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly platform?: ImagePlatform;
  readonly annotations?: Readonly<Record<string, string>>;
};
export type ImagePlatform = {
  readonly architecture: string;
  readonly os: string;
  readonly 'os.version'?: string;
  readonly 'os.features'?: readonly string[];
  readonly variant?: string;
};

/** What a name stands for in a registry. */
export type DistributionInspect = {
  readonly Descriptor: ImageDescriptor;
  readonly Platforms: readonly ImagePlatform[];
};

/** One line of `docker images`. Sizes are bytes; -1 says "not asked for". */
export type ImageSummary = {
  readonly Containers: number;
  /** Seconds since the epoch. */
  readonly Created: number;
  readonly Id: string;
  readonly Labels: Readonly<Record<string, string>> | null;
  readonly ParentId: string;
  readonly RepoDigests: readonly string[];
  readonly RepoTags: readonly string[];
  readonly SharedSize: number;
  readonly Size: number;
  /** Before v1.44 only; the same as Size. */
  readonly VirtualSize?: number;
  /** From v1.48. */
  readonly Descriptor?: ImageDescriptor;
  /** From v1.47, when asked for. */
  readonly Manifests?: readonly ImageManifestSummary[];
};

/** One platform's image behind a name. */
export type ImageManifestSummary = {
  readonly ID: string;
  readonly Descriptor: ImageDescriptor;
  readonly Available: boolean;
  readonly Size: { readonly Content: number; readonly Total: number };
  readonly Kind: 'image' | 'attestation' | 'unknown';
  readonly ImageData?: {
    readonly Platform: ImagePlatform;
    readonly Containers: readonly string[];
    readonly Size: { readonly Unpacked: number };
  };
};

/** Where a storage driver keeps a filesystem; `Data` has the overlay's folders. */
export type GraphDriver = {
  readonly Data: Readonly<Record<string, string>> | null;
  readonly Name: string;
};

/** `docker image inspect`. Optional fields come and go with the API version. */
export type ImageInspect = {
  readonly Id: string;
  readonly RepoTags: readonly string[];
  readonly RepoDigests: readonly string[];
  readonly Parent: string;
  readonly Comment: string;
  readonly Created?: string;
  readonly Container?: string;
  readonly ContainerConfig?: ContainerConfig;
  readonly DockerVersion: string;
  readonly Author: string;
  readonly Config: Partial<ContainerConfig> | null;
  readonly Architecture: string;
  readonly Variant?: string;
  readonly Os: string;
  readonly OsVersion?: string;
  /** Bytes. */
  readonly Size: number;
  readonly VirtualSize?: number;
  readonly GraphDriver: GraphDriver;
  readonly RootFS: { readonly Type: string; readonly Layers?: readonly string[] };
  readonly Metadata: { readonly LastTagTime: string };
  readonly Descriptor?: ImageDescriptor;
  readonly Manifests?: readonly ImageManifestSummary[];
};

/** One step of an image's making, newest first; steps without an image of their own are `<missing>`. */
export type ImageHistoryItem = {
  readonly Comment: string;
  /** Seconds since the epoch. */
  readonly Created: number;
  readonly CreatedBy: string;
  readonly Id: string;
  /** Bytes of the step's layer. */
  readonly Size: number;
  readonly Tags: readonly string[] | null;
};

/** What `docker rmi` prints, line by line. */
export type ImageDeleteItem = { readonly Untagged: string } | { readonly Deleted: string };

export type ImagePruneResult = {
  readonly ImagesDeleted: readonly ImageDeleteItem[] | null;
  readonly SpaceReclaimed: number;
};

export type BuildPruneResult = {
  readonly CachesDeleted: readonly string[] | null;
  readonly SpaceReclaimed: number;
};

/** One hit of `docker search`. */
export type ImageSearchItem = {
  readonly star_count: number;
  readonly is_official: boolean;
  readonly name: string;
  readonly is_automated: boolean;
  readonly description: string;
};
