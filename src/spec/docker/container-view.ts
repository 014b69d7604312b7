import type { ContainerConfig, HostConfig } from './container.ts';
import type { GraphDriver, ImageDescriptor } from './image.ts';
import type { EndpointView } from './network-view.ts';

/**
 * What the API answers about containers and execs. Source: Engine API v1.51, `ContainerSummary`,
 * `ContainerInspectResponse`, `ContainerState`, `ContainerTopResponse` …; null where Go writes a
 * nil slice, map or pointer.
 */

export type MountPointView = {
  readonly Type: string;
  /** Volumes only. */
  readonly Name?: string;
  readonly Source: string;
  readonly Destination: string;
  readonly Driver?: string;
  readonly Mode: string;
  readonly RW: boolean;
  readonly Propagation: string;
};

/** `80/tcp` to the host's addresses; null for a port that is exposed and not published. */
export type PortMap = Readonly<
  Record<string, readonly { readonly HostIp: string; readonly HostPort: string }[] | null>
>;

/** A port in a container list; without IP and PublicPort it is only exposed. */
export type PortSummary = {
  readonly IP?: string;
  readonly PrivatePort: number;
  readonly PublicPort?: number;
  readonly Type: string;
};

/** One line of `docker ps -a`. */
export type ContainerSummary = {
  readonly Id: string;
  /** With the leading slash. */
  readonly Names: readonly string[];
  readonly Image: string;
  readonly ImageID: string;
  /** From v1.48. */
  readonly ImageManifestDescriptor?: ImageDescriptor;
  readonly Command: string;
  /** Seconds since the epoch. */
  readonly Created: number;
  readonly Ports: readonly PortSummary[];
  /** Bytes, when asked for. */
  readonly SizeRw?: number;
  readonly SizeRootFs?: number;
  readonly Labels: Readonly<Record<string, string>>;
  readonly State: string;
  /** For people: `Up 5 minutes (healthy)`. */
  readonly Status: string;
  readonly HostConfig: {
    readonly NetworkMode?: string;
    readonly Annotations?: Readonly<Record<string, string>>;
  };
  readonly NetworkSettings: { readonly Networks: Readonly<Record<string, EndpointView>> } | null;
  readonly Mounts: readonly MountPointView[];
};

export type HealthView = {
  readonly Status: string;
  readonly FailingStreak: number;
  readonly Log:
    | readonly {
        readonly Start: string;
        readonly End: string;
        readonly ExitCode: number;
        readonly Output: string;
      }[]
    | null;
};

export type ContainerStateView = {
  readonly Status: string;
  readonly Running: boolean;
  readonly Paused: boolean;
  readonly Restarting: boolean;
  readonly OOMKilled: boolean;
  readonly Dead: boolean;
  readonly Pid: number;
  readonly ExitCode: number;
  readonly Error: string;
  readonly StartedAt: string;
  readonly FinishedAt: string;
  readonly Health?: HealthView;
};

/** The fields of the default network beside `Networks` are there for old clients. */
export type NetworkSettingsView = {
  readonly Bridge: string;
  readonly SandboxID: string;
  readonly SandboxKey: string;
  readonly Ports: PortMap;
  readonly HairpinMode: boolean;
  readonly LinkLocalIPv6Address: string;
  readonly LinkLocalIPv6PrefixLen: number;
  readonly SecondaryIPAddresses: null;
  readonly SecondaryIPv6Addresses: null;
  readonly EndpointID: string;
  readonly Gateway: string;
  readonly GlobalIPv6Address: string;
  readonly GlobalIPv6PrefixLen: number;
  readonly IPAddress: string;
  readonly IPPrefixLen: number;
  readonly IPv6Gateway: string;
  readonly MacAddress: string;
  readonly Networks: Readonly<Record<string, EndpointView>>;
};

/** `docker inspect` of a container. */
export type ContainerInspect = {
  readonly Id: string;
  readonly Created: string;
  readonly Path: string;
  readonly Args: readonly string[];
  readonly State: ContainerStateView;
  readonly Image: string;
  readonly ResolvConfPath: string;
  readonly HostnamePath: string;
  readonly HostsPath: string;
  readonly LogPath: string;
  /** With the leading slash. */
  readonly Name: string;
  readonly RestartCount: number;
  readonly Driver: string;
  readonly Platform: string;
  readonly ImageManifestDescriptor?: ImageDescriptor;
  readonly MountLabel: string;
  readonly ProcessLabel: string;
  readonly AppArmorProfile: string;
  readonly ExecIDs: readonly string[] | null;
  readonly HostConfig: Partial<HostConfig>;
  readonly GraphDriver: GraphDriver;
  /** Bytes, when asked for. */
  readonly SizeRw?: number;
  readonly SizeRootFs?: number;
  readonly Mounts: readonly MountPointView[];
  readonly Config: Partial<ContainerConfig>;
  readonly NetworkSettings: NetworkSettingsView;
};

export type ContainerCreateResult = { readonly Id: string; readonly Warnings: readonly string[] };
export type ContainerUpdateResult = { readonly Warnings: readonly string[] | null };
export type ContainerWaitResult = {
  readonly StatusCode: number;
  readonly Error?: { readonly Message: string } | null;
};
export type ContainerTopResult = {
  readonly Titles: readonly string[];
  readonly Processes: readonly (readonly string[])[];
};
/** `Kind`: 0 modified, 1 added, 2 deleted. */
export type FilesystemChange = { readonly Path: string; readonly Kind: 0 | 1 | 2 };
export type ContainerPruneResult = {
  readonly ContainersDeleted: readonly string[] | null;
  readonly SpaceReclaimed: number;
};
export type IdResult = { readonly Id: string };

export type ExecInspect = {
  readonly ID: string;
  readonly Running: boolean;
  /** Null while it runs. */
  readonly ExitCode: number | null;
  readonly ProcessConfig: {
    readonly tty: boolean;
    readonly entrypoint: string;
    readonly arguments: readonly string[];
    readonly privileged?: boolean;
    readonly user?: string;
  };
  readonly OpenStdin: boolean;
  readonly OpenStderr: boolean;
  readonly OpenStdout: boolean;
  readonly CanRemove: boolean;
  readonly ContainerID: string;
  /** Base64 of the key bytes, as Go writes a byte slice. */
  readonly DetachKeys: string;
  readonly Pid: number;
};
