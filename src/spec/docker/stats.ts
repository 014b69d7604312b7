/**
 * One sample of `docker stats`. Source: Engine API v1.51, `ContainerStatsResponse`. Times of CPU
 * are nanoseconds, memory is bytes. What the host's cgroup version cannot tell is left out.
 */
export type BlkioEntry = {
  readonly major: number;
  readonly minor: number;
  readonly op: string;
  readonly value: number;
};

export type CpuStats = {
  readonly cpu_usage: {
    readonly total_usage: number;
    readonly percpu_usage?: readonly number[];
    readonly usage_in_kernelmode: number;
    readonly usage_in_usermode: number;
  };
  readonly system_cpu_usage?: number;
  readonly online_cpus?: number;
  readonly throttling_data: {
    readonly periods: number;
    readonly throttled_periods: number;
    readonly throttled_time: number;
  };
};

export type NetworkStats = {
  readonly rx_bytes: number;
  readonly rx_packets: number;
  readonly rx_errors: number;
  readonly rx_dropped: number;
  readonly tx_bytes: number;
  readonly tx_packets: number;
  readonly tx_errors: number;
  readonly tx_dropped: number;
};

export type ContainerStats = {
  /** With the leading slash. */
  readonly name: string;
  readonly id: string;
  readonly read: string;
  readonly preread: string;
  readonly pids_stats: { readonly current?: number; readonly limit?: number };
  readonly blkio_stats: {
    readonly io_service_bytes_recursive: readonly BlkioEntry[] | null;
    readonly io_serviced_recursive: readonly BlkioEntry[] | null;
    readonly io_queue_recursive: readonly BlkioEntry[] | null;
    readonly io_service_time_recursive: readonly BlkioEntry[] | null;
    readonly io_wait_time_recursive: readonly BlkioEntry[] | null;
    readonly io_merged_recursive: readonly BlkioEntry[] | null;
    readonly io_time_recursive: readonly BlkioEntry[] | null;
    readonly sectors_recursive: readonly BlkioEntry[] | null;
  };
  readonly num_procs: number;
  readonly storage_stats: Readonly<Record<string, number>>;
  readonly cpu_stats: CpuStats;
  readonly precpu_stats: CpuStats;
  readonly memory_stats: {
    readonly usage?: number;
    readonly max_usage?: number;
    readonly stats?: Readonly<Record<string, number>>;
    readonly failcnt?: number;
    readonly limit?: number;
  };
  /** By interface; absent with the host's network. */
  readonly networks?: Readonly<Record<string, NetworkStats>>;
};
