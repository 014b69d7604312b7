import { conflict, invalidArgument, notImplemented } from '../../base/errors.ts';
import { parseSignal, SIGKILL } from '../../policy/signals.ts';
import type { ContainerWaitResult } from '../../spec/docker/container-view.ts';
import type { Call, Later } from '../call.ts';
import type { Engine } from '../engine.ts';
import { type Container, type Ending, lockOf } from './container.ts';
import { signalContainer, stopSignalOf } from './end-run.ts';
import { freeze, thaw } from './freeze.ts';
import { startContainer } from './start.ts';
import { restartContainer, stopContainer } from './stop.ts';

/** The calls of the API that start and end containers. Texts are Docker's. */

type ById<Query = object> = { readonly params: { readonly id: string }; readonly query: Query };

/** @throws notModified when it runs already */
export async function containerStart(
  engine: Engine,
  args: ById<{ readonly checkpoint: string }>,
): Promise<void> {
  const container = engine.containers.get(args.params.id);
  if (args.query.checkpoint !== '') {
    throw notImplemented('checkpoints are not supported: start the container without one');
  }
  await engine.locks.run(lockOf(container), () =>
    startContainer(engine, container, { by: 'user' }),
  );
}

type StopQuery = { readonly signal: string; readonly t: number | undefined };

/** @throws notModified when it does not run */
export async function containerStop(engine: Engine, args: ById<StopQuery>): Promise<void> {
  const container = engine.containers.get(args.params.id);
  const { signal, t } = args.query;
  await stopContainer(engine, container, { signal, timeoutSec: t });
}

export async function containerRestart(engine: Engine, args: ById<StopQuery>): Promise<void> {
  const container = engine.containers.get(args.params.id);
  const { signal, t } = args.query;
  await restartContainer(engine, container, { signal, timeoutSec: t });
}

/** Signals that a user sends to have a container gone, whatever its stop signal. */
const ENDING = new Set([2, 3, 6, SIGKILL, 15]);

/** @throws conflict when it does not run */
export async function containerKill(
  engine: Engine,
  args: ById<{ readonly signal: string }>,
): Promise<void> {
  const container = engine.containers.get(args.params.id);
  const signal = args.query.signal === '' ? SIGKILL : parseSignal(args.query.signal);
  const { run } = container;
  if (run === undefined) {
    throw conflict(
      `cannot kill container: ${args.params.id}: container ${container.id} is not running`,
    );
  }
  if (ENDING.has(signal) || signal === stopSignalOf(container)) run.stopAsked = true;
  signalContainer(engine, container, signal);
  if (run.paused && signal === SIGKILL) await thaw(engine, container, run);
  // Docker answers after a SIGKILL when the container has ended.
  if (signal === SIGKILL) await run.over.promise;
}

export async function containerPause(engine: Engine, args: ById): Promise<void> {
  const container = engine.containers.get(args.params.id);
  await engine.locks.run(lockOf(container), () => freeze(engine, container));
}

export async function containerUnpause(engine: Engine, args: ById): Promise<void> {
  const container = engine.containers.get(args.params.id);
  await engine.locks.run(lockOf(container), async () => {
    const { run } = container;
    if (run?.paused !== true) throw conflict(`Container ${container.id} is not paused`);
    await thaw(engine, container, run);
  });
}

/** Resolves with the exit code when the condition holds. @throws invalidArgument, notFound */
export async function containerWait(
  engine: Engine,
  args: ById<{ readonly condition: string }>,
  call: Call,
): Promise<Later<ContainerWaitResult>> {
  const container = engine.containers.get(args.params.id);
  const answer = waitFor(container, args.query.condition, call.signal).then(
    ({ exitCode, error }) => ({
      StatusCode: exitCode,
      ...(error === '' ? {} : { Error: { Message: error } }),
    }),
  );
  return { answer };
}

function waitFor(container: Container, condition: string, signal: AbortSignal): Promise<Ending> {
  switch (condition) {
    case '':
    case 'not-running':
      if (container.isRunning) return container.ending.wait(signal);
      return Promise.resolve({ exitCode: container.kept.exitCode, error: container.kept.error });
    case 'next-exit':
      return container.ending.wait(signal);
    case 'removed':
      return container.removed.wait(signal);
    default:
      throw invalidArgument(`invalid condition: "${condition}"`);
  }
}
