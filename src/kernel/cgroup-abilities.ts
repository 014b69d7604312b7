import { existsSync, mkdirSync, readdirSync, rmdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../base/errors.ts';
import type { CgroupAbilities } from '../spec/cgroup-abilities.ts';
import { type Cgroups, readIfThere } from './cgroup.ts';

/** Which limits the host's cgroups can keep. A false one is dropped with a warning. */
export function cgroupAbilities(cgroups: Cgroups): CgroupAbilities {
  const has = (controller: string, file: string): boolean => {
    const mount = cgroups.mountOf(controller);
    return mount !== undefined && existsSync(path.join(mount, file));
  };
  const hasController = (name: string): boolean => cgroups.mountOf(name) !== undefined;
  if (cgroups.version === 2) {
    const files = limitFilesV2(cgroups.hierarchies[0] ?? '/sys/fs/cgroup');
    return {
      memory: files.has('memory.max'),
      swap: files.has('memory.swap.max'),
      swappiness: false,
      reservation: files.has('memory.low'),
      oomKillDisable: false,
      pids: files.has('pids.max'),
      cpuShares: files.has('cpu.weight'),
      cpuQuota: files.has('cpu.max'),
      cpuset: files.has('cpuset.cpus'),
      blkioWeight: files.has('io.weight'),
      blkioThrottle: files.has('io.max'),
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

/**
 * The files that a container's cgroup has. The root has none of them, and a controller may come
 * without some (`io.weight` needs a cost model, `memory.swap.max` swap accounting), so a cgroup is
 * made to look at, below a root that gives its controllers on, as the runtime makes it do.
 */
function limitFilesV2(root: string): ReadonlySet<string> {
  const probe = path.join(root, `coracle-probe-${process.pid}`);
  try {
    mkdirSync(probe, { recursive: true });
    for (const controller of readIfThere(path.join(root, 'cgroup.controllers')).trim().split(' ')) {
      giveOn(root, controller);
    }
    return new Set(readdirSync(probe));
  } catch (error) {
    // A hierarchy that this process may not change keeps no limits.
    if (!['EROFS', 'EACCES', 'EPERM'].includes(errnoOf(error) ?? '')) throw error;
    return new Set();
  } finally {
    if (existsSync(probe)) rmdirSync(probe);
  }
}

/** Lets the cgroups below use a controller, where the kernel allows it. */
function giveOn(root: string, controller: string): void {
  try {
    writeFileSync(path.join(root, 'cgroup.subtree_control'), `+${controller}`);
  } catch (error) {
    // Some other process has the controller, or processes in the root forbid it.
    if (!['EBUSY', 'ENOENT', 'EOPNOTSUPP', 'EINVAL'].includes(errnoOf(error) ?? '')) throw error;
  }
}
