import path from 'node:path';
import type { containerEndpoints } from '../../api/contract/container.ts';
import { invalidArgument } from '../../base/errors.ts';
import type { InputOf, Loose } from '../../client/client.ts';
import type { HealthConfig, HostConfig, RestartPolicy } from '../../spec/docker/container.ts';
import { envOf, labelsOf, type RunFiles, seccompFile } from './files.ts';
import type { ContainerFlags } from './flags.ts';
import { splitVolume } from './mounts.ts';
import { networkingOf } from './networks.ts';
import { parsePorts } from './ports.ts';

/** The body of `POST /containers/create`. */
export type CreateBody = NonNullable<
  InputOf<(typeof containerEndpoints)['containerCreate']>['body']
>;

/** What a command line says, with all that it refers to. */
export type RunInput = {
  readonly flags: ContainerFlags;
  readonly given: (name: keyof ContainerFlags) => boolean;
  /** The image, and the command with its arguments. */
  readonly args: readonly string[];
  readonly files: RunFiles;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
};

/**
 * The request that a `create` or `run` command line means. Pure: files were read before.
 * @throws invalidArgument with Docker's texts
 */
export function createBodyOf(input: RunInput): CreateBody {
  const { flags, given } = input;
  const [image = '', ...command] = input.args;
  checkFlags(input);
  const volumes = volumesOf(flags.volume, input.cwd);
  const ports = parsePorts(flags.publish, flags.expose);
  const networking = networkingOf({
    networks: [...flags.network, ...flags.net],
    aliases: [...flags['network-alias'], ...flags['net-alias']],
    links: flags.link,
    ip: flags.ip,
    ip6: flags.ip6,
    linkLocalIps: flags['link-local-ip'],
    macAddress: flags['mac-address'],
  });
  const attachAll = flags.attach.length === 0;
  const attachStdin = flags.attach.includes('stdin') || (attachAll && flags.interactive);
  return {
    Hostname: flags.hostname,
    Domainname: flags.domainname,
    User: flags.user,
    AttachStdin: attachStdin,
    AttachStdout: attachAll || flags.attach.includes('stdout'),
    AttachStderr: attachAll || flags.attach.includes('stderr'),
    ExposedPorts: ports.exposed,
    Tty: flags.tty,
    OpenStdin: flags.interactive,
    StdinOnce: flags.interactive && attachStdin,
    Env: envOf(flags['env-file'], flags.env, input.files, input.env),
    Cmd: command.length > 0 ? command : null,
    Healthcheck: healthOf(flags, given),
    Image: image,
    Volumes: Object.fromEntries(volumes.anonymous.map((target) => [target, {}])),
    WorkingDir: flags.workdir,
    Entrypoint: given('entrypoint') ? [flags.entrypoint] : null,
    Labels: labelsOf(flags['label-file'], flags.label, input.files, input.env),
    ...(flags['stop-signal'] === '' ? {} : { StopSignal: flags['stop-signal'] }),
    ...(given('stop-timeout') ? { StopTimeout: flags['stop-timeout'] } : {}),
    HostConfig: hostConfigOf(input, volumes.binds, ports.bindings, networking.mode),
    NetworkingConfig: { EndpointsConfig: networking.endpoints },
  };
}

function checkFlags({ flags, given }: RunInput): void {
  const mac = flags['mac-address'];
  if (mac !== '' && !/^(?:[0-9a-fA-F]{2}([:-]))(?:[0-9a-fA-F]{2}\1){4}[0-9a-fA-F]{2}$/.test(mac)) {
    throw invalidArgument(`${mac} is not a valid mac address`);
  }
  const swappiness = flags['memory-swappiness'];
  if (swappiness !== -1 && (swappiness < 0 || swappiness > 100)) {
    throw invalidArgument(`invalid value: ${swappiness}. Valid memory swappiness range is 0-100`);
  }
  checkNamespace('pid', flags.pid, ['', 'host'], 'PID');
  checkNamespace('uts', flags.uts, ['', 'host'], 'UTS');
  checkNamespace('userns', flags.userns, ['', 'host'], 'USER');
  checkNamespace('cgroupns', flags.cgroupns, ['', 'host', 'private'], 'CGROUP');
  if (
    given('rm') &&
    flags.rm &&
    restartPolicyOf(flags.restart).Name !== 'no' &&
    restartPolicyOf(flags.restart).Name !== ''
  ) {
    throw invalidArgument('conflicting options: cannot specify both --restart and --rm');
  }
}

function checkNamespace(
  flag: string,
  value: string,
  modes: readonly string[],
  title: string,
): void {
  if (modes.includes(value)) return;
  if (flag === 'pid' && /^container:.+/.test(value)) return;
  throw invalidArgument(`--${flag}: invalid ${title} mode`);
}

/** `no`, `always`, `unless-stopped`, `on-failure[:count]`. @throws invalidArgument */
export function restartPolicyOf(text: string): RestartPolicy {
  if (text === '') return { Name: '', MaximumRetryCount: 0 };
  const [name = '', count] = [
    text.split(':', 1)[0],
    text.includes(':') ? text.slice(text.indexOf(':') + 1) : undefined,
  ];
  if (name === '')
    throw invalidArgument('invalid restart policy format: no policy provided before colon');
  if (count !== undefined && !/^[+-]?\d+$/.test(count)) {
    throw invalidArgument('invalid restart policy format: maximum retry count must be an integer');
  }
  return { Name: name, MaximumRetryCount: count === undefined ? 0 : Number(count) };
}

function hostConfigOf(
  input: RunInput,
  binds: readonly string[],
  bindings: NonNullable<CreateBody['HostConfig']>['PortBindings'],
  networkMode: string,
): Loose<HostConfig> {
  const { flags, given } = input;
  const capabilities = capabilitiesOf(flags['cap-add'], flags['cap-drop']);
  const security = securityOf(flags['security-opt'], input.files);
  return {
    ...resourcesOf(input),
    Binds: binds.length > 0 ? binds : null,
    ContainerIDFile: flags.cidfile,
    ...(flags.cidenv === '' ? {} : { ContainerIDEnv: flags.cidenv }),
    LogConfig: { Type: flags['log-driver'], Config: logOptionsOf(flags) },
    NetworkMode: networkMode,
    PortBindings: bindings,
    RestartPolicy: restartPolicyOf(flags.restart),
    AutoRemove: flags.rm,
    VolumeDriver: flags['volume-driver'],
    VolumesFrom: orNull(flags['volumes-from']),
    ...(Object.keys(flags.annotation).length > 0 ? { Annotations: flags.annotation } : {}),
    CapAdd: orNull(capabilities.add),
    CapDrop: orNull(capabilities.drop),
    CgroupnsMode: flags.cgroupns,
    ConsoleSize: [0, 0],
    Dns: flags.dns,
    DnsOptions: [...flags['dns-option'], ...flags['dns-opt']],
    DnsSearch: flags['dns-search'],
    ExtraHosts: orNull(flags['add-host']),
    GroupAdd: orNull(flags['group-add']),
    IpcMode: flags.ipc,
    Links: orNull(flags.link),
    OomScoreAdj: flags['oom-score-adj'],
    PidMode: flags.pid,
    Privileged: flags.privileged,
    PublishAllPorts: flags['publish-all'],
    ReadonlyRootfs: flags['read-only'],
    SecurityOpt: flags['security-opt'].length > 0 ? security.options : null,
    ...(flags['storage-opt'].length > 0 ? { StorageOpt: storageOf(flags['storage-opt']) } : {}),
    ...(flags.tmpfs.length > 0 ? { Tmpfs: tmpfsOf(flags.tmpfs) } : {}),
    UTSMode: flags.uts,
    UsernsMode: flags.userns,
    ShmSize: flags['shm-size'],
    ...(Object.keys(flags.sysctl).length > 0 ? { Sysctls: flags.sysctl } : {}),
    ...(flags.runtime === '' ? {} : { Runtime: flags.runtime }),
    Isolation: flags.isolation,
    ...(flags.mount.length > 0 ? { Mounts: flags.mount } : {}),
    ...(security.systemPaths ? { MaskedPaths: [], ReadonlyPaths: [] } : {}),
    ...(given('init') ? { Init: flags.init } : {}),
  };
}

/** Go's nil slice. */
function orNull<T>(values: readonly T[]): readonly T[] | null {
  return values.length > 0 ? values : null;
}

function resourcesOf({ flags }: RunInput): Loose<HostConfig> {
  return {
    CgroupParent: flags['cgroup-parent'],
    Memory: flags.memory,
    MemoryReservation: flags['memory-reservation'],
    MemorySwap: flags['memory-swap'],
    MemorySwappiness: flags['memory-swappiness'],
    KernelMemory: flags['kernel-memory'],
    OomKillDisable: flags['oom-kill-disable'],
    NanoCpus: flags.cpus,
    CpuCount: flags['cpu-count'],
    CpuPercent: flags['cpu-percent'],
    CpuShares: flags['cpu-shares'],
    CpuPeriod: flags['cpu-period'],
    CpuQuota: flags['cpu-quota'],
    CpuRealtimePeriod: flags['cpu-rt-period'],
    CpuRealtimeRuntime: flags['cpu-rt-runtime'],
    CpusetCpus: flags['cpuset-cpus'],
    CpusetMems: flags['cpuset-mems'],
    PidsLimit: flags['pids-limit'],
    BlkioWeight: flags['blkio-weight'],
    BlkioWeightDevice: flags['blkio-weight-device'],
    BlkioDeviceReadBps: flags['device-read-bps'],
    BlkioDeviceWriteBps: flags['device-write-bps'],
    BlkioDeviceReadIOps: flags['device-read-iops'],
    BlkioDeviceWriteIOps: flags['device-write-iops'],
    IOMaximumIOps: flags['io-maxiops'],
    IOMaximumBandwidth: flags['io-maxbandwidth'],
    Ulimits: ulimitsOf(flags.ulimit),
    DeviceCgroupRules: orNull(flags['device-cgroup-rule']),
    Devices: flags.device.map(deviceOf),
    DeviceRequests: orNull(flags.gpus),
  };
}

/** Of a type given twice the last counts. */
function ulimitsOf(ulimits: ContainerFlags['ulimit']): ContainerFlags['ulimit'] {
  return [...new Map(ulimits.map((each) => [each.Name, each])).values()].toSorted((a, b) =>
    a.Name < b.Name ? -1 : 1,
  );
}

/** `host[:container][:rwm]`. @throws invalidArgument */
function deviceOf(value: string): HostConfig['Devices'][number] {
  const parts = value.split(':');
  const [host = '', second = host, third] = parts;
  const isMode = (text: string): boolean =>
    /^[rwm]{1,3}$/.test(text) && new Set(text).size === text.length;
  if (value === '' || parts.length > 3) throw invalidArgument(`bad format for path: ${value}`);
  if (parts.length === 2 && isMode(second)) {
    return { PathOnHost: host, PathInContainer: host, CgroupPermissions: second };
  }
  if (third !== undefined && !isMode(third)) {
    throw invalidArgument(`bad mode specified: ${third}`);
  }
  return {
    PathOnHost: host,
    PathInContainer: second === '' ? host : second,
    CgroupPermissions: third ?? 'rwm',
  };
}

/**
 * Capabilities by their full names, sorted; what is added is not dropped.
 * Source: `ALL` and names with and without `CAP_` as Docker takes them.
 */
function capabilitiesOf(
  add: readonly string[],
  drop: readonly string[],
): { readonly add: readonly string[]; readonly drop: readonly string[] } {
  const normal = (name: string): string => {
    const upper = name.trim().toUpperCase();
    return upper === 'ALL' || upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
  };
  const added = new Set(add.map(normal));
  const dropped = new Set(drop.map(normal).filter((name) => added.has('ALL') || !added.has(name)));
  return { add: [...added].toSorted(), drop: [...dropped].toSorted() };
}

/** `-v` as binds and anonymous volumes; a path from where one stands is made absolute. */
function volumesOf(
  volumes: readonly string[],
  cwd: string,
): { readonly binds: string[]; readonly anonymous: string[] } {
  const binds: string[] = [];
  const anonymous: string[] = [];
  for (const value of new Set(volumes)) {
    const { source, target, rest } = splitVolume(value);
    if (rest.length > 1) throw invalidArgument(`invalid spec: ${value}: too many colons`);
    if (value.includes(':') && (source === '' || target === '' || rest.includes(''))) {
      throw invalidArgument(`invalid spec: ${value}: empty section between colons`);
    }
    if (source === '') anonymous.push(target);
    else if (/^(?:\.{1,2}$|\.{1,2}\/)/.test(source)) {
      binds.push([path.resolve(cwd, source), target, ...rest].join(':'));
    } else binds.push(value);
  }
  return { binds, anonymous };
}

function tmpfsOf(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => {
      const colon = value.indexOf(':');
      return colon < 0 ? [value, ''] : [value.slice(0, colon), value.slice(colon + 1)];
    }),
  );
}

function storageOf(values: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    values.map((value) => {
      const at = value.indexOf('=');
      if (at < 0) throw invalidArgument('invalid storage option');
      return [value.slice(0, at), value.slice(at + 1)];
    }),
  );
}

function logOptionsOf(flags: ContainerFlags): Record<string, string> {
  if (flags['log-driver'] === 'none' && flags['log-opt'].length > 0) {
    throw invalidArgument('invalid logging opts for driver none');
  }
  return Object.fromEntries(
    flags['log-opt'].map((value) => {
      const at = value.indexOf('=');
      return at < 0 ? [value, ''] : [value.slice(0, at), value.slice(at + 1)];
    }),
  );
}

const SECURITY_KEYS = /^[^=:]+[=:].+$/s;

/** Puts seccomp profiles in place of their files' names. @throws invalidArgument */
function securityOf(
  given: readonly string[],
  files: RunFiles,
): { readonly options: readonly string[]; readonly systemPaths: boolean } {
  const options: string[] = [];
  let systemPaths = false;
  for (const option of given) {
    if (option === 'systempaths=unconfined') {
      systemPaths = true;
      continue;
    }
    if (!SECURITY_KEYS.test(option) && option !== 'no-new-privileges') {
      throw invalidArgument(`Invalid --security-opt: ${JSON.stringify(option)}`);
    }
    const file = seccompFile(option);
    if (file === undefined) {
      options.push(option);
      continue;
    }
    options.push(`seccomp=${compactJson(file, files.get(file) ?? '')}`);
  }
  return { options, systemPaths };
}

function compactJson(file: string, text: string): string {
  try {
    return JSON.stringify(JSON.parse(text));
  } catch (cause) {
    throw invalidArgument(`compacting json for seccomp profile (${file}) failed: not JSON`, {
      cause,
    });
  }
}

const HEALTH_FLAGS = [
  'health-cmd',
  'health-interval',
  'health-retries',
  'health-start-interval',
  'health-start-period',
  'health-timeout',
] as const;

function healthOf(flags: ContainerFlags, given: RunInput['given']): Loose<HealthConfig> | null {
  const used = HEALTH_FLAGS.some((name) => flags[name] !== '' && flags[name] !== 0);
  if (flags['no-healthcheck']) {
    if (used) throw invalidArgument('--no-healthcheck conflicts with --health-* options');
    return { Test: ['NONE'] };
  }
  if (!used) return null;
  for (const name of HEALTH_FLAGS) {
    const value = flags[name];
    if (given(name) && typeof value === 'number' && value < 0) {
      throw invalidArgument(`--${name} cannot be negative`);
    }
  }
  return {
    ...(flags['health-cmd'] === '' ? {} : { Test: ['CMD-SHELL', flags['health-cmd']] }),
    Interval: flags['health-interval'],
    Timeout: flags['health-timeout'],
    StartPeriod: flags['health-start-period'],
    StartInterval: flags['health-start-interval'],
    Retries: flags['health-retries'],
  };
}
