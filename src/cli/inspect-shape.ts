import { GoNil } from '../formats/gotemplate-print.ts';

/**
 * What templates see of an inspected thing. Docker's client runs templates on Go structs, where a
 * field that JSON leaves out or writes as null still has a type: `{{if .State.Health}}` is false,
 * `{{.Config.Entrypoint}}` prints `[]`. Here such fields are named with the type that they have.
 */
type Empty = 'slice' | 'map' | 'pointer' | 'string' | 'int' | 'bool';
type Shape = { readonly [key: string]: Empty | Shape };

const config: Shape = {
  ArgsEscaped: 'bool',
  Cmd: 'slice',
  Domainname: 'string',
  Entrypoint: 'slice',
  Env: 'slice',
  ExposedPorts: 'map',
  Healthcheck: 'pointer',
  Hostname: 'string',
  Labels: 'map',
  MacAddress: 'string',
  NetworkDisabled: 'bool',
  OnBuild: 'slice',
  Shell: 'slice',
  StopSignal: 'string',
  StopTimeout: 'pointer',
  User: 'string',
  Volumes: 'map',
  WorkingDir: 'string',
};

const hostConfig: Shape = {
  Annotations: 'map',
  Binds: 'slice',
  BlkioDeviceReadBps: 'slice',
  BlkioDeviceReadIOps: 'slice',
  BlkioDeviceWriteBps: 'slice',
  BlkioDeviceWriteIOps: 'slice',
  BlkioWeightDevice: 'slice',
  CapAdd: 'slice',
  CapDrop: 'slice',
  DeviceCgroupRules: 'slice',
  DeviceRequests: 'slice',
  Devices: 'slice',
  Dns: 'slice',
  DnsOptions: 'slice',
  DnsSearch: 'slice',
  ExtraHosts: 'slice',
  GroupAdd: 'slice',
  Init: 'pointer',
  KernelMemory: 'int',
  Links: 'slice',
  MaskedPaths: 'slice',
  MemorySwappiness: 'pointer',
  Mounts: 'slice',
  OomKillDisable: 'pointer',
  PidsLimit: 'pointer',
  PortBindings: 'map',
  ReadonlyPaths: 'slice',
  Runtime: 'string',
  SecurityOpt: 'slice',
  StorageOpt: 'map',
  Sysctls: 'map',
  Tmpfs: 'map',
  Ulimits: 'slice',
  VolumesFrom: 'slice',
  LogConfig: { Config: 'map' },
};

/** Containers, images, networks and volumes together: their fields do not contradict each other. */
const INSPECTED: Shape = {
  AppArmorProfile: 'string',
  Args: 'slice',
  Author: 'string',
  Comment: 'string',
  Config: config,
  ConfigFrom: { Network: 'string' },
  Container: 'string',
  ContainerConfig: 'pointer',
  Containers: 'map',
  Created: 'string',
  Descriptor: 'pointer',
  ExecIDs: 'slice',
  HostConfig: hostConfig,
  ImageManifestDescriptor: 'pointer',
  IPAM: { Config: 'slice', Options: 'map' },
  Labels: 'map',
  Manifests: 'slice',
  Mounts: 'slice',
  NetworkSettings: { Networks: 'map', Ports: 'map' },
  Options: 'map',
  Parent: 'string',
  RepoDigests: 'slice',
  RepoTags: 'slice',
  RootFS: { Layers: 'slice' },
  SizeRootFs: 'pointer',
  SizeRw: 'pointer',
  State: { Health: 'pointer' },
  Status: 'map',
  UsageData: 'pointer',
  Variant: 'string',
  VirtualSize: 'int',
};

function emptyOf(kind: Empty): unknown {
  if (kind === 'string') return '';
  if (kind === 'int') return 0;
  return kind === 'bool' ? false : new GoNil(kind);
}

function viewOf(value: object, shape: Shape): object {
  const view: Record<string, unknown> = { ...value };
  for (const [key, kind] of Object.entries(shape)) {
    const given = view[key];
    if (typeof kind === 'object') {
      if (typeof given === 'object' && given !== null) view[key] = viewOf(given, kind);
    } else if (given === null) {
      view[key] = emptyOf(kind);
    } else if (given === undefined) {
      // Not enumerable: `json` must not show what the daemon did not send.
      Object.defineProperty(view, key, { enumerable: false, value: emptyOf(kind) });
    }
  }
  return view;
}

/** The thing with what Go would find in the fields that are missing or null. */
export function templateView(value: object): object {
  // Fields of another kind of thing must stay unknown: only those of a thing that has such.
  const shape = Object.fromEntries(
    Object.entries(INSPECTED).filter(
      ([key, kind]) => typeof kind === 'object' || belongs(value, key),
    ),
  );
  return viewOf(value, shape);
}

const OPTIONAL_OF: readonly (readonly [mark: string, keys: readonly string[]])[] = [
  [
    'HostConfig',
    [
      'ExecIDs',
      'ImageManifestDescriptor',
      'Mounts',
      'SizeRootFs',
      'SizeRw',
      'AppArmorProfile',
      'Args',
    ],
  ],
  [
    'RootFS',
    [
      'Author',
      'Comment',
      'Container',
      'ContainerConfig',
      'Descriptor',
      'Manifests',
      'Parent',
      'RepoDigests',
      'RepoTags',
      'Variant',
      'VirtualSize',
      'Created',
    ],
  ],
  ['Mountpoint', ['Labels', 'Options', 'Status', 'UsageData']],
  ['IPAM', ['Containers', 'Labels', 'Options']],
];

function belongs(value: object, key: string): boolean {
  if (Object.hasOwn(value, key)) return true;
  return OPTIONAL_OF.some(([mark, keys]) => Object.hasOwn(value, mark) && keys.includes(key));
}
