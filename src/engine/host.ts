import { existsSync } from 'node:fs';
import os from 'node:os';
import { type Cgroups, detectCgroups } from '../kernel/cgroup.ts';
import { cgroupAbilities } from '../kernel/cgroup-abilities.ts';
import {
  effectiveCapabilityMask,
  goArchitecture,
  kernelFeatures,
  kernelVersion,
  onlineSets,
  ownOomScoreAdj,
} from '../kernel/host-facts.ts';
import { capabilitiesOfMask } from '../policy/capabilities.ts';
import type { ResourceFacts } from '../policy/resources.ts';
import type { RuntimeHost } from '../policy/runtime-spec-input.ts';

/** What the engine knows of its host. Found once, at the daemon's start. */
export type HostFacts = {
  readonly cgroups: Cgroups;
  readonly runtime: RuntimeHost;
  readonly resources: ResourceFacts;
  /** systemd is process 1 and could make scopes. */
  readonly hasSystemd: boolean;
};

/** Reads /proc and /sys. Call it in the mount namespace that the daemon stays in. */
export function readHostFacts(): HostFacts {
  const cgroups = detectCgroups();
  const online = onlineSets();
  return {
    cgroups,
    runtime: {
      architecture: goArchitecture(),
      kernel: kernelVersion(),
      isCgroupV2: cgroups.version === 2,
      capabilities: capabilitiesOfMask(effectiveCapabilityMask()),
      ...kernelFeatures(),
      oomScoreAdj: ownOomScoreAdj(),
    },
    resources: {
      abilities: cgroupAbilities(cgroups),
      cpus: os.availableParallelism(),
      onlineCpus: online.cpus,
      onlineMems: online.mems,
    },
    hasSystemd: existsSync('/run/systemd/system'),
  };
}
