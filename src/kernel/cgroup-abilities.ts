import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import type { CgroupAbilities } from '../spec/cgroup-abilities.ts';
import type { Cgroups } from './cgroup.ts';

/** Which limits the host's cgroups can keep. A false one is dropped with a warning. */
export function cgroupAbilities(cgroups: Cgroups): CgroupAbilities {
  const has = (controller: string, file: string): boolean => {
    const mount = cgroups.mountOf(controller);
    return mount !== undefined && existsSync(path.join(mount, file));
  };
  const hasController = (name: string): boolean => cgroups.mountOf(name) !== undefined;
  if (cgroups.version === 2) {
    // The root cgroup has no limit files, so the controllers have to do; swap may be off by
    // `swapaccount=0`, which shows in this process's own cgroup.
    return {
      memory: hasController('memory'),
      swap: hasController('memory') && existsSync(path.join(ownFolder(cgroups), 'memory.swap.max')),
      swappiness: false,
      reservation: hasController('memory'),
      oomKillDisable: false,
      pids: hasController('pids'),
      cpuShares: hasController('cpu'),
      cpuQuota: hasController('cpu'),
      cpuset: hasController('cpuset'),
      blkioWeight: hasController('blkio'),
      blkioThrottle: hasController('blkio'),
      kernelTcp: false,
      cpuRealtime: false,
    };
  }
  return {
    memory: has('memory', 'memory.limit_in_bytes'),
    swap: has('memory', 'memory.memsw.limit_in_bytes'),
    swappiness: has('memory', 'memory.swappiness'),
    reservation: has('memory', 'memory.soft_limit_in_bytes'),
    oomKillDisable: has('memory', 'memory.oom_control'),
    pids: hasController('pids'),
    cpuShares: has('cpu', 'cpu.shares'),
    cpuQuota: has('cpu', 'cpu.cfs_quota_us'),
    cpuset: has('cpuset', 'cpuset.cpus'),
    blkioWeight: has('blkio', 'blkio.weight') || has('blkio', 'blkio.bfq.weight'),
    blkioThrottle: has('blkio', 'blkio.throttle.read_bps_device'),
    kernelTcp: has('memory', 'memory.kmem.tcp.limit_in_bytes'),
    cpuRealtime: has('cpu', 'cpu.rt_period_us'),
  };
}

/** This process's own cgroup2 folder. */
function ownFolder(cgroups: Cgroups): string {
  const line = readFileSync('/proc/self/cgroup', 'utf8')
    .split('\n')
    .find((each) => each.startsWith('0::'));
  return path.join(cgroups.hierarchies[0] ?? '/sys/fs/cgroup', line?.slice(3) ?? '/');
}
