/**
 * The configuration of a container as an OCI runtime takes it (`config.json`): the parts that this
 * engine writes. Source: OCI runtime-spec v1.1, config.md and config-linux.md.
 */

export type RuntimeUser = {
  readonly uid: number;
  readonly gid: number;
  readonly umask?: number;
  readonly additionalGids?: readonly number[];
};

export type RuntimeCapabilities = {
  readonly bounding: readonly string[];
  readonly effective?: readonly string[];
  readonly permitted?: readonly string[];
  readonly inheritable?: readonly string[];
  readonly ambient?: readonly string[];
};

/** Unsigned 64-bit numbers; one that a double cannot hold is a `JSON.rawJSON` object. */
export type RuntimeRlimit = {
  readonly type: string;
  readonly soft: number | object;
  readonly hard: number | object;
};

/** What is run: in a container at its start, or beside it by an exec. */
export type RuntimeProcess = {
  readonly terminal?: boolean;
  readonly consoleSize?: { readonly height: number; readonly width: number };
  readonly user: RuntimeUser;
  readonly args: readonly string[];
  readonly env: readonly string[];
  readonly cwd: string;
  readonly capabilities?: RuntimeCapabilities;
  readonly rlimits?: readonly RuntimeRlimit[];
  readonly noNewPrivileges?: boolean;
  readonly apparmorProfile?: string;
  readonly selinuxLabel?: string;
  readonly oomScoreAdj?: number;
};

export type RuntimeMount = {
  readonly destination: string;
  readonly type: string;
  readonly source: string;
  readonly options: readonly string[];
};

export type RuntimeNamespace = {
  readonly type: 'pid' | 'network' | 'mount' | 'ipc' | 'uts' | 'user' | 'cgroup';
  /** Joins this one; absent makes a new one. */
  readonly path?: string;
};

export type RuntimeIdMapping = {
  readonly containerID: number;
  readonly hostID: number;
  readonly size: number;
};

export type RuntimeDevice = {
  readonly path: string;
  readonly type: 'c' | 'b' | 'p';
  readonly major: number;
  readonly minor: number;
  /** Permission bits. */
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
};

/** A rule of the device cgroup; absent numbers are wildcards. */
export type RuntimeDeviceRule = {
  readonly allow: boolean;
  readonly type?: 'a' | 'c' | 'b';
  readonly major?: number;
  readonly minor?: number;
  /** Of `rwm`. */
  readonly access: string;
};

type Throttle = { readonly major: number; readonly minor: number; readonly rate: number };

/** Limits of the container's cgroup. The numbers are v1's; runtimes convert for v2. */
export type RuntimeResources = {
  readonly devices?: readonly RuntimeDeviceRule[];
  readonly memory?: {
    /** Bytes; -1 is unlimited. */
    readonly limit?: number;
    readonly reservation?: number;
    /** Memory and swap. */
    readonly swap?: number;
    readonly kernel?: number;
    readonly kernelTCP?: number;
    readonly swappiness?: number;
    readonly disableOOMKiller?: boolean;
  };
  readonly cpu?: {
    readonly shares?: number;
    /** Microseconds a period. */
    readonly quota?: number;
    readonly period?: number;
    readonly realtimeRuntime?: number;
    readonly realtimePeriod?: number;
    readonly cpus?: string;
    readonly mems?: string;
  };
  readonly pids?: { readonly limit: number };
  readonly blockIO?: {
    readonly weight?: number;
    readonly weightDevice?: readonly {
      readonly major: number;
      readonly minor: number;
      readonly weight: number;
    }[];
    readonly throttleReadBpsDevice?: readonly Throttle[];
    readonly throttleWriteBpsDevice?: readonly Throttle[];
    readonly throttleReadIOPSDevice?: readonly Throttle[];
    readonly throttleWriteIOPSDevice?: readonly Throttle[];
  };
};

export type SeccompArgument = {
  readonly index: number;
  readonly value: number;
  readonly valueTwo?: number;
  readonly op: string;
};
export type SeccompRule = {
  readonly names: readonly string[];
  readonly action: string;
  readonly errnoRet?: number;
  readonly args?: readonly SeccompArgument[];
};
export type RuntimeSeccomp = {
  readonly defaultAction: string;
  readonly defaultErrnoRet?: number;
  readonly architectures?: readonly string[];
  readonly flags?: readonly string[];
  readonly listenerPath?: string;
  readonly syscalls: readonly SeccompRule[];
};

export type RuntimeSpec = {
  readonly ociVersion: string;
  readonly process: RuntimeProcess;
  readonly root: { readonly path: string; readonly readonly: boolean };
  readonly hostname?: string;
  readonly domainname?: string;
  readonly mounts: readonly RuntimeMount[];
  readonly annotations?: Readonly<Record<string, string>>;
  readonly linux: {
    readonly namespaces: readonly RuntimeNamespace[];
    readonly uidMappings?: readonly RuntimeIdMapping[];
    readonly gidMappings?: readonly RuntimeIdMapping[];
    readonly devices?: readonly RuntimeDevice[];
    readonly cgroupsPath?: string;
    readonly resources?: RuntimeResources;
    readonly rootfsPropagation?: string;
    readonly seccomp?: RuntimeSeccomp;
    readonly sysctl?: Readonly<Record<string, string>>;
    readonly maskedPaths?: readonly string[];
    readonly readonlyPaths?: readonly string[];
    readonly mountLabel?: string;
  };
};
