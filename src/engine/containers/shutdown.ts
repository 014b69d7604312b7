import { messageOf } from '../../base/errors.ts';
import { SIGKILL } from '../../policy/signals.ts';
import type { Engine } from '../engine.ts';
import type { Container } from './container.ts';
import { DEFAULT_STOP_SEC, endRun, stopSignalOf } from './end-run.ts';

/**
 * The containers' part of the daemon's orderly end: unless `live-restore` is on, all are stopped at
 * once, each with the time it has, none with more than the daemon has. What ends now is marked as
 * ended by the shutdown, so that the next daemon's restart policies start it again.
 */
export async function stopContainers(engine: Engine): Promise<void> {
  engine.containers.isShuttingDown = true;
  const { liveRestore, shutdownTimeoutSec } = engine.config();
  const all = engine.containers.list();
  for (const container of all) container.restart?.abort();
  await Promise.allSettled(all.map(async ({ starting }) => await starting));
  if (liveRestore) return;
  await Promise.all(all.map((container) => stopOne(engine, container, shutdownTimeoutSec)));
  await Promise.all(all.map(({ cleanup }) => cleanup));
}

async function stopOne(engine: Engine, container: Container, timeoutSec: number): Promise<void> {
  const { run } = container;
  if (run === undefined) return;
  const own = container.document.config.StopTimeout ?? DEFAULT_STOP_SEC;
  try {
    await endRun(engine, container, run, {
      signal: stopSignalOf(container),
      timeoutSec: own < 0 ? timeoutSec : Math.min(own, timeoutSec),
    });
  } catch (error) {
    engine.log.error('cannot stop a container', {
      container: container.id,
      error: messageOf(error),
    });
    run.process.signal(SIGKILL);
  }
}
