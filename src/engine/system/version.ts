import os from 'node:os';
import { COMMIT, VERSION } from '../../base/version.ts';
import { goArchitecture } from '../../kernel/host-facts.ts';
import type { SystemVersion } from '../../spec/docker/system.ts';
import type { Engine } from '../engine.ts';
import { API_RANGE } from './api-range.ts';
import { defaultRuntime, runtimeVersion } from './runtime-version.ts';

/** Versions of the engine, its API, its runtime and the kernel. */
export async function systemVersion(engine: Engine): Promise<SystemVersion> {
  const runtime = defaultRuntime(engine);
  const { version, commit } = await runtimeVersion(engine, runtime.path);
  const facts = {
    ApiVersion: API_RANGE.max,
    Arch: goArchitecture(),
    BuildTime: '',
    GitCommit: COMMIT,
    // Clients show it as "Go version"; here it is what the engine runs on.
    GoVersion: `node ${process.version}`,
    KernelVersion: os.release(),
    MinAPIVersion: API_RANGE.min,
    Os: 'linux',
  };
  return {
    Platform: { Name: 'Coracle' },
    Components: [
      { Name: 'Engine', Version: VERSION, Details: { ...facts, Experimental: 'false' } },
      { Name: runtime.name, Version: version, Details: { GitCommit: commit } },
    ],
    Version: VERSION,
    ...facts,
  };
}
