import { hostname } from 'node:os';
import type { Engine } from '../engine.ts';
import { engineId } from './host-info.ts';

/**
 * Tells of a configuration that was read again, with what of it is in force now. Docker's event
 * names the same options, values as JSON where they are not words.
 */
export function tellReload(engine: Engine): void {
  const config = engine.config();
  engine.events.publish({
    type: 'daemon',
    action: 'reload',
    id: engineId(engine),
    attributes: {
      name: hostname(),
      debug: String(config.debug),
      'default-ipc-mode': config.defaultIpcMode,
      'default-runtime': config.defaultRuntime,
      'default-shm-size': String(config.defaultShmSizeBytes),
      'live-restore': String(config.liveRestore),
      labels: JSON.stringify(config.labels),
      'insecure-registries': JSON.stringify(config.insecureRegistries),
      'max-concurrent-downloads': String(config.maxConcurrentDownloads),
      'max-concurrent-uploads': String(config.maxConcurrentUploads),
      'max-download-attempts': String(config.maxDownloadAttempts),
      'registry-mirrors': JSON.stringify(config.registryMirrors),
      'shutdown-timeout': String(config.shutdownTimeoutSec),
    },
  });
}
