import { rmSync } from 'node:fs';
import { messageOf } from '../../base/errors.ts';
import type { Engine } from '../engine.ts';
import type { Container } from './container.ts';
import { containerEvent } from './events.ts';
import { containerPaths } from './paths.ts';

/**
 * Removes a container that does not run, with its writable layer, logs and records. The record goes
 * first: files without one are garbage that the next start collects. A second call waits for the
 * first.
 */
export function removeContainer(
  engine: Engine,
  container: Container,
  options: { readonly removeVolumes: boolean },
): Promise<void> {
  container.removal ??= remove(engine, container, options).finally(() => {
    container.removal = undefined;
  });
  return container.removal;
}

async function remove(
  engine: Engine,
  container: Container,
  options: { readonly removeVolumes: boolean },
): Promise<void> {
  container.dead = false;
  container.removing = true;
  container.restart?.abort();
  container.restart = undefined;
  const { id } = container;
  try {
    await container.cleanup;
    engine.database.transaction(() => {
      engine.store.containers.remove(id);
      if (options.removeVolumes) engine.volumes.giveUpInTransaction(id);
    });
    await engine.layers.removeRootfs(id);
    await engine.volumes.forget(id, options.removeVolumes);
    const paths = containerPaths(engine, id);
    rmSync(paths.run, { recursive: true, force: true });
    rmSync(paths.data, { recursive: true, force: true });
  } catch (error) {
    container.removing = false;
    container.dead = true;
    engine.log.error('cannot remove a container', { container: id, error: messageOf(error) });
    throw error;
  }
  engine.containers.delete(container);
  for (const client of container.earlyClients) client.cancel();
  container.earlyClients.clear();
  containerEvent(engine, container, 'destroy');
  const ending = { exitCode: container.kept.exitCode, error: '' };
  // Who waits for the next exit: there will be none.
  container.ending.open(ending);
  container.removed.open(ending);
}
