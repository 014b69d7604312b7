import { invalidArgument } from '../base/errors.ts';
import type { CgroupAbilities } from '../spec/cgroup-abilities.ts';
import type { Resources } from '../spec/docker/container.ts';
import type { RuntimeResources } from '../spec/oci/runtime.ts';
import { expandIdSet } from './id-set.ts';

/**
 * Cgroup limits: which the host can keep, which make sense, and how the runtime is told. Rules and
 * texts: moby `daemon/daemon_unix.go`, verifyPlatformContainerResources.
 */

export type ResourceFacts = {
  readonly abilities: CgroupAbilities;
  readonly cpus: number;
  /** As the kernel lists them: `0-3`, `0`. */
  readonly onlineCpus: string;
  readonly onlineMems: string;
};

const MEMORY_MIN = 6 << 20;
/** What the kernel takes as `pids.max`: all process IDs that there can be (PID_MAX_LIMIT). */
const PIDS_MAX = 4_194_304;
/** The longest CPU time in a period, in microseconds (kernel/sched, MAX_BW). */
const CPU_QUOTA_MAX_US = 2 ** 44 - 1;
/** The kernel counts real-time periods in nanoseconds of 64 bits. */
const CPU_REALTIME_MAX_US = 2 ** 53;
const CPU_REALTIME_PERIOD_US = 1_000_000;
/** Twice as much memory would be more than 64 bits count. */
const MEMORY_DOUBLED_MAX = 2 ** 61;

/** Memory and swap of one that says only how much memory: Docker gives as much swap as memory. */
export function defaultMemorySwap(memoryBytes: number): number {
  return memoryBytes > MEMORY_DOUBLED_MAX ? -1 : memoryBytes * 2;
}

type Checked = { resources: Resources; warnings: string[] };

/**
 * Checks limits. Returns them without what the host cannot keep, with a warning for each of these.
 * @param before the limits in force, for an update
 * @throws invalidArgument with Docker's texts
 */
export function checkResources(wish: Resources, facts: ResourceFacts): Checked {
  let resources = pickResources(wish);
  const warnings: string[] = [];
  const drop = (fields: Partial<Resources>, text: string): void => {
    resources = { ...resources, ...fields };
    warnings.push(text);
  };
  dropMemory(resources, facts.abilities, drop);
  dropOthers(resources, facts.abilities, drop);
  checkMemory(resources, warnings);
  checkCpu(resources, facts);
  checkCpusets(resources, facts);
  checkBlkio(resources);
  if ((resources.PidsLimit ?? 0) > PIDS_MAX) {
    throw invalidArgument(
      `invalid PIDs limit: ${resources.PidsLimit}: the most is ${PIDS_MAX}, -1 is unlimited`,
    );
  }
  return { resources, warnings };
}

/** The fields of Resources of an object that has more. */
function pickResources(from: Resources): Resources {
  const keys = [
    'CpuShares',
    'Memory',
    'NanoCpus',
    'CgroupParent',
    'BlkioWeight',
    'BlkioWeightDevice',
    'BlkioDeviceReadBps',
    'BlkioDeviceWriteBps',
    'BlkioDeviceReadIOps',
    'BlkioDeviceWriteIOps',
    'CpuPeriod',
    'CpuQuota',
    'CpuRealtimePeriod',
    'CpuRealtimeRuntime',
    'CpusetCpus',
    'CpusetMems',
    'Devices',
    'DeviceCgroupRules',
    'DeviceRequests',
    'KernelMemory',
    'KernelMemoryTCP',
    'MemoryReservation',
    'MemorySwap',
    'MemorySwappiness',
    'OomKillDisable',
    'PidsLimit',
    'Ulimits',
    'CpuCount',
    'CpuPercent',
    'IOMaximumIOps',
    'IOMaximumBandwidth',
  ] as const satisfies readonly (keyof Resources)[];
  return Object.fromEntries(keys.map((key) => [key, from[key]])) as Resources;
}

type Drop = (fields: Partial<Resources>, text: string) => void;
const NOT_MOUNTED = 'or the cgroup is not mounted.';

function dropMemory(r: Resources, can: CgroupAbilities, drop: Drop): void {
  if (r.Memory > 0 && !can.memory) {
    drop(
      { Memory: 0, MemorySwap: -1 },
      `Your kernel does not support memory limit capabilities ${NOT_MOUNTED} Limitation discarded.`,
    );
  } else if (r.Memory > 0 && r.MemorySwap !== -1 && !can.swap) {
    drop(
      { MemorySwap: -1 },
      `Your kernel does not support swap limit capabilities ${NOT_MOUNTED} Memory limited without swap.`,
    );
  }
  if (r.MemorySwappiness !== null && r.MemorySwappiness !== -1 && !can.swappiness) {
    drop(
      { MemorySwappiness: null },
      `Your kernel does not support memory swappiness capabilities ${NOT_MOUNTED} Memory swappiness discarded.`,
    );
  }
  if (r.MemoryReservation > 0 && !can.reservation) {
    drop(
      { MemoryReservation: 0 },
      `Your kernel does not support memory soft limit capabilities ${NOT_MOUNTED} Limitation discarded.`,
    );
  }
  if (r.OomKillDisable === true && !can.oomKillDisable) {
    drop(
      { OomKillDisable: null },
      'Your kernel does not support OomKillDisable. OomKillDisable discarded.',
    );
  }
  if (r.KernelMemoryTCP !== 0 && !can.kernelTcp) {
    drop(
      { KernelMemoryTCP: 0 },
      `Your kernel does not support kernel memory TCP limit capabilities ${NOT_MOUNTED} Limitation discarded.`,
    );
  }
  if (r.KernelMemory !== 0) {
    drop(
      { KernelMemory: 0 },
      'Kernel memory limits are deprecated by the kernel. Limitation discarded.',
    );
  }
}

function dropOthers(r: Resources, can: CgroupAbilities, drop: Drop): void {
  const without = (what: string): string => `Your kernel does not support ${what} ${NOT_MOUNTED}`;
  if ((r.PidsLimit ?? 0) > 0 && !can.pids) {
    drop({ PidsLimit: null }, `${without('PIDs limit capabilities')} PIDs limit discarded.`);
  }
  if (r.CpuShares > 0 && !can.cpuShares) {
    drop({ CpuShares: 0 }, `${without('CPU shares')} Shares discarded.`);
  }
  if ((r.CpuPeriod > 0 || r.CpuQuota > 0) && !can.cpuQuota) {
    drop({ CpuPeriod: 0, CpuQuota: 0 }, `${without('CPU CFS scheduler')} CPU quota discarded.`);
  }
  if ((r.CpusetCpus !== '' || r.CpusetMems !== '') && !can.cpuset) {
    drop({ CpusetCpus: '', CpusetMems: '' }, `${without('cpuset')} Cpuset discarded.`);
  }
  if (r.BlkioWeight > 0 && !can.blkioWeight) {
    drop({ BlkioWeight: 0 }, `${without('Block I/O weight')} Weight discarded.`);
  }
  if (r.BlkioWeightDevice.length > 0 && !can.blkioWeight) {
    drop(
      { BlkioWeightDevice: [] },
      `${without('Block I/O weight_device')} Weight-device discarded.`,
    );
  }
  for (const [field, what] of [
    ['BlkioDeviceReadBps', 'BPS Block I/O read limit'],
    ['BlkioDeviceWriteBps', 'BPS Block I/O write limit'],
    ['BlkioDeviceReadIOps', 'IOPS Block read limit'],
    ['BlkioDeviceWriteIOps', 'IOPS Block write limit'],
  ] as const) {
    if (r[field].length > 0 && !can.blkioThrottle) {
      drop({ [field]: [] }, `${without(what)} Limit discarded.`);
    }
  }
}

function checkMemory(r: Resources, warnings: string[]): void {
  if (r.Memory < 0 || (r.Memory !== 0 && r.Memory < MEMORY_MIN)) {
    throw invalidArgument('Minimum memory limit allowed is 6MB');
  }
  if (r.Memory > 0 && r.MemorySwap > 0 && r.MemorySwap < r.Memory) {
    throw invalidArgument('Minimum memoryswap limit should be larger than memory limit, see usage');
  }
  if (r.Memory === 0 && r.MemorySwap > 0) {
    throw invalidArgument(
      'You should always set the Memory limit when using Memoryswap limit, see usage',
    );
  }
  if (r.KernelMemoryTCP < -1) {
    throw invalidArgument(`invalid kernel memory TCP limit: ${r.KernelMemoryTCP}`);
  }
  if (r.MemorySwap < -1) {
    throw invalidArgument(`Invalid value: ${r.MemorySwap}, valid memory swap is -1 or more`);
  }
  const swappiness = r.MemorySwappiness;
  if (swappiness !== null && swappiness !== -1 && (swappiness < 0 || swappiness > 100)) {
    throw invalidArgument(`Invalid value: ${swappiness}, valid memory swappiness range is 0-100`);
  }
  if (r.MemoryReservation < 0 || (r.MemoryReservation > 0 && r.MemoryReservation < MEMORY_MIN)) {
    throw invalidArgument('Minimum memory reservation allowed is 6MB');
  }
  if (r.Memory > 0 && r.Memory < r.MemoryReservation) {
    throw invalidArgument(
      'Minimum memory limit can not be less than memory reservation limit, see usage',
    );
  }
  if (r.OomKillDisable === true && r.Memory === 0) {
    warnings.push(
      'OOM killer is disabled for the container, but no memory limit is set, this can result in the system running out of resources.',
    );
  }
}

function checkCpu(r: Resources, facts: ResourceFacts): void {
  if (r.NanoCpus > 0 && r.CpuPeriod > 0) {
    throw invalidArgument('Conflicting options: Nano CPUs and CPU Period cannot both be set');
  }
  if (r.NanoCpus > 0 && r.CpuQuota > 0) {
    throw invalidArgument('Conflicting options: Nano CPUs and CPU Quota cannot both be set');
  }
  if (r.NanoCpus > 0 && !facts.abilities.cpuQuota) {
    throw invalidArgument(
      'NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the cgroup is not mounted',
    );
  }
  if (r.NanoCpus < 0 || r.NanoCpus > facts.cpus * 1e9) {
    throw invalidArgument(
      `range of CPUs is from 0.01 to ${facts.cpus}.00, as there are only ${facts.cpus} CPUs available`,
    );
  }
  if ((r.CpuRealtimePeriod !== 0 || r.CpuRealtimeRuntime !== 0) && !facts.abilities.cpuRealtime) {
    throw invalidArgument('Your kernel does not support CPU real-time scheduler');
  }
  for (const [what, us] of [
    ['period', r.CpuRealtimePeriod],
    ['runtime', r.CpuRealtimeRuntime],
  ] as const) {
    if (us < 0 || us > CPU_REALTIME_MAX_US) {
      throw invalidArgument(`invalid cpu real-time ${what}: ${us} microseconds`);
    }
  }
  if (r.CpuRealtimeRuntime > (r.CpuRealtimePeriod || CPU_REALTIME_PERIOD_US)) {
    throw invalidArgument('cpu real-time runtime cannot be higher than cpu real-time period');
  }
  if (r.CpuShares < 0) throw invalidArgument(`invalid CPU shares: ${r.CpuShares}`);
  if (r.CpuPeriod !== 0 && (r.CpuPeriod < 1000 || r.CpuPeriod > 1_000_000)) {
    throw invalidArgument(
      'CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)',
    );
  }
  if (r.CpuQuota > 0 && r.CpuQuota < 1000) {
    throw invalidArgument('CPU cfs quota can not be less than 1ms (i.e. 1000)');
  }
  if (r.CpuQuota > CPU_QUOTA_MAX_US) {
    throw invalidArgument(`CPU cfs quota can not be more than ${CPU_QUOTA_MAX_US} microseconds`);
  }
  if (r.CpuPercent !== 0) {
    throw invalidArgument('Invalid QoS settings: linux does not support CPU percent');
  }
  if (r.CpuCount < 0) throw invalidArgument(`invalid CPU count: ${r.CpuCount}`);
}

function checkCpusets(r: Resources, facts: ResourceFacts): void {
  const check = (text: string, online: string, what: string, subject: string): void => {
    if (text === '') return;
    const wanted = expandIdSet(text);
    if (wanted === undefined) throw invalidArgument(`Invalid value ${text} for cpuset ${what}`);
    const there = expandIdSet(online) ?? new Set<number>();
    if (![...wanted].every((each) => there.has(each))) {
      throw invalidArgument(
        `Requested ${subject} are not available - requested ${text}, available: ${online}`,
      );
    }
  };
  check(r.CpusetCpus, facts.onlineCpus, 'cpus', 'CPUs');
  check(r.CpusetMems, facts.onlineMems, 'mems', 'memory nodes');
}

function checkBlkio(r: Resources): void {
  const isWeight = (weight: number): boolean => weight === 0 || (weight >= 10 && weight <= 1000);
  if (!isWeight(r.BlkioWeight) || r.BlkioWeightDevice.some((each) => !isWeight(each.Weight))) {
    throw invalidArgument('Range of blkio weight is from 10 to 1000');
  }
  if (r.IOMaximumBandwidth !== 0) {
    throw invalidArgument('Invalid QoS settings: linux does not support Maximum IO Bandwidth');
  }
  if (r.IOMaximumIOps !== 0) {
    throw invalidArgument('Invalid QoS settings: linux does not support Maximum IO IOps');
  }
}

/** A block device's numbers, found by its path on the host. */
export type BlockDevice = { readonly major: number; readonly minor: number };

const CPU_PERIOD_US = 100_000;

/** The limits as the runtime takes them, without device rules. `deviceAt` throws for a path that is no block device. */
export function runtimeResources(
  r: Resources,
  deviceAt: (path: string) => BlockDevice,
): Omit<RuntimeResources, 'devices'> {
  const throttles = (list: readonly { Path: string; Rate: number }[]) =>
    list.map(({ Path, Rate }) => ({ ...deviceAt(Path), rate: Rate }));
  const memory = compact<NonNullable<RuntimeResources['memory']>>({
    limit: r.Memory || undefined,
    reservation: r.MemoryReservation || undefined,
    swap: r.Memory > 0 ? r.MemorySwap || defaultMemorySwap(r.Memory) : undefined,
    swappiness:
      r.MemorySwappiness === null || r.MemorySwappiness === -1 ? undefined : r.MemorySwappiness,
    disableOOMKiller: r.OomKillDisable === true ? true : undefined,
    kernelTCP: r.KernelMemoryTCP || undefined,
  });
  const hasNano = r.NanoCpus > 0;
  // A negative one is none.
  const cpuQuota = r.CpuQuota > 0 ? r.CpuQuota : undefined;
  const cpu = compact<NonNullable<RuntimeResources['cpu']>>({
    shares: r.CpuShares || undefined,
    period: hasNano ? CPU_PERIOD_US : r.CpuPeriod || undefined,
    quota: hasNano ? Math.trunc((r.NanoCpus * CPU_PERIOD_US) / 1e9) : cpuQuota,
    realtimePeriod: r.CpuRealtimePeriod || undefined,
    realtimeRuntime: r.CpuRealtimeRuntime || undefined,
    cpus: r.CpusetCpus || undefined,
    mems: r.CpusetMems || undefined,
  });
  const blockIO = compact<NonNullable<RuntimeResources['blockIO']>>({
    weight: r.BlkioWeight || undefined,
    weightDevice: orUndefined(
      r.BlkioWeightDevice.map(({ Path, Weight }) => ({ ...deviceAt(Path), weight: Weight })),
    ),
    throttleReadBpsDevice: orUndefined(throttles(r.BlkioDeviceReadBps)),
    throttleWriteBpsDevice: orUndefined(throttles(r.BlkioDeviceWriteBps)),
    throttleReadIOPSDevice: orUndefined(throttles(r.BlkioDeviceReadIOps)),
    throttleWriteIOPSDevice: orUndefined(throttles(r.BlkioDeviceWriteIOps)),
  });
  const pids = r.PidsLimit ?? 0;
  return {
    ...(memory === undefined ? {} : { memory }),
    ...(cpu === undefined ? {} : { cpu }),
    ...(blockIO === undefined ? {} : { blockIO }),
    ...(pids > 0 ? { pids: { limit: pids } } : {}),
  };
}

function orUndefined<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list;
}

/** The object without its undefined fields; undefined when none is left. */
function compact<T extends object>(
  fields: {
    [K in keyof T]: T[K] | undefined;
  },
): T | undefined {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return entries.length === 0 ? undefined : (Object.fromEntries(entries) as T);
}
