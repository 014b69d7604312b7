/** What the host's cgroups can do; a limit that they cannot keep is dropped with a warning. */
export type CgroupAbilities = {
  readonly memory: boolean;
  readonly swap: boolean;
  readonly swappiness: boolean;
  readonly reservation: boolean;
  readonly oomKillDisable: boolean;
  readonly pids: boolean;
  readonly cpuShares: boolean;
  readonly cpuQuota: boolean;
  readonly cpuset: boolean;
  readonly blkioWeight: boolean;
  readonly blkioThrottle: boolean;
  readonly kernelTcp: boolean;
  readonly cpuRealtime: boolean;
};
