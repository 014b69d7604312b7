import { Readable } from 'node:stream';
import { formatTimeNs, ZERO_TIME } from '../../base/clock.ts';
import {
  type CgroupUsage,
  type InterfaceCounters,
  type IoCount,
  memoryTotal,
  readCgroupUsage,
  readInterfaces,
  systemCpuNs,
} from '../../kernel/cgroup-stats.ts';
import type {
  BlkioEntry,
  ContainerStats,
  CpuStats,
  NetworkStats,
} from '../../spec/docker/stats.ts';
import type { ByteStream, Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import type { Container } from './container.ts';
import { cgroupOf } from './runtime.ts';

export type ContainerStatsArgs = {
  readonly params: { readonly id: string };
  readonly query: { readonly stream: boolean; readonly 'one-shot': boolean };
};

const INTERVAL_MS = 1000;

/**
 * What a container uses: a sample each second as long as the client looks and the container is
 * there, or one. A single sample waits a second for the one before it, unless `one-shot`.
 */
export async function containerStats(
  engine: Engine,
  args: ContainerStatsArgs,
  call: Call,
): Promise<ByteStream> {
  const container = engine.containers.get(args.params.id);
  const samples = sampleStream(engine, container, args.query, call.signal);
  return { contentType: 'application/json', body: Readable.from(samples, { objectMode: false }) };
}

async function* sampleStream(
  engine: Engine,
  container: Container,
  query: ContainerStatsArgs['query'],
  signal: AbortSignal,
): AsyncGenerator<string> {
  let before: ContainerStats | undefined;
  // Without a process there is nothing to wait for.
  if (!query.stream && !query['one-shot'] && container.run !== undefined) {
    before = sampleOf(engine, container, undefined);
    if (!(await pause(engine, signal))) return;
  }
  for (;;) {
    const sample = sampleOf(engine, container, before);
    yield `${JSON.stringify(sample)}\n`;
    if (!query.stream || !(await pause(engine, signal))) return;
    if (container.removing) return;
    before = sample;
  }
}

/** A second; false when the client went away meanwhile. */
async function pause(engine: Engine, signal: AbortSignal): Promise<boolean> {
  try {
    await engine.clock.sleep(INTERVAL_MS, { signal, unref: true });
    return true;
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
}

const NO_CPU: CpuStats = {
  cpu_usage: { total_usage: 0, usage_in_kernelmode: 0, usage_in_usermode: 0 },
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
};

const NO_BLKIO = {
  io_service_bytes_recursive: null,
  io_serviced_recursive: null,
  io_queue_recursive: null,
  io_service_time_recursive: null,
  io_wait_time_recursive: null,
  io_merged_recursive: null,
  io_time_recursive: null,
  sectors_recursive: null,
} as const;

function sampleOf(
  engine: Engine,
  container: Container,
  before: ContainerStats | undefined,
): ContainerStats {
  const base = {
    name: `/${container.name}`,
    id: container.id,
    preread: before?.read ?? ZERO_TIME,
    precpu_stats: before?.cpu_stats ?? NO_CPU,
    num_procs: 0,
    storage_stats: {},
  };
  const { run } = container;
  if (run === undefined) {
    const nothing = { pids_stats: {}, cpu_stats: NO_CPU, memory_stats: {} };
    return { ...base, ...nothing, read: ZERO_TIME, blkio_stats: NO_BLKIO };
  }
  const usage = readCgroupUsage(engine.host.cgroups, cgroupOf(engine, container).folder);
  const isHostNetwork = container.document.hostConfig.NetworkMode === 'host';
  return {
    ...base,
    read: formatTimeNs(engine.clock.nowNs()),
    pids_stats: {
      current: usage.pids.current,
      ...(Number.isFinite(usage.pids.limit) ? { limit: usage.pids.limit } : {}),
    },
    blkio_stats: {
      ...NO_BLKIO,
      io_service_bytes_recursive: entriesOf(usage.io.bytes),
      io_serviced_recursive: entriesOf(usage.io.operations),
    },
    cpu_stats: cpuStats(engine, usage.cpu),
    memory_stats: memoryStats(usage.memory),
    ...(isHostNetwork ? {} : { networks: networkStats(readInterfaces(run.pid)) }),
  };
}

function entriesOf(counts: readonly IoCount[]): BlkioEntry[] {
  return counts.map(({ major, minor, operation, value }) => ({
    major,
    minor,
    op: operation,
    value,
  }));
}

function cpuStats(engine: Engine, cpu: CgroupUsage['cpu']): CpuStats {
  return {
    cpu_usage: {
      total_usage: cpu.totalNs,
      ...(cpu.perCpuNs === undefined ? {} : { percpu_usage: cpu.perCpuNs }),
      usage_in_kernelmode: cpu.systemNs,
      usage_in_usermode: cpu.userNs,
    },
    system_cpu_usage: systemCpuNs(),
    online_cpus: engine.host.resources.cpus,
    throttling_data: {
      periods: cpu.periods,
      throttled_periods: cpu.throttledPeriods,
      throttled_time: cpu.throttledNs,
    },
  };
}

function memoryStats(memory: CgroupUsage['memory']): ContainerStats['memory_stats'] {
  return {
    usage: memory.usage,
    ...(memory.maxUsage === undefined ? {} : { max_usage: memory.maxUsage }),
    stats: memory.stats,
    ...(memory.failures === undefined ? {} : { failcnt: memory.failures }),
    // Without a limit of its own a container can use what the machine has.
    limit: Math.min(memory.limit, memoryTotal()),
  };
}

function networkStats(interfaces: readonly InterfaceCounters[]): Record<string, NetworkStats> {
  return Object.fromEntries(
    interfaces.map(({ name, rx, tx }) => [
      name,
      {
        rx_bytes: rx.bytes,
        rx_packets: rx.packets,
        rx_errors: rx.errors,
        rx_dropped: rx.dropped,
        tx_bytes: tx.bytes,
        tx_packets: tx.packets,
        tx_errors: tx.errors,
        tx_dropped: tx.dropped,
      },
    ]),
  );
}
