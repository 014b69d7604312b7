import {
  array,
  bool,
  type Decoded,
  embed,
  int,
  map,
  nullable,
  string,
  strings,
  struct,
  uint,
  uint16,
  uint32,
} from '../decode.ts';
import { endpointSettings } from './network.ts';

/**
 * What clients send about a container. Types are read off the decoders, so there is one place to
 * add a field. Source: Engine API v1.51 `ContainerConfig`, `HostConfig`, `POST /containers/create`.
 */

/** Durations are nanoseconds; 0 means "inherit". `Test[0]` is NONE, CMD or CMD-SHELL. */
export const healthConfig = struct('HealthConfig', {
  Test: array(string),
  Interval: int,
  Timeout: int,
  StartPeriod: int,
  StartInterval: int,
  Retries: int,
});
export type HealthConfig = Decoded<typeof healthConfig>;

const emptyObject = struct('struct {}', {});

export const containerConfig = struct('ContainerConfig', {
  Hostname: string,
  Domainname: string,
  User: string,
  AttachStdin: bool,
  AttachStdout: bool,
  AttachStderr: bool,
  /** Keys `80/tcp`. */
  ExposedPorts: map(emptyObject),
  Tty: bool,
  OpenStdin: bool,
  StdinOnce: bool,
  Env: array(string),
  /** Null: the image's. */
  Cmd: nullable(strings),
  Healthcheck: nullable(healthConfig),
  ArgsEscaped: bool,
  Image: string,
  Volumes: map(emptyObject),
  WorkingDir: string,
  /** Null: the image's; empty or `[""]`: none. */
  Entrypoint: nullable(strings),
  NetworkDisabled: bool,
  MacAddress: string,
  OnBuild: nullable(array(string)),
  Labels: map(string),
  StopSignal: string,
  /** Seconds. */
  StopTimeout: nullable(int),
  Shell: nullable(strings),
});
export type ContainerConfig = Decoded<typeof containerConfig>;

export const restartPolicy = struct('RestartPolicy', {
  /** '', no, always, unless-stopped, on-failure. */
  Name: string,
  MaximumRetryCount: int,
});
export type RestartPolicy = Decoded<typeof restartPolicy>;

export const deviceMapping = struct('DeviceMapping', {
  PathOnHost: string,
  PathInContainer: string,
  CgroupPermissions: string,
});
export const deviceRequest = struct('DeviceRequest', {
  Driver: string,
  Count: int,
  DeviceIDs: nullable(array(string)),
  Capabilities: array(array(string)),
  Options: map(string),
});
export const throttleDevice = struct('ThrottleDevice', { Path: string, Rate: uint });
export const weightDevice = struct('WeightDevice', { Path: string, Weight: uint16 });
export const ulimit = struct('Ulimit', { Name: string, Soft: int, Hard: int });
export type Ulimit = Decoded<typeof ulimit>;

/** What `POST /containers/{id}/update` may change, and part of HostConfig. */
export const resources = struct('Resources', {
  CpuShares: int,
  /** Bytes; 0 is unlimited. */
  Memory: int,
  NanoCpus: int,
  CgroupParent: string,
  BlkioWeight: uint16,
  BlkioWeightDevice: array(weightDevice),
  BlkioDeviceReadBps: array(throttleDevice),
  BlkioDeviceWriteBps: array(throttleDevice),
  BlkioDeviceReadIOps: array(throttleDevice),
  BlkioDeviceWriteIOps: array(throttleDevice),
  CpuPeriod: int,
  CpuQuota: int,
  CpuRealtimePeriod: int,
  CpuRealtimeRuntime: int,
  CpusetCpus: string,
  CpusetMems: string,
  Devices: array(deviceMapping),
  DeviceCgroupRules: nullable(array(string)),
  DeviceRequests: nullable(array(deviceRequest)),
  KernelMemory: int,
  KernelMemoryTCP: int,
  MemoryReservation: int,
  /** Memory + swap in bytes; -1 is unlimited, 0 means twice Memory. */
  MemorySwap: int,
  /** Null or -1: the host's. */
  MemorySwappiness: nullable(int),
  OomKillDisable: nullable(bool),
  /** Null, 0 and -1 are unlimited. */
  PidsLimit: nullable(int),
  Ulimits: nullable(array(ulimit)),
  CpuCount: int,
  CpuPercent: int,
  IOMaximumIOps: uint,
  IOMaximumBandwidth: uint,
});
export type Resources = Decoded<typeof resources>;

export const portBinding = struct('PortBinding', { HostIp: string, HostPort: string });
export type PortBinding = Decoded<typeof portBinding>;

export const mount = struct('Mount', {
  /** bind, volume, tmpfs, image. */
  Type: string,
  Source: string,
  Target: string,
  ReadOnly: bool,
  Consistency: string,
  BindOptions: nullable(
    struct('BindOptions', {
      Propagation: string,
      NonRecursive: bool,
      CreateMountpoint: bool,
      ReadOnlyNonRecursive: bool,
      ReadOnlyForceRecursive: bool,
    }),
  ),
  VolumeOptions: nullable(
    struct('VolumeOptions', {
      NoCopy: bool,
      Labels: map(string),
      DriverConfig: nullable(struct('Driver', { Name: string, Options: map(string) })),
      Subpath: string,
    }),
  ),
  ImageOptions: nullable(struct('ImageOptions', { Subpath: string })),
  TmpfsOptions: nullable(
    struct('TmpfsOptions', { SizeBytes: int, Mode: uint32, Options: array(array(string)) }),
  ),
});
export type Mount = Decoded<typeof mount>;

export const logConfig = struct('LogConfig', { Type: string, Config: map(string) });
export type LogConfig = Decoded<typeof logConfig>;

export const hostConfig = embed(
  resources,
  struct('HostConfig', {
    Binds: nullable(array(string)),
    ContainerIDFile: string,
    LogConfig: logConfig,
    /** '', default, bridge, host, none, container:ID, or a network's name or ID. */
    NetworkMode: string,
    /** Keys `80/tcp`; null or empty lists mean "a free port". */
    PortBindings: map(nullable(array(portBinding))),
    RestartPolicy: restartPolicy,
    AutoRemove: bool,
    VolumeDriver: string,
    VolumesFrom: nullable(array(string)),
    /** Rows, columns. */
    ConsoleSize: array(uint),
    Annotations: map(string),
    CapAdd: nullable(strings),
    CapDrop: nullable(strings),
    CgroupnsMode: string,
    Dns: nullable(array(string)),
    DnsOptions: nullable(array(string)),
    DnsSearch: nullable(array(string)),
    ExtraHosts: nullable(array(string)),
    GroupAdd: nullable(array(string)),
    IpcMode: string,
    Cgroup: string,
    Links: nullable(array(string)),
    OomScoreAdj: int,
    PidMode: string,
    Privileged: bool,
    PublishAllPorts: bool,
    ReadonlyRootfs: bool,
    SecurityOpt: nullable(array(string)),
    StorageOpt: nullable(map(string)),
    Tmpfs: nullable(map(string)),
    UTSMode: string,
    UsernsMode: string,
    /** Bytes; 0 is 64 MiB. */
    ShmSize: int,
    Sysctls: nullable(map(string)),
    Runtime: string,
    Isolation: string,
    Mounts: nullable(array(mount)),
    /** Null: the default list; empty: none. */
    MaskedPaths: nullable(array(string)),
    ReadonlyPaths: nullable(array(string)),
    /** Null: the daemon's default. */
    Init: nullable(bool),
    /** balenaEngine: the name of an environment variable that holds the container's ID. */
    ContainerIDEnv: string,
  }),
);
export type HostConfig = Decoded<typeof hostConfig>;

export const networkingConfig = struct('NetworkingConfig', {
  EndpointsConfig: map(nullable(endpointSettings)),
});
export type NetworkingConfig = Decoded<typeof networkingConfig>;

/** Body of `POST /containers/create`. */
export const createRequest = embed(
  containerConfig,
  struct('CreateRequest', { HostConfig: hostConfig, NetworkingConfig: networkingConfig }),
);
export type CreateRequest = Decoded<typeof createRequest>;

/** Body of `POST /containers/{id}/exec`. */
export const execConfig = struct('ExecConfig', {
  User: string,
  Privileged: bool,
  Tty: bool,
  ConsoleSize: nullable(array(int)),
  AttachStdin: bool,
  AttachStderr: bool,
  AttachStdout: bool,
  DetachKeys: string,
  Env: nullable(array(string)),
  WorkingDir: string,
  Cmd: strings,
});
export type ExecConfig = Decoded<typeof execConfig>;

/** Body of `POST /exec/{id}/start`. */
export const execStart = struct('ExecStartCheck', {
  Detach: bool,
  Tty: bool,
  ConsoleSize: nullable(array(int)),
});
export type ExecStart = Decoded<typeof execStart>;

/** Body of `POST /containers/{id}/update`. */
export const updateRequest = embed(
  resources,
  struct('UpdateConfig', { RestartPolicy: restartPolicy }),
);
export type UpdateRequest = Decoded<typeof updateRequest>;
