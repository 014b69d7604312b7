/** What a daemon answers to `stats`, on cgroup v1 and on v2, and to `events`. */

const usage = (total: number, system: number): Readonly<Record<string, unknown>> => ({
  cpu_usage: { total_usage: total, usage_in_kernelmode: 1, usage_in_usermode: 2 },
  system_cpu_usage: system,
  online_cpus: 4,
  throttling_data: { periods: 0, throttled_periods: 0, throttled_time: 0 },
});

const interface0 = { rx_bytes: 1_234_567, tx_bytes: 89, rx_packets: 1, tx_packets: 1 };
const blocks = (read: string, write: string): unknown => ({
  io_service_bytes_recursive: [
    { major: 8, minor: 0, op: read, value: 5_000_000 },
    { major: 8, minor: 0, op: write, value: 6_000 },
    { major: 8, minor: 16, op: read, value: 1_000_000 },
    { major: 8, minor: 16, op: 'Total', value: 7_000_000 },
  ],
});

export const STATS_V1 = {
  id: 'a'.repeat(64),
  name: '/web',
  read: '2026-01-02T03:04:05Z',
  preread: '2026-01-02T03:04:04Z',
  pids_stats: { current: 7, limit: 100 },
  blkio_stats: blocks('Read', 'Write'),
  num_procs: 0,
  cpu_stats: usage(3_000_000_000, 100_000_000_000),
  precpu_stats: usage(2_500_000_000, 96_000_000_000),
  memory_stats: {
    usage: 100 << 20,
    limit: 512 << 20,
    stats: { total_inactive_file: 30 << 20, inactive_file: 1 },
  },
  networks: { eth0: interface0, eth1: { ...interface0, rx_bytes: 1_000, tx_bytes: 1_000 } },
};

export const STATS_V2 = {
  ...STATS_V1,
  id: 'b'.repeat(64),
  name: '/two',
  blkio_stats: blocks('read', 'write'),
  memory_stats: { usage: 900_300, limit: 1e9, stats: { inactive_file: 100_000 } },
  networks: undefined,
};

const event = (Type: string, Action: string, ID: string, Attributes: object): object => ({
  ...(Type === 'container' ? { status: Action, id: ID, from: 'nginx' } : {}),
  Type,
  Action,
  Actor: { ID, Attributes },
  scope: 'local',
  time: 1_700_000_000,
  timeNano: 1_700_000_000_500_000_000,
});

export const EVENTS: readonly object[] = [
  event('container', 'die', 'c'.repeat(64), { exitCode: '3', image: 'nginx', name: 'web', b: '<' }),
  event('network', 'connect', 'd'.repeat(64), { name: 'bridge', type: 'bridge' }),
  event('image', 'pull', 'nginx:latest', { name: 'nginx' }),
  event('container', 'exec_create: sh -c "x"', 'c'.repeat(64), { name: 'web', image: 'nginx' }),
];
