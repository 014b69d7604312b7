import type { DiffId, Digest } from '../base/digest.ts';
import type { MappedView } from '../kernel/user-namespace.ts';

/**
 * Layers on disk. A layer is one folder, immutable once it is committed, found by its diffID; an
 * image is a list of them. Life of a layer:
 *
 *   staged     `staging/OP/N/` is being filled by a worker; a crash here leaves only garbage
 *   durable    everything is written and synced (one syncfs for all layers of an operation)
 *   committed  renamed to `layers/DIR/`, its parent synced, and its row is in the database
 *
 * Several layers and the image that needs them are committed by one transaction.
 */
export type LayerRecord = {
  readonly diffId: DiffId;
  /** Folder below `layers/`, a short random name. */
  readonly dir: string;
  /** Bytes of the uncompressed tar. */
  readonly tarBytes: number;
  /** Sum of the sizes of its regular files. */
  readonly diskBytes: number;
  readonly createdMs: number;
};

/** A compressed form of a layer that a registry or archive had. */
export type LayerBlob = {
  readonly diffId: DiffId;
  readonly digest: Digest;
  /** In full (`docker.io/library/debian`); '' when it came from an archive. */
  readonly repository: string;
  readonly mediaType: string;
  readonly sizeBytes: number;
  /** Of its beginning (`formats/blob-head.ts`), when that was seen. */
  readonly headSum?: number;
};

/** A layer in staging, as the worker that filled it reports it. */
export type StagedLayer = {
  /** Absolute folder with `diff/` and `headers`. */
  readonly directory: string;
  /** What its folder must be called, as it names contents of its own so; undefined for any name. */
  readonly name: string | undefined;
  readonly diffId: DiffId;
  readonly tarBytes: number;
  readonly diskBytes: number;
  /** Bytes really written to the data root for it. */
  readonly writtenBytes: number;
  /** Bytes of its files that were here already and were not written again. */
  readonly sharedBytes: number;
  /** The blob it came from; undefined for a plain archive. */
  readonly blob: Omit<LayerBlob, 'diffId'> | undefined;
};

/** For what the data root is written to. */
export type WearCause = 'pull' | 'load' | 'import' | 'commit' | 'build' | 'delta' | 'other';

/** Where a container's filesystem lies; absolute paths. Docker shows them as GraphDriver.Data. */
export type RootfsPaths = {
  /** Top first. */
  readonly lower: readonly string[];
  /** Where stubs in them have their contents; empty where there can be none. */
  readonly data: readonly string[];
  readonly upper: string;
  readonly work: string;
  /** Mount point: in the exec root, or in the data root for one that a host boots from. */
  readonly merged: string;
};

/** What is special about a container's filesystem. */
export type RootfsOptions = {
  /** A host boots from it: it gets a mount recipe, and a mount point in the data root. */
  readonly forBoot?: boolean;
  /** What may be written to it; the daemon's default. 0 is unlimited. */
  readonly sizeBytes?: number | undefined;
  /** Puts something into the writable layer, which is empty (but for a copy of the image), before it is durable. */
  readonly prepare?: (upper: string) => void;
};

/** How the layers of an image and a writable layer become a filesystem. One implementation for each storage driver. */
export type LayerStore = {
  readonly driver: 'overlay2' | 'vfs';
  readonly find: (diffId: DiffId) => LayerRecord | undefined;
  /** It is here, and no verification found it damaged: nobody need fetch it. */
  readonly isWhole: (diffId: DiffId) => boolean;
  /** Notes what a verification found, durably: `why`, or undefined when it is whole. */
  readonly setDamaged: (diffId: DiffId, why: string | undefined) => void;
  readonly findByBlob: (digest: Digest) => LayerRecord | undefined;
  /** Every whole layer by its diffID and by the digests of its compressed forms. */
  readonly knownDigests: () => Record<string, DiffId>;
  readonly blobsOf: (diffId: DiffId) => LayerBlob[];
  /** Absolute folder of the layer's files. @throws notFound */
  readonly directoryOf: (diffId: DiffId) => string;
  /**
   * Makes the layer's files be there: of one that is an image of its names, that is mounted.
   * @throws notFound; unavailable where that cannot be done
   */
  readonly show: (diffId: DiffId) => void;
  /** Takes the mounts away that {@link show} has made; running containers have their own. */
  readonly hideAll: () => void;
  /** A fresh folder below staging for one operation, removed when disposed. */
  readonly stage: (options?: {
    /** The caller makes the folder when it needs one: what turns out to be here writes nothing. */
    readonly isMadeLater: boolean;
  }) => { readonly directory: string } & AsyncDisposable;
  /** An operation works in this folder of staging, or this folder of a layer is about to get its row. */
  readonly isUnderWay: (folder: string) => boolean;
  /** Moves a tree of the data root out of sight at once and deletes it in the background. It may be gone already. */
  readonly discard: (folder: string) => void;
  /** Removes shared contents that no layer uses, in the background, when the operations of now are over. */
  readonly trimContents: () => void;
  /** They are being removed, or will be when those operations are over. */
  readonly isTrimming: () => boolean;
  /** Why a layer is damaged, as the last verification found; undefined when it is not. */
  readonly damageOf: (diffId: DiffId) => string | undefined;
  /**
   * Makes staged layers appear together with whatever `body` writes, in one transaction. Layers
   * that exist by now are dropped in favour of what is there, unless that is damaged: then they
   * take its place. Containers that run on it go on with the damaged files until their next start.
   * What was written for all of them is added to `cause` (other), as it has been written.
   */
  readonly commit: (
    layers: readonly StagedLayer[],
    body: () => void,
    cause?: WearCause,
  ) => Promise<void>;
  /**
   * Keeps layers from being collected until disposed: for who is about to name a layer that is
   * here already. Not stored; diffIDs that are not here are held as well, from when they appear.
   */
  readonly hold: (diffIds: readonly DiffId[]) => Disposable;
  /**
   * Keeps a layer from being collected though no image names it, over restarts too: until an image
   * does, {@link endLease}, {@link dropPartials}, or two weeks are over, in which nobody's setting
   * the clock counts. Runs inside a commit.
   */
  readonly leaseInTransaction: (diffId: DiffId) => void;
  readonly endLease: (diffId: DiffId) => void;
  /**
   * Gives up layers that pulls could not bring to their end and the next would go on with, and the
   * leases of those that are whole.
   */
  readonly dropPartials: () => void;
  /**
   * Removes layers that no image names, no container uses, and nobody holds or has a lease of; returns their diffIDs.
   * They are gone when this resolves; their files are deleted in the background.
   */
  readonly collect: () => Promise<DiffId[]>;

  /** Makes the writable layer of a container (durable when this resolves). */
  readonly createRootfs: (
    containerId: string,
    layers: readonly DiffId[],
    options?: RootfsOptions,
  ) => Promise<void>;
  /** At start: a container has its layers again that were lost and have been pulled. */
  readonly adoptRootfs: (containerId: string, layers: readonly DiffId[]) => void;
  /** Mounts at {@link RootfsPaths.merged}; mounted already is fine. */
  readonly mountRootfs: (
    containerId: string,
    layers: readonly DiffId[],
    /** What is mounted is taken from there. */
    view?: MappedView,
  ) => Promise<RootfsPaths>;
  readonly rootfsPaths: (containerId: string, layers: readonly DiffId[]) => RootfsPaths;
  /** {@link RootfsPaths.merged}, whether its layers are here or not. */
  readonly mountPointOf: (containerId: string) => string;
  readonly unmountRootfs: (containerId: string) => Promise<void>;
  readonly removeRootfs: (containerId: string) => Promise<void>;
  /** Bytes of regular files in the writable layer. */
  readonly rootfsSize: (containerId: string) => Promise<number>;
};
