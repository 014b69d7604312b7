import type { HostConfigFacts } from '../../policy/host-config.ts';
import type { Engine } from '../engine.ts';

/** How cgroups are made: as configured, else by systemd where it rules a cgroup v2 host. */
export function cgroupDriver(engine: Pick<Engine, 'config' | 'host'>): 'cgroupfs' | 'systemd' {
  const { hasSystemd, cgroups } = engine.host;
  const configured = engine.config().cgroupDriver;
  if (configured !== '') return configured;
  return hasSystemd && cgroups.version === 2 ? 'systemd' : 'cgroupfs';
}

/** What the checks of a HostConfig need to know. */
export function hostConfigFacts(engine: Pick<Engine, 'config' | 'host'>): HostConfigFacts {
  const config = engine.config();
  return {
    ...engine.host.resources,
    runtimes: Object.keys(config.runtimes),
    usernsRemap: config.usernsRemap,
    cgroupDriver: cgroupDriver(engine),
    isCgroupV2: engine.host.cgroups.version === 2,
  };
}
