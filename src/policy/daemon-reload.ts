import type { EngineConfig } from '../spec/engine-config.ts';
import type { DaemonConfig } from './daemon-config.ts';

/** What SIGHUP changes while the daemon runs, as dockerd does; all else waits for a restart. */
const RELOADED = [
  'debug',
  'labels',
  'insecureRegistries',
  'registryMirrors',
  'maxConcurrentDownloads',
  'maxConcurrentUploads',
  'maxDownloadAttempts',
  'maxDownloadRate',
  'httpProxy',
  'httpsProxy',
  'noProxy',
  'liveRestore',
  'shutdownTimeoutSec',
  'defaultRuntime',
  'runtimes',
] as const satisfies readonly (keyof EngineConfig)[];

/** The configuration after a reload, with the names of the fields that changed and that could not. */
export type Reload = {
  readonly config: DaemonConfig;
  readonly changed: readonly string[];
  /** Changed in the file, but only a restart takes them over. */
  readonly waiting: readonly string[];
};

/** Takes over from `next` what may change while the daemon runs. */
export function reloadDaemonConfig(current: DaemonConfig, next: DaemonConfig): Reload {
  const differs = (key: keyof EngineConfig): boolean =>
    JSON.stringify(current.engine[key]) !== JSON.stringify(next.engine[key]);
  const keys = Object.keys(next.engine) as (keyof EngineConfig)[];
  const reloaded: readonly (keyof EngineConfig)[] = RELOADED;
  const changed = keys.filter((key) => reloaded.includes(key) && differs(key));
  const taken = Object.fromEntries(changed.map((key) => [key, next.engine[key]]));
  return {
    config: {
      ...current,
      engine: { ...current.engine, ...taken },
      logLevel: next.logLevel,
    },
    changed,
    waiting: keys.filter((key) => !reloaded.includes(key) && differs(key)),
  };
}
