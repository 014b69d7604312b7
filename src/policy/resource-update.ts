import { conflict } from '../base/errors.ts';
import type { Resources } from '../spec/docker/container.ts';

/** Fields of `docker update` that are numbers; 0 leaves them as they are. */
const NUMBERS = [
  'BlkioWeight',
  'CpuShares',
  'CpuPeriod',
  'CpuQuota',
  'CpuRealtimePeriod',
  'CpuRealtimeRuntime',
  'NanoCpus',
  'Memory',
  'MemorySwap',
  'MemoryReservation',
] as const satisfies readonly (keyof Resources)[];

/**
 * The limits in force with an update's laid over them. Source: moby `container/container_unix.go`,
 * UpdateContainer.
 * @throws conflict with Docker's texts when both do not go together
 */
export function updatedResources(before: Resources, change: Resources): Resources {
  checkCpu(before, change);
  if (
    change.Memory !== 0 &&
    change.MemorySwap === 0 &&
    before.MemorySwap > 0 &&
    change.Memory > before.MemorySwap
  ) {
    throw conflict(
      'Memory limit should be smaller than already set memoryswap limit, update the memoryswap at the same time',
    );
  }
  const after: Resources = {
    ...before,
    CpusetCpus: change.CpusetCpus || before.CpusetCpus,
    CpusetMems: change.CpusetMems || before.CpusetMems,
    PidsLimit: change.PidsLimit ?? before.PidsLimit,
  };
  return {
    ...after,
    ...Object.fromEntries(NUMBERS.map((key) => [key, change[key] || before[key]])),
  };
}

function checkCpu(before: Resources, change: Resources): void {
  const both = (set: string, other: string): Error =>
    conflict(`Conflicting options: ${set} cannot be updated as ${other} has already been set`);
  if (change.NanoCpus > 0 && before.CpuPeriod > 0) throw both('Nano CPUs', 'CPU Period');
  if (change.NanoCpus > 0 && before.CpuQuota > 0) throw both('Nano CPUs', 'CPU Quota');
  if (change.CpuPeriod > 0 && before.NanoCpus > 0) throw both('CPU Period', 'NanoCPUs');
  if (change.CpuQuota > 0 && before.NanoCpus > 0) throw both('CPU Quota', 'NanoCPUs');
}
