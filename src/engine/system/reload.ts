import { hostname } from 'node:os';
import type { Engine } from '../engine.ts';
import { engineId } from './host-info.ts';

/**
 * Tells of a configuration that was read again, with what of it is in force now. Docker's event
 * names the same options, values as JSON where they are not words.
 */
export function tellReload(engine: Engine): void {
  const { debug, liveRestore, labels, insecureRegistries, registryMirrors } = engine.config();
  engine.events.publish({
    type: 'daemon',
    action: 'reload',
    id: engineId(engine),
    attributes: {
      name: hostname(),
      debug: String(debug),
      'live-restore': String(liveRestore),
      labels: JSON.stringify(labels),
      'insecure-registries': JSON.stringify(insecureRegistries),
      'registry-mirrors': JSON.stringify(registryMirrors),
    },
  });
}
