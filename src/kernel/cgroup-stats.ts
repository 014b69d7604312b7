import { readFileSync } from 'node:fs';
import path from 'node:path';
import { type Cgroups, readIfThere } from './cgroup.ts';

/**
 * What a cgroup has used, for `docker stats`. Source: kernel admin-guide/cgroup-v1 (cpuacct, memory,
 * blkio-controller, pids) and cgroup-v2. Times are nanoseconds, memory is bytes.
 */
export type CgroupUsage = {
  readonly cpu: {
    readonly totalNs: number;
    readonly systemNs: number;
    readonly userNs: number;
    /** v1 only. */
    readonly perCpuNs: readonly number[] | undefined;
    readonly periods: number;
    readonly throttledPeriods: number;
    readonly throttledNs: number;
  };
  readonly memory: {
    readonly usage: number;
    /** v1 only. */
    readonly maxUsage: number | undefined;
    readonly failures: number | undefined;
    /** Infinity when there is none. */
    readonly limit: number;
    readonly stats: Readonly<Record<string, number>>;
  };
  readonly pids: { readonly current: number; readonly limit: number };
  readonly io: { readonly bytes: readonly IoCount[]; readonly operations: readonly IoCount[] };
};

/** `operation` is read, write, sync, async, discard or total (v2: read and write only). */
export type IoCount = {
  readonly major: number;
  readonly minor: number;
  readonly operation: string;
  readonly value: number;
};

/** Reads the counters of one cgroup. Files that the host does not have count as zeros. */
export function readCgroupUsage(cgroups: Cgroups, folder: string): CgroupUsage {
  const read = (controller: string, file: string): string => {
    const mount = cgroups.mountOf(controller);
    return mount === undefined ? '' : readIfThere(path.join(mount, folder, file));
  };
  return cgroups.version === 2 ? usageV2(read) : usageV1(read);
}

type Read = (controller: string, file: string) => string;

/** Lines `key number`. */
function flatKeyed(text: string): Record<string, number> {
  const values: Record<string, number> = {};
  for (const line of text.split('\n')) {
    const [key, value] = line.split(' ');
    if (key !== undefined && value !== undefined) values[key] = Number(value);
  }
  return values;
}

/** A number, or a word (`max`) for none. v1 writes its largest page count for none. */
function limitOf(text: string): number {
  const number = Number(text.trim() || 'NaN');
  return Number.isNaN(number) || number >= 2 ** 62 ? Number.POSITIVE_INFINITY : number;
}

const US = 1000;
/** USER_HZ, which the kernel reports v1 times in. 100 on every architecture of this project. */
const TICK_NS = 10_000_000;

function usageV1(read: Read): CgroupUsage {
  const times = flatKeyed(read('cpuacct', 'cpuacct.stat'));
  const throttling = flatKeyed(read('cpu', 'cpu.stat'));
  const perCpu = read('cpuacct', 'cpuacct.usage_percpu').trim();
  return {
    cpu: {
      totalNs: Number(read('cpuacct', 'cpuacct.usage')),
      systemNs: (times['system'] ?? 0) * TICK_NS,
      userNs: (times['user'] ?? 0) * TICK_NS,
      perCpuNs: perCpu === '' ? undefined : perCpu.split(' ').map(Number),
      periods: throttling['nr_periods'] ?? 0,
      throttledPeriods: throttling['nr_throttled'] ?? 0,
      throttledNs: throttling['throttled_time'] ?? 0,
    },
    memory: {
      usage: Number(read('memory', 'memory.usage_in_bytes')),
      maxUsage: Number(read('memory', 'memory.max_usage_in_bytes')),
      failures: Number(read('memory', 'memory.failcnt')),
      limit: limitOf(read('memory', 'memory.limit_in_bytes')),
      stats: flatKeyed(read('memory', 'memory.stat')),
    },
    pids: pidsOf(read),
    io: {
      bytes: ioV1(read('blkio', 'blkio.throttle.io_service_bytes_recursive')),
      operations: ioV1(read('blkio', 'blkio.throttle.io_serviced_recursive')),
    },
  };
}

function pidsOf(read: Read): CgroupUsage['pids'] {
  return {
    current: Number(read('pids', 'pids.current')),
    limit: limitOf(read('pids', 'pids.max')),
  };
}

/** Lines `8:0 Read 4096`; the last one is a sum. */
function ioV1(text: string): IoCount[] {
  return text.split('\n').flatMap((line) => {
    const m = /^(\d+):(\d+) (\w+) (\d+)$/.exec(line);
    if (m === null) return [];
    const operation = (m[3] ?? '').toLowerCase();
    return [{ major: Number(m[1]), minor: Number(m[2]), operation, value: Number(m[4]) }];
  });
}

function usageV2(read: Read): CgroupUsage {
  const cpu = flatKeyed(read('cpu', 'cpu.stat'));
  const us = (key: string): number => (cpu[key] ?? 0) * US;
  const events = flatKeyed(read('memory', 'memory.events'));
  return {
    cpu: {
      totalNs: us('usage_usec'),
      systemNs: us('system_usec'),
      userNs: us('user_usec'),
      perCpuNs: undefined,
      periods: cpu['nr_periods'] ?? 0,
      throttledPeriods: cpu['nr_throttled'] ?? 0,
      throttledNs: us('throttled_usec'),
    },
    memory: {
      usage: Number(read('memory', 'memory.current')),
      maxUsage: undefined,
      failures: events['oom'],
      limit: limitOf(read('memory', 'memory.max')),
      stats: flatKeyed(read('memory', 'memory.stat')),
    },
    pids: pidsOf(read),
    io: ioV2(read('blkio', 'io.stat')),
  };
}

/** Lines `8:0 rbytes=1 wbytes=2 rios=3 wios=4 dbytes=0 dios=0`. */
function ioV2(text: string): CgroupUsage['io'] {
  const bytes: IoCount[] = [];
  const operations: IoCount[] = [];
  for (const line of text.split('\n')) {
    const m = /^(\d+):(\d+) (.*)$/.exec(line);
    if (m === null) continue;
    const device = { major: Number(m[1]), minor: Number(m[2]) };
    for (const pair of (m[3] ?? '').split(' ')) {
      const [key, value] = pair.split('=');
      const count = { ...device, value: Number(value) };
      if (key === 'rbytes') bytes.push({ ...count, operation: 'read' });
      if (key === 'wbytes') bytes.push({ ...count, operation: 'write' });
      if (key === 'rios') operations.push({ ...count, operation: 'read' });
      if (key === 'wios') operations.push({ ...count, operation: 'write' });
    }
  }
  return { bytes, operations };
}

/** CPU time that the whole machine has spent, idle time included (proc_stat(5)). */
export function systemCpuNs(): number {
  const line = readFileSync('/proc/stat', 'utf8').split('\n', 1)[0] ?? '';
  // user nice system idle iowait irq softirq steal; guest time is part of user.
  const ticks = line.trim().split(/\s+/).slice(1, 9).map(Number);
  return ticks.reduce((sum, each) => sum + each, 0) * TICK_NS;
}

/** Bytes of memory of this machine. */
export function memoryTotal(): number {
  const m = /^MemTotal:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8'));
  return Number(m?.[1] ?? 0) * 1024;
}

/** Counters of one interface of a process's network namespace. */
export type InterfaceCounters = {
  readonly name: string;
  readonly rx: { bytes: number; packets: number; errors: number; dropped: number };
  readonly tx: { bytes: number; packets: number; errors: number; dropped: number };
};

/** The interfaces of a process's network namespace, but for the loopback; none when it is gone. */
export function readInterfaces(pid: number): InterfaceCounters[] {
  const lines = readIfThere(`/proc/${pid}/net/dev`).split('\n').slice(2);
  return lines.flatMap((line) => {
    const colon = line.indexOf(':');
    const name = line.slice(0, colon).trim();
    if (colon < 0 || name === 'lo') return [];
    const n = line
      .slice(colon + 1)
      .trim()
      .split(/\s+/)
      .map(Number);
    const side = (at: number) => ({
      bytes: n[at] ?? 0,
      packets: n[at + 1] ?? 0,
      errors: n[at + 2] ?? 0,
      dropped: n[at + 3] ?? 0,
    });
    return [{ name, rx: side(0), tx: side(8) }];
  });
}
