import { Latch, unlessAborted } from '../../base/async.ts';
import { formatTimeNs } from '../../base/clock.ts';
import { messageOf } from '../../base/errors.ts';
import type { ExitStatus } from '../../kernel/shim.ts';
import { restartDelayMs } from '../../policy/restart.ts';
import { SIGKILL } from '../../policy/signals.ts';
import type { Engine } from '../engine.ts';
import { type Container, lockOf, type Run, type StartCause } from './container.ts';
import { containerEvent } from './events.ts';
import { saveState } from './persistence.ts';
import { unmountShm } from './prepare-run.ts';
import { closeUserNamespace } from './remap.ts';
import { removeContainer } from './remove-container.ts';
import { killProcesses, removeRuntimeState } from './runtime.ts';
import { unbindSubpaths } from './subpaths.ts';

/** Exit code of a process whose end nobody saw. */
export const UNKNOWN_EXIT_CODE = 255;
/** Exit code of a process that was killed, as shells count. */
export const KILLED_EXIT_CODE = 128 + SIGKILL;

/** How a run ended. */
export type End = ExitStatus & {
  readonly error: string;
  /** Nothing stood beside it any more: the container is dead, not exited. */
  readonly shimDied?: boolean;
};

/** Starts a container again; the caller of it holds the lock. `startContainer`, passed in. */
export type StartAgain = (engine: Engine, container: Container, cause: StartCause) => Promise<void>;

/** Waits for a run's end and acts on it. The caller set `container.run`. */
export function superviseRun(
  engine: Engine,
  container: Container,
  run: Run,
  startAgain: StartAgain,
): void {
  engine.tasks.spawn(`supervise ${container.id}`, async (signal) => {
    // When the daemon stops, the run goes on without it.
    const end = await unlessAborted(endOf(engine, container, run), signal);
    if (end === undefined) return;
    closeRun(container, run);
    recordEnd(engine, container, end, { ...run, startAgain });
    run.over.resolve();
  });
}

async function endOf(engine: Engine, container: Container, run: Run): Promise<End> {
  try {
    return { ...(await run.shim.exited), error: '' };
  } catch (error) {
    engine.log.error('a shim died', { container: container.id, error: messageOf(error) });
    return await endWithoutShim(engine, container, run.ageMs());
  }
}

/** The end of a container that nobody saw, after a run of `ranMs`; 0 when that is not known. */
export function unseenEnd(engine: Pick<Engine, 'clock'>, ranMs: number): End {
  return {
    exitCode: UNKNOWN_EXIT_CODE,
    oomKilled: false,
    exitedAtNs: engine.clock.nowNs(),
    ranNs: BigInt(Math.trunc(ranMs)) * 1_000_000n,
    error: '',
  };
}

/**
 * Ends a container whose shim died. Its processes may live on, but nobody takes their output, and
 * nobody would learn how they end; so they are killed before anybody hears of the end.
 */
export async function endWithoutShim(
  engine: Engine,
  container: Container,
  ranMs: number,
): Promise<End> {
  let wasAlive = true;
  try {
    wasAlive = await killProcesses(engine, container);
  } catch (error) {
    engine.log.error('cannot kill what a shim left', {
      container: container.id,
      error: messageOf(error),
    });
  }
  const { exitCode, ...end } = unseenEnd(engine, ranMs);
  return {
    ...end,
    exitCode: wasAlive ? KILLED_EXIT_CODE : exitCode,
    error: `the shim of the container died: ${wasAlive ? 'what it left running was killed' : 'the end of its process was not seen'}`,
    shimDied: true,
  };
}

/** From here on the container counts as ended. */
function closeRun(container: Container, run: Run): void {
  run.process.close();
  run.shim.detach();
  container.run = undefined;
  container.health = undefined;
}

/** What the restart policy needs to know of the run that ended. */
type EndedRun = Pick<Run, 'stopAsked' | 'startsAgain' | 'delayMs'> & {
  /** Its end says nothing about what the user wants: the mark of the last stop stays. */
  readonly keepsStopMark?: boolean;
  readonly startAgain: StartAgain;
};

/**
 * Records a run's end, tells of it, has its remains taken away, and restarts or removes the
 * container as its policy wants. Synchronous: whoever looks sees it run or ended. Also for an end
 * that the daemon was not there to see.
 */
export function recordEnd(engine: Engine, container: Container, end: End, run: EndedRun): void {
  const { hostConfig } = container.document;
  const { ranNs } = end;
  const delayMs = restartDelayMs({
    policy: hostConfig.RestartPolicy,
    exitCode: end.exitCode,
    restartCount: container.kept.restartCount,
    stopAsked: run.stopAsked || engine.containers.isShuttingDown || container.removing,
    ranMs: Number(ranNs / 1_000_000n),
    lastDelayMs: run.delayMs,
  });
  const marksStop = run.stopAsked && run.keepsStopMark !== true;
  keepEnd(engine, container, end, { marksStop, isFinal: delayMs === undefined });
  if (end.oomKilled) containerEvent(engine, container, 'oom');
  containerEvent(engine, container, 'die', {
    exitCode: String(end.exitCode),
    execDuration: String(ranNs / 1_000_000_000n),
  });
  container.cleanup = takeDown(engine, container);
  if (delayMs !== undefined) scheduleRestart(engine, container, delayMs, run.startAgain);
  else if (hostConfig.AutoRemove && !container.removing && !run.startsAgain) {
    engine.tasks.spawn(`remove ${container.id}`, () =>
      removeContainer(engine, container, { removeVolumes: true }),
    );
  }
  const ending = container.ending;
  container.ending = new Latch();
  ending.open({ exitCode: end.exitCode, error: end.error });
}

function keepEnd(
  engine: Engine,
  container: Container,
  end: End,
  options: { readonly marksStop: boolean; readonly isFinal: boolean },
): void {
  const change = {
    exitCode: end.exitCode,
    error: end.error,
    finishedAt: formatTimeNs(end.exitedAtNs),
    oomKilled: end.oomKilled,
    shimDied: end.shimDied === true,
    running: !options.isFinal,
    begun: false,
    ...(options.marksStop && !engine.containers.isShuttingDown ? { stoppedByUser: true } : {}),
  };
  try {
    // The daemon's shutdown leaves the mark that the container ran, for the next daemon's policies.
    const durable = options.isFinal && !engine.containers.isShuttingDown;
    saveState(engine, container, change, { durable });
  } catch (error) {
    engine.log.error('cannot store the end of a container', {
      container: container.id,
      error: messageOf(error),
    });
  }
}

/** Takes away what a run needed. Each step is tried, whatever becomes of the others. */
export async function takeDown(engine: Engine, container: Container): Promise<void> {
  const { id } = container;
  const attempt = async (what: string, step: () => Promise<void> | void): Promise<void> => {
    try {
      await step();
    } catch (error) {
      engine.log.error(`cannot ${what}`, { container: id, error: messageOf(error) });
    }
  };
  await attempt('remove the state of the runtime', () => removeRuntimeState(engine, container));
  await attempt('close the network', () => engine.networks.close(id));
  await attempt('unmount the root', () => engine.layers.unmountRootfs(id));
  await attempt('unmount /dev/shm', () => unmountShm(engine, container));
  await attempt('let go of the user namespace', () => closeUserNamespace(engine, container));
  await attempt('unmount parts of volumes', () => {
    if (container.document.mounts.some(({ subpath }) => subpath !== '')) {
      unbindSubpaths(engine, container);
    }
  });
  await attempt('release the volumes', () => engine.volumes.release(id));
}

/** Starts the container again after a while, unless someone is faster. */
export function scheduleRestart(
  engine: Engine,
  container: Container,
  delayMs: number,
  startAgain: StartAgain,
): void {
  const control = new AbortController();
  container.restart = control;
  engine.tasks.spawn(`restart ${container.id}`, async (signal) => {
    const either = AbortSignal.any([signal, control.signal]);
    try {
      await engine.clock.sleep(delayMs, { signal: either, unref: true });
    } catch (error) {
      if (either.aborted) return;
      throw error;
    }
    await engine.locks.run(lockOf(container), async () => {
      if (control.signal.aborted || container.removing) return;
      const restartCount = container.kept.restartCount + 1;
      container.kept = { ...container.kept, restartCount };
      await startAgain(engine, container, { by: 'policy', delayMs });
    });
  });
}
