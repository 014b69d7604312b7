import { conflict, messageOf } from '../../base/errors.ts';
import { parseSignal, SIGKILL, SIGTERM } from '../../policy/signals.ts';
import type { Engine } from '../engine.ts';
import type { Container, Run } from './container.ts';
import { containerEvent } from './events.ts';
import { thaw } from './freeze.ts';
import { saveState } from './persistence.ts';

/** Seconds between the stop signal and SIGKILL for a container that names none. */
export const DEFAULT_STOP_SEC = 10;
/** After SIGKILL the kernel owes us an end; a process in uninterruptible sleep may take its time. */
const KILL_WAIT_MS = 30_000;

/** Sends a signal. @throws conflict when the container does not run */
export function signalContainer(engine: Engine, container: Container, signal: number): void {
  const run = container.run;
  if (run === undefined) {
    throw conflict(`container ${container.id} is not running`);
  }
  run.process.signal(signal);
  containerEvent(engine, container, 'kill', { signal: String(signal) });
}

/** The signal that asks the container to end. */
export function stopSignalOf(container: Container): number {
  const { StopSignal } = container.document.config;
  return StopSignal === '' ? SIGTERM : parseSignal(StopSignal);
}

/** A full exec root must not keep a container from being stopped. */
function markStopped(engine: Engine, container: Container): void {
  try {
    saveState(engine, container, { stoppedByUser: true }, { durable: false });
  } catch (error) {
    engine.log.error('cannot store that a container is being stopped', {
      container: container.id,
      error: messageOf(error),
    });
  }
}

/** Ends a run: the signal, the time to heed it, SIGKILL. Resolves when the end is recorded. */
export async function endRun(
  engine: Engine,
  container: Container,
  run: Run,
  how: { readonly signal: number; readonly timeoutSec: number },
): Promise<void> {
  run.stopAsked = true;
  if (!engine.containers.isShuttingDown) markStopped(engine, container);
  signalContainer(engine, container, how.signal);
  // A frozen process gets its signals when it is thawed.
  if (run.paused) await thaw(engine, container, run);
  if (how.timeoutSec < 0) {
    await run.over.promise;
    return;
  }
  if (how.signal !== SIGKILL && (await isOverWithin(engine, run, how.timeoutSec * 1000))) return;
  if (container.run === run && how.signal !== SIGKILL) {
    engine.log.info('container did not end in time, it is killed', {
      container: container.id,
      timeoutSec: how.timeoutSec,
    });
    signalContainer(engine, container, SIGKILL);
    if (run.paused) await thaw(engine, container, run);
  }
  if (await isOverWithin(engine, run, KILL_WAIT_MS)) return;
  throw conflict(
    `cannot stop container: ${container.id}: tried to kill container, but did not receive an exit event`,
  );
}

async function isOverWithin(engine: Engine, run: Run, ms: number): Promise<boolean> {
  const control = new AbortController();
  const late = engine.clock.sleep(ms, { signal: control.signal }).then(
    () => false,
    () => true, // aborted: it was in time
  );
  const inTime = run.over.promise.then(() => true);
  const result = await Promise.race([inTime, late]);
  control.abort();
  return result;
}
