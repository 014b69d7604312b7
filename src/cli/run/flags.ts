import { parseSizeBinary } from '../../base/bytes.ts';
import type { Loose } from '../../client/client.ts';
import type { HostConfig, Mount } from '../../spec/docker/container.ts';
import {
  bool,
  duration,
  type Flag,
  type FlagValues,
  flag,
  integer,
  list,
  pairs,
  text,
  values,
} from '../flags.ts';
import { parseGpus } from './gpus.ts';
import { parseMountFlag } from './mounts.ts';
import { type NetworkWish, parseNetworkFlag } from './networks.ts';
import {
  checkAddHost,
  checkBlkioWeightDevice,
  checkDeviceCgroupRule,
  checkDnsSearch,
  checkEnv,
  checkIpAddress,
  checkLabel,
  checkLink,
  checkSysctl,
  parseNanoCpus,
  parseThrottle,
  parseUlimit,
} from './values.ts';

/** A size in bytes: `512m`. */
export function size(
  shorthand: string,
  usage: string,
  options: { readonly unlimited?: boolean; readonly hidden?: boolean } = {},
): Flag<number> {
  return flag(shorthand, usage, {
    type: 'bytes',
    initial: 0,
    hidden: options.hidden ?? false,
    parse: (value) => {
      if (options.unlimited === true && value === '-1') return -1;
      const bytes = parseSizeBinary(value);
      if (bytes === undefined) {
        // The words of go-units: a number with something else behind it has a wrong suffix.
        const suffix = /^(?:\d+\.?\d*|\.\d+) ?(\D+)$/.exec(value)?.[1];
        throw new Error(
          suffix === undefined
            ? `invalid size: '${value}'`
            : `invalid suffix: '${suffix.toLowerCase()}'`,
        );
      }
      return bytes;
    },
  });
}

/** `--cpus`: billionths of a CPU. */
export function cpus(): Flag<number> {
  return flag('', 'Number of CPUs', { type: 'decimal', initial: 0, parse: parseNanoCpus });
}

const STREAMS = ['stdin', 'stdout', 'stderr'];

function checkStream(value: string): string {
  const name = value.toLowerCase();
  if (!STREAMS.includes(name)) throw new Error('valid streams are STDIN, STDOUT and STDERR');
  return name;
}

const resources = {
  'blkio-weight': integer('', 'Share of block IO, 10 to 1000; 0 is none', {
    unsigned: { max: 65_535 },
    type: 'uint16',
    shownDefault: '0',
  }),
  'blkio-weight-device': values('', 'Share of block IO of one device (path:weight)', {
    shownDefault: '[]',
    item: checkBlkioWeightDevice,
  }),
  'cgroup-parent': text('', "Cgroup to put the container's cgroup in"),
  'cpu-count': integer('', 'CPU count (Windows only)', { hidden: true }),
  'cpu-percent': integer('', 'CPU percent (Windows only)', { hidden: true }),
  'cpu-period': integer('', 'Period of the CPU limit in microseconds'),
  'cpu-quota': integer('', 'CPU time in each period in microseconds'),
  'cpu-rt-period': integer('', 'Period of the real-time limit in microseconds'),
  'cpu-rt-runtime': integer('', 'Real-time CPU in each period in microseconds'),
  'cpu-shares': integer('c', 'Share of CPU time when CPUs are busy'),
  cpus: cpus(),
  'cpuset-cpus': text('', 'CPUs to run on (0-3, 0,1)'),
  'cpuset-mems': text('', 'Memory nodes to use (0-3, 0,1)'),
  device: list('', 'Host device to give to the container (host[:container][:rwm])'),
  'device-cgroup-rule': list('', 'Rule for devices ("c 42:* rmw")', {
    item: checkDeviceCgroupRule,
  }),
  'device-read-bps': values('', 'Limit of reads in bytes a second (device:rate)', {
    shownDefault: '[]',
    item: (value) => parseThrottle(value, 'bytes'),
  }),
  'device-read-iops': values('', 'Limit of reads a second (device:rate)', {
    shownDefault: '[]',
    item: (value) => parseThrottle(value, 'count'),
  }),
  'device-write-bps': values('', 'Limit of writes in bytes a second (device:rate)', {
    shownDefault: '[]',
    item: (value) => parseThrottle(value, 'bytes'),
  }),
  'device-write-iops': values('', 'Limit of writes a second (device:rate)', {
    shownDefault: '[]',
    item: (value) => parseThrottle(value, 'count'),
  }),
  gpus: flag('', "GPUs to give to the container ('all' for every one)", {
    type: 'gpu-request',
    initial: [] as readonly Loose<NonNullable<HostConfig['DeviceRequests']>[number]>[],
    parse: (value, before) => [...before, parseGpus(value)],
  }),
  'io-maxbandwidth': size('', 'IO bandwidth (Windows only)', { hidden: true }),
  'io-maxiops': integer('', 'IO operations (Windows only)', {
    hidden: true,
    unsigned: { max: 2 ** 53 },
  }),
  'kernel-memory': size('', 'Kernel memory limit'),
  memory: size('m', 'Memory limit'),
  'memory-reservation': size('', 'Memory that is kept when memory is short'),
  'memory-swap': size('', "Memory and swap together; '-1' for unlimited swap", { unlimited: true }),
  'memory-swappiness': integer('', 'How willingly memory is swapped (0 to 100)', { initial: -1 }),
  'oom-kill-disable': bool('', 'Let processes wait instead of killing them without memory'),
  'oom-score-adj': integer('', 'How early the kernel kills it without memory (-1000 to 1000)'),
  'pids-limit': integer('', 'Number of processes (-1 for unlimited)'),
  'shm-size': size('', 'Size of /dev/shm'),
  ulimit: values('', 'Resource limits (type=soft[:hard])', {
    type: 'ulimit',
    shownDefault: '[]',
    item: parseUlimit,
  }),
} as const;

const networking = {
  'add-host': list('', 'Host name and address for /etc/hosts (host:ip)', { item: checkAddHost }),
  dns: list('', 'DNS servers', { item: checkIpAddress }),
  'dns-opt': list('', 'Options of the resolver', { hidden: true }),
  'dns-option': list('', 'Options of the resolver'),
  'dns-search': list('', 'Domains to search for names', { item: checkDnsSearch }),
  domainname: text('', 'Domain name of the container'),
  expose: list('', 'Ports that the container listens on'),
  hostname: text('h', 'Host name of the container'),
  ip: text('', 'IPv4 address (e.g., 172.30.100.104)'),
  ip6: text('', 'IPv6 address (e.g., 2001:db8::33)'),
  link: list('', 'Another container to reach by name (container[:alias])', { item: checkLink }),
  'link-local-ip': list('', 'Link-local addresses'),
  'mac-address': text('', 'MAC address (e.g., 92:d0:c6:0a:29:33)'),
  net: flag<readonly NetworkWish[]>('', 'Network to connect to', {
    type: 'network',
    hidden: true,
    initial: [],
    parse: (value, before) => [...before, parseNetworkFlag(value)],
  }),
  'net-alias': list('', 'Name in the network', { hidden: true }),
  network: flag<readonly NetworkWish[]>('', 'Network to connect to', {
    type: 'network',
    initial: [],
    parse: (value, before) => [...before, parseNetworkFlag(value)],
  }),
  'network-alias': list('', 'Further name of the container in the network'),
  publish: list('p', 'Port to publish ([ip:][host:]container[/protocol])'),
  'publish-all': bool('P', 'Publish all exposed ports to free ports of the host'),
} as const;

const health = {
  'health-cmd': text('', 'Command that tells whether the container is healthy'),
  'health-interval': duration('', 'Time between two checks (ms|s|m|h)'),
  'health-retries': integer('', 'Failures in a row that make it unhealthy'),
  'health-start-interval': duration('', 'Time between two checks while it starts (ms|s|m|h)'),
  'health-start-period': duration('', 'Time to start in before failures count (ms|s|m|h)'),
  'health-timeout': duration('', 'Longest time of one check (ms|s|m|h)'),
  'no-healthcheck': bool('', "Do without the image's health check"),
} as const;

const storage = {
  mount: flag<readonly Loose<Mount>[]>('', 'Mount, as type=…,source=…,target=…', {
    type: 'mount',
    initial: [],
    parse: (value, before) => [...before, parseMountFlag(value)],
  }),
  'read-only': bool('', "Mount the container's root filesystem read-only"),
  'storage-opt': list('', 'Options of the storage driver'),
  tmpfs: list('', 'Folder in memory (path[:options])'),
  volume: list('v', 'Host folder or volume to mount ([source:]target[:options])'),
  'volume-driver': text('', 'Driver of volumes that are made'),
  'volumes-from': list('', 'Containers to take volumes from'),
} as const;

const isolation = {
  'cap-add': list('', 'Capabilities to add'),
  'cap-drop': list('', 'Capabilities to drop'),
  cgroupns: text('', "Cgroup namespace ('host' or 'private')"),
  'group-add': list('', 'Further groups of the process'),
  ipc: text('', 'IPC namespace'),
  isolation: text('', 'Technology of isolation'),
  pid: text('', 'PID namespace'),
  privileged: bool('', 'Give the container all privileges of the host'),
  runtime: text('', 'Runtime to run the container with'),
  'security-opt': list('', 'Security options'),
  sysctl: pairs('', 'Kernel parameters', { check: checkSysctl }),
  user: text('u', 'User name or ID (<name|uid>[:<group|gid>])'),
  userns: text('', 'User namespace'),
  uts: text('', 'UTS namespace'),
} as const;

const general = {
  annotation: pairs('', 'Annotation for the runtime'),
  attach: list('a', 'Stream to attach: STDIN, STDOUT or STDERR', { item: checkStream }),
  cidenv: text('', "Environment variable that holds the container's ID"),
  cidfile: text('', 'File to write the container ID to'),
  entrypoint: text('', "Command in place of the image's entrypoint"),
  env: list('e', 'Environment variables', { item: checkEnv }),
  'env-file': list('', 'Files of environment variables'),
  init: bool('', 'Run a process 1 that passes on signals and reaps processes'),
  interactive: bool('i', 'Keep standard input open'),
  label: list('l', 'Labels of the container', { item: checkLabel }),
  'label-file': list('', 'Files of labels'),
  'log-driver': text('', 'Where output is logged'),
  'log-opt': list('', 'Options of the log driver'),
  restart: text('', 'When to start it again after it exits', { initial: 'no' }),
  rm: bool('', 'Remove the container and its anonymous volumes when it exits'),
  'stop-signal': text('', 'Signal that stops the container'),
  'stop-timeout': integer('', 'Seconds to wait for it to stop before it is killed'),
  tty: bool('t', 'Give it a terminal'),
  workdir: text('w', 'Working directory in the container'),
} as const;

/** What `create` and `run` share: all that makes up the request. */
export const CONTAINER_FLAGS = {
  ...general,
  ...resources,
  ...networking,
  ...health,
  ...storage,
  ...isolation,
} as const;

/** What `create` and `run` share beside the request. */
export const MAKE_FLAGS = {
  'disable-content-trust': bool('', 'Skip image verification', { initial: true }),
  name: text('', 'Name of the container'),
  platform: text('', 'Platform of the image (os[/arch[/variant]])'),
  pull: text('', 'When to pull the image ("always", "missing", "never")', { initial: 'missing' }),
  quiet: bool('q', 'Show nothing of the pull'),
} as const;

export type ContainerFlags = FlagValues<typeof CONTAINER_FLAGS>;
