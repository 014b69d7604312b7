import { notModified } from '../../base/errors.ts';
import { parseSignal } from '../../policy/signals.ts';
import type { Engine } from '../engine.ts';
import { type Container, lockOf } from './container.ts';
import { DEFAULT_STOP_SEC, endRun, stopSignalOf } from './end-run.ts';
import { containerEvent } from './events.ts';
import { saveState } from './persistence.ts';
import { startContainer } from './start.ts';

export type StopOptions = {
  /** Seconds before SIGKILL; -1 waits for ever, undefined is the container's own or 10. */
  readonly timeoutSec: number | undefined;
  /** Name or number; '' is the container's own or SIGTERM. */
  readonly signal: string;
};

/**
 * Ends a container's process, with force after a while. Holds no lock, so that a kill or a forced
 * removal can hurry it up.
 * @throws notModified when it does not run; internal when even SIGKILL does not end it
 */
export async function stopContainer(
  engine: Engine,
  container: Container,
  options: StopOptions,
): Promise<void> {
  const signal = options.signal === '' ? stopSignalOf(container) : parseSignal(options.signal);
  const wasRestarting = container.restart !== undefined;
  await giveUpRestart(container);
  const run = container.run;
  if (run === undefined) {
    if (!wasRestarting) throw notModified(`container ${container.id} is not running`);
    saveState(engine, container, { running: false, stoppedByUser: true }, { durable: true });
  }
  const timeoutSec =
    options.timeoutSec ?? container.document.config.StopTimeout ?? DEFAULT_STOP_SEC;
  if (run !== undefined) await endRun(engine, container, run, { signal, timeoutSec });
  containerEvent(engine, container, 'stop');
}

/**
 * Ends the wait of a restart policy. A start that is under way, whoever asked for it, is waited for;
 * when what it started ends at once, there is another wait to end.
 */
async function giveUpRestart(container: Container): Promise<void> {
  while (container.run === undefined) {
    container.restart?.abort();
    if (container.starting === undefined) {
      container.restart = undefined;
      return;
    }
    await Promise.allSettled([container.starting]);
  }
}

/** Stops, if it runs, and starts. @throws what the start throws */
export async function restartContainer(
  engine: Engine,
  container: Container,
  options: StopOptions,
): Promise<void> {
  await engine.locks.run(lockOf(container), async () => {
    if (container.run !== undefined) container.run.startsAgain = true;
    if (container.isRunning) await stopContainer(engine, container, options);
    await startContainer(engine, container, { by: 'user' });
  });
  containerEvent(engine, container, 'restart');
}
