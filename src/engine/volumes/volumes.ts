import type { MountWish } from '../../policy/mounts.ts';
import type { HostConfig } from '../../spec/docker/container.ts';
import type { Volume } from './volume.ts';

/** One mount of a container, resolved: what the runtime is told and inspect shows. */
export type MountPoint = Omit<MountWish, 'driverOptions' | 'labels' | 'origin'> & {
  readonly origin: MountWish['origin'] | 'volumes-from';
};

/** What a new volume is made of. */
export type VolumeWish = {
  /** '' for an anonymous one. */
  readonly name: string;
  readonly driver: string;
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
};

/** Volumes, as the engine's containers and the API use them. */
export type Volumes = {
  readonly list: () => Volume[];
  readonly find: (name: string) => Volume | undefined;
  /** Gives the volume that is there when it fits the wish. @throws conflict when it does not */
  readonly create: (wish: VolumeWish) => Promise<Volume>;
  /** @throws notFound; conflict when a container refers to it */
  readonly remove: (name: string) => Promise<void>;
  /** IDs of the containers that refer to it. */
  readonly usersOf: (name: string) => readonly string[];
  /** Bytes of the files in it. */
  readonly sizeOf: (name: string) => Promise<number>;

  readonly restore: () => Promise<void>;
  /**
   * At create: parses Binds, Mounts, Tmpfs, image volumes and volumes-from, makes what volumes are
   * missing, and records that the container refers to them.
   * @throws invalidArgument, notFound with Docker's texts; nothing is made then
   */
  readonly resolve: (container: {
    readonly id: string;
    readonly hostConfig: HostConfig;
    /** Destinations of the image's and the request's `Volumes`. */
    readonly anonymous: readonly string[];
    readonly volumesFrom: (idOrName: string) => readonly MountPoint[];
  }) => Promise<MountPoint[]>;
  /** Records the anonymous volumes that `resolve` made, together with their container. */
  readonly recordInTransaction: (mounts: readonly MountPoint[]) => void;
  /** At the daemon's start, for each container there is: takes its references (and mounts, when it runs) into account. */
  readonly adopt: (containerId: string, mounts: readonly MountPoint[], running: boolean) => void;
  /**
   * At start: makes missing sources of `Binds`, refuses those of `Mounts`, mounts local volumes
   * that have options, and fills new volumes from the image below `rootfs`. Returns the host path
   * to mount for each of `mounts`, in order, that of a whole volume for a part of one; '' for a tmpfs.
   */
  readonly prepare: (
    containerId: string,
    mounts: readonly MountPoint[],
    rootfs: string,
  ) => Promise<string[]>;
  /** At stop: unmounts what no other running container needs. */
  readonly release: (containerId: string) => Promise<void>;
  /** With a container's removal: the anonymous volumes that {@link forget} will remove go for certain. */
  readonly giveUpInTransaction: (containerId: string) => void;
  /** At removal: forgets the references; removes anonymous volumes when asked. */
  readonly forget: (containerId: string, removeAnonymous: boolean) => Promise<void>;
};
