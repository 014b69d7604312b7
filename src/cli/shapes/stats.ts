import { humanSize, humanSizeBinary } from '../../base/bytes.ts';
import { shortId } from '../../base/digest.ts';
import type { BlkioEntry, ContainerStats } from '../../spec/docker/stats.ts';
import type { RowShape } from '../format.ts';

/** Rows of `stats`. */
export const STATS_TABLE =
  '{{.ID}}\\t{{.Name}}\\t{{.CPUPerc}}\\t{{.MemUsage}}\\t{{.MemPerc}}\\t{{.NetIO}}\\t{{.BlockIO}}\\t{{.PIDs}}';

/** What is worked out of one sample; percentages are of one CPU and of the memory limit. */
export type StatsSample = {
  readonly cpuPercent: number;
  readonly memoryBytes: number;
  readonly memoryLimitBytes: number;
  readonly memoryPercent: number;
  readonly receivedBytes: number;
  readonly sentBytes: number;
  readonly readBytes: number;
  readonly writtenBytes: number;
  readonly pids: number;
};

/** A container; without a sample it is one that does not run. */
export type StatsRow = {
  /** What it was asked for by. */
  readonly container: string;
  readonly id: string;
  readonly name: string;
  readonly sample: StatsSample | undefined;
};

/** CPU time since the sample before, as a share of the host's, times the number of CPUs. */
function cpuPercent({ cpu_stats: now, precpu_stats: before }: ContainerStats): number {
  const used = now.cpu_usage.total_usage - (before?.cpu_usage?.total_usage ?? 0);
  const passed = (now.system_cpu_usage ?? 0) - (before?.system_cpu_usage ?? 0);
  const cpus = now.online_cpus || now.cpu_usage.percpu_usage?.length || 1;
  return passed > 0 && used > 0 ? (used / passed) * cpus * 100 : 0;
}

/** Usage without the page cache that the kernel would give back first. */
function memoryBytes({ memory_stats: memory }: ContainerStats): number {
  const usage = memory.usage ?? 0;
  const cache = memory.stats?.['total_inactive_file'] ?? memory.stats?.['inactive_file'] ?? 0;
  return cache < usage ? usage - cache : usage;
}

function blockBytes(entries: readonly BlkioEntry[] | null, op: string): number {
  return (entries ?? [])
    .filter((entry) => entry.op.toLowerCase() === op)
    .reduce((total, entry) => total + entry.value, 0);
}

/** The row after a sample; what the sample does not name stays. */
export function statsRow(row: StatsRow, stats: ContainerStats): StatsRow {
  const used = memoryBytes(stats);
  const limit = stats.memory_stats.limit ?? 0;
  const networks = Object.values(stats.networks ?? {});
  const blocks = stats.blkio_stats?.io_service_bytes_recursive ?? null;
  return {
    container: row.container,
    id: stats.id || row.id,
    name: stats.name ? stats.name.replace(/^\//, '') : row.name,
    sample: {
      cpuPercent: cpuPercent(stats),
      memoryBytes: used,
      memoryLimitBytes: limit,
      memoryPercent: limit > 0 ? (used / limit) * 100 : 0,
      receivedBytes: networks.reduce((total, each) => total + each.rx_bytes, 0),
      sentBytes: networks.reduce((total, each) => total + each.tx_bytes, 0),
      readBytes: blockBytes(blocks, 'read'),
      writtenBytes: blockBytes(blocks, 'write'),
      pids: stats.pids_stats?.current ?? 0,
    },
  };
}

const NONE = '--';
const percent = (value: number | undefined): string =>
  value === undefined ? NONE : `${value.toFixed(2)}%`;

const pair = (a: number, b: number): string => `${humanSize(a, 3)} / ${humanSize(b, 3)}`;

export function statsShape(trunc: boolean): RowShape<StatsRow> {
  return {
    typeName: '*container.statsContext',
    fields: {
      BlockIO: {
        header: 'BLOCK I/O',
        value: ({ sample }) =>
          sample === undefined ? NONE : pair(sample.readBytes, sample.writtenBytes),
      },
      CPUPerc: { header: 'CPU %', value: ({ sample }) => percent(sample?.cpuPercent) },
      Container: { header: 'CONTAINER', value: ({ container }) => container },
      ID: { header: 'CONTAINER ID', value: ({ id }) => (trunc ? shortId(id) : id) },
      MemPerc: { header: 'MEM %', value: ({ sample }) => percent(sample?.memoryPercent) },
      MemUsage: {
        header: 'MEM USAGE / LIMIT',
        value: ({ sample }) =>
          sample === undefined
            ? `${NONE} / ${NONE}`
            : `${humanSizeBinary(sample.memoryBytes)} / ${humanSizeBinary(sample.memoryLimitBytes)}`,
      },
      Name: { header: 'NAME', value: ({ name }) => (name === '' ? NONE : name) },
      NetIO: {
        header: 'NET I/O',
        value: ({ sample }) =>
          sample === undefined ? NONE : pair(sample.receivedBytes, sample.sentBytes),
      },
      PIDs: {
        header: 'PIDS',
        value: ({ sample }) => (sample === undefined ? NONE : String(sample.pids)),
      },
    },
  };
}
