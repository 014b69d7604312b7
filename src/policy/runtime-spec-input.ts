import type { ContainerConfig, HostConfig } from '../spec/docker/container.ts';
import type { RuntimeResources } from '../spec/oci/runtime.ts';
import type { GrantedDevice } from './devices.ts';
import type { UserRemap } from './user-remap.ts';
import type { ProcessUser } from './user-spec.ts';

/** What `runtimeSpec` needs to know. */

/** Facts of the host, found once at the daemon's start. */
export type RuntimeHost = {
  /** Go's name: amd64, arm64 … */
  readonly architecture: string;
  readonly kernel: readonly [major: number, minor: number];
  readonly isCgroupV2: boolean;
  /** What the daemon has, and so can give. */
  readonly capabilities: readonly string[];
  readonly hasSeccomp: boolean;
  readonly hasApparmor: boolean;
  readonly hasMqueue: boolean;
  /** The daemon's own oom_score_adj; lower ones need CAP_SYS_RESOURCE. */
  readonly oomScoreAdj: number;
};

/** Settings of the daemon that every container starts from. */
export type RuntimeDefaults = {
  readonly init: boolean;
  readonly initPath: string;
  readonly noNewPrivileges: boolean;
  /** '' or `builtin`, `unconfined`, or a profile's JSON text. */
  readonly seccompProfile: string;
  readonly ulimits: Readonly<Record<string, { readonly Soft: number; readonly Hard: number }>>;
  readonly shmSizeBytes: number;
};

/** A namespace of the container: its own, the host's, or another process's. */
export type NamespaceChoice = 'new' | 'host' | { readonly path: string };

export type RuntimeSpecInput = {
  readonly id: string;
  readonly config: ContainerConfig;
  readonly hostConfig: HostConfig;
  readonly path: string;
  readonly args: readonly string[];
  readonly host: RuntimeHost;
  readonly defaults: RuntimeDefaults;
  /** Absolute. */
  readonly rootfs: string;
  readonly user: ProcessUser;
  readonly hostname: string;
  readonly mounts: RuntimeMountFacts;
  readonly namespaces: {
    readonly network: NamespaceChoice;
    readonly pid: NamespaceChoice;
    readonly ipc: NamespaceChoice;
    readonly uts: NamespaceChoice;
    readonly cgroup: NamespaceChoice;
    readonly user: NamespaceChoice;
  };
  /** Of `--device`, or all of the host's for `--privileged`. */
  readonly devices: readonly GrantedDevice[];
  readonly resources: Omit<RuntimeResources, 'devices'>;
  readonly cgroupsPath: string;
  /** Which users of the host the container's are; undefined when they are the same. */
  readonly remap: UserRemap | undefined;
};

/** One of the container's own mounts with the host path that `Volumes.prepare` found for it. */
export type PreparedMount = {
  readonly type: 'bind' | 'volume' | 'tmpfs';
  /** '' for tmpfs. */
  readonly hostPath: string;
  readonly destination: string;
  readonly readWrite: boolean;
  readonly propagation: string;
  readonly recursive: boolean;
  /** Flags that the source has on the host: `ro`, `nosuid` … */
  readonly sourceFlags: readonly string[];
  /** What is mounted below it is read-only as well. */
  readonly readOnlyBelow: boolean;
  readonly tmpfsOptions: string;
};

export type RuntimeMountFacts = {
  readonly own: readonly PreparedMount[];
  /** Host paths of the files that the engine makes for the container; undefined leaves the image's. */
  readonly hosts: string | undefined;
  readonly hostname: string | undefined;
  readonly resolvConf: string | undefined;
  /** `tmpfs`: one of its own; `none`: no mount; else the host path to bind. */
  readonly shm: 'tmpfs' | 'none' | { readonly path: string };
};
