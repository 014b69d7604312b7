import path from 'node:path';
import { deferred, Latch } from '../../base/async.ts';
import { ageFrom, formatTimeNs } from '../../base/clock.ts';
import {
  conflict,
  EngineError,
  internal,
  invalidArgument,
  messageOf,
  notModified,
} from '../../base/errors.ts';
import { Undo } from '../../base/undo.ts';
import { openProcess } from '../../kernel/process-handle.ts';
import type { Shim } from '../../kernel/shim.ts';
import { explainStartFailure } from '../../policy/runtime-errors.ts';
import type { Engine } from '../engine.ts';
import { type Container, lockOf, type Run, type StartCause } from './container.ts';
import { superviseRun } from './end.ts';
import { DEFAULT_STOP_SEC, endRun, stopSignalOf } from './end-run.ts';
import { containerEvent } from './events.ts';
import { watchHealth } from './health-monitor.ts';
import { saveState } from './persistence.ts';
import { prepareRun } from './prepare-run.ts';
import { removeContainer } from './remove-container.ts';
import { removeRuntimeState, runtimeOf } from './runtime.ts';

/** What is stored of a start that failed, beside the error that the caller gets. */
class StartError extends EngineError {
  readonly exitCode: number;

  constructor(exitCode: number, error: EngineError) {
    super(error.kind, error.message, { cause: error.cause, detail: error.detail });
    this.exitCode = exitCode;
  }
}

/**
 * Starts a container; the caller holds its lock. Resolves when its process runs.
 * @throws notModified when it runs; conflict when it is paused or being removed; what kept it from
 *   starting, which is also stored in its state
 */
export async function startContainer(
  engine: Engine,
  container: Container,
  cause: StartCause,
): Promise<void> {
  checkStartable(container);
  // Until it runs a container that its policy restarts is shown as restarting.
  const counted = container.isRunning;
  if (cause.by === 'user') cancelRestart(container);
  const starting = start(engine, container, cause, counted).finally(() => {
    container.restart = undefined;
    container.starting = undefined;
  });
  container.starting = starting;
  await starting;
}

/** From here on the container runs; until now it had the exit code of the run before. */
export function setRun(container: Container, run: Run): void {
  container.run = run;
  container.kept = { ...container.kept, exitCode: 0 };
}

function cancelRestart(container: Container): void {
  container.restart?.abort();
  container.restart = undefined;
}

async function start(
  engine: Engine,
  container: Container,
  cause: StartCause,
  counted: boolean,
): Promise<void> {
  await container.cleanup;
  const undo = new Undo();
  try {
    const run = await launch(engine, container, cause, undo);
    undo.release();
    container.restart = undefined;
    setRun(container, run);
    superviseRun(engine, container, run, startContainer);
    watchRunHealth(engine, container, run);
    containerEvent(engine, container, 'start');
  } catch (error) {
    await undo.run((cause) =>
      engine.log.error('cannot clean up after a failed start', {
        container: container.id,
        error: messageOf(cause),
      }),
    );
    container.restart = undefined;
    await recordFailure(engine, container, error, { counted });
    throw error;
  }
}

/** Probes the container's health while the run lasts, if it has a healthcheck. */
export function watchRunHealth(engine: Engine, container: Container, run: Run): void {
  watchHealth(engine, container, run, () => restartUnhealthy(engine, container, run));
}

/** Ends a run whose container is unhealthy, and starts it again. */
async function restartUnhealthy(engine: Engine, container: Container, run: Run): Promise<void> {
  await engine.locks.run(lockOf(container), async () => {
    if (container.run !== run) return;
    const timeoutSec = container.document.config.StopTimeout ?? DEFAULT_STOP_SEC;
    run.startsAgain = true;
    await endRun(engine, container, run, { signal: stopSignalOf(container), timeoutSec });
    await startContainer(engine, container, { by: 'user' });
    containerEvent(engine, container, 'restart');
  });
}

function checkStartable(container: Container): void {
  if (container.run !== undefined) {
    if (container.run.paused) {
      throw conflict('cannot start a paused container, try unpause instead');
    }
    throw notModified(`container ${container.id} is already running`);
  }
  if (container.removing || container.dead) {
    throw conflict('container is marked for removal and cannot be started');
  }
}

async function launch(
  engine: Engine,
  container: Container,
  cause: StartCause,
  undo: Undo,
): Promise<Run> {
  using held = new DisposableStack();
  const spec = await prepareRun(engine, container, { undo, held });
  undo.defer(() => removeRuntimeState(engine, container));
  undo.defer(() => engine.runtimeCache.failed(container.id));
  const shim = await engine.shims.launch(spec);
  undo.defer(() => shim.detach());
  await connectEarlyClients(container, shim);
  markStarted(engine, container, cause);
  const { pid } = await startProcess(engine, container, shim);
  const { root } = runtimeOf(engine, container);
  engine.runtimeCache.started(container.id, path.join(root, container.id));
  return {
    pid,
    process: openProcess(engine.sys, pid),
    shim,
    ageMs: ageFrom(engine.clock, 0),
    delayMs: cause.by === 'policy' ? cause.delayMs : 0,
    paused: false,
    stopAsked: false,
    startsAgain: false,
    over: deferred<void>(),
  };
}

/** Clients that attached before now get their connection, so that they miss nothing. */
async function connectEarlyClients(container: Container, shim: Shim): Promise<void> {
  for (const client of container.earlyClients) {
    // One that leaves meanwhile is not in the set any more, and its connection is of no use.
    const socket = await shim.attach(client.streams);
    if (container.earlyClients.delete(client)) client.connect(socket);
    else socket.destroy();
  }
}

/**
 * The mark is written before the process runs: whatever happens then, the next daemon knows that
 * the container was started. A start by policy changes nothing that a reboot must know.
 */
function markStarted(engine: Engine, container: Container, cause: StartCause): void {
  const isUser = cause.by === 'user';
  const change = {
    startedAt: formatTimeNs(engine.clock.nowNs()),
    error: '',
    oomKilled: false,
    shimDied: false,
    running: true,
    begun: true,
    ...(isUser ? { restartCount: 0, stoppedByUser: false } : {}),
  };
  saveState(engine, container, change, { durable: isUser });
}

async function startProcess(
  engine: Engine,
  container: Container,
  shim: Shim,
): Promise<{ readonly pid: number }> {
  try {
    return await shim.start();
  } catch (cause) {
    const { path } = container.document;
    const { message, exitCode, isRefusal } = explainStartFailure(messageOf(cause), path);
    const runtime = runtimeOf(engine, container).path.split('/').at(-1) ?? '';
    const text = `failed to create task for container: failed to create shim task: OCI runtime create failed: ${runtime} create failed: ${message}: unknown`;
    const make = isRefusal ? invalidArgument : internal;
    throw new StartError(exitCode, make(text, { cause }));
  }
}

/**
 * Records that a start failed, and removes the container if it asks for that. Who waits for an exit
 * waits on, as with Docker, unless the container `counted` as running between two runs.
 */
export async function recordFailure(
  engine: Engine,
  container: Container,
  error: unknown,
  { counted }: { readonly counted: boolean },
): Promise<void> {
  const exitCode = error instanceof StartError ? error.exitCode : 128;
  const wasStarted = container.kept.finishedAt !== '';
  const change = {
    exitCode,
    error: messageOf(error),
    shimDied: false,
    running: false,
    begun: false,
    // Docker shows a container that never ran as created, with the code of its failure.
    ...(wasStarted ? {} : { startedAt: '' }),
  };
  try {
    saveState(engine, container, change, { durable: true });
  } catch (cause) {
    engine.log.error('cannot store why a container did not start', {
      container: container.id,
      error: messageOf(cause),
    });
  }
  if (counted) {
    const ending = container.ending;
    container.ending = new Latch();
    ending.open({ exitCode, error: messageOf(error) });
  }
  if (container.document.hostConfig.AutoRemove) {
    await removeContainer(engine, container, { removeVolumes: true });
  }
}
