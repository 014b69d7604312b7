import { readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import { deferred } from '../../base/async.ts';
import { ageFrom } from '../../base/clock.ts';
import { messageOf, unavailable } from '../../base/errors.ts';
import type { ContainerId } from '../../base/id.ts';
import { isFrozen } from '../../kernel/cgroup.ts';
import { MNT } from '../../kernel/constants.ts';
import { readMountInfo } from '../../kernel/mountinfo.ts';
import { openProcess } from '../../kernel/process-handle.ts';
import type { Shim } from '../../kernel/shim.ts';
import { restartDelayMs, startsWithDaemon } from '../../policy/restart.ts';
import type { ContainerRow } from '../../store/documents.ts';
import type { Engine } from '../engine.ts';
import { restoreExecs } from '../execs/exec-restore.ts';
import { Container, lockOf } from './container.ts';
import { decodeDocument, decodeKeptState } from './document.ts';
import {
  type End,
  endWithoutShim,
  recordEnd,
  scheduleRestart,
  superviseRun,
  takeDown,
  UNKNOWN_EXIT_CODE,
  unseenEnd,
} from './end.ts';
import { networkClientOf } from './network-client.ts';
import { containerPaths } from './paths.ts';
import { readState } from './persistence.ts';
import { removeContainer } from './remove-container.ts';
import { cgroupOf } from './runtime.ts';
import { recordFailure, setRun, startContainer, watchRunHealth } from './start.ts';

/** A container as its records have it. */
type Read = {
  readonly container: Container;
  /** The exec root knows it: the host has not gone down since. */
  readonly isSameBoot: boolean;
  /** It ran when its row was last written. */
  readonly wasRunning: boolean;
};

/** What the daemon found of a container that is in the database. */
type Found =
  | {
      readonly kind: 'running';
      readonly shim: Shim;
      readonly pid: number;
      readonly ageMs: () => number;
    }
  /** It ended while no daemon was there, or its shim did, and took it along. */
  | { readonly kind: 'ended'; readonly end: End }
  /** The daemon died while it started it: nothing has run. */
  | { readonly kind: 'unstarted' }
  /** It ran when the host went down. */
  | { readonly kind: 'rebooted' }
  | { readonly kind: 'idle'; readonly hasMounts: boolean };

/**
 * Takes the containers of earlier daemons over, in the order: read them, find their shims, give
 * volumes and networks theirs, act on what ended meanwhile, and (in the background) start what is to
 * start with the daemon.
 */
export async function restoreContainers(engine: Engine): Promise<void> {
  const all: Read[] = [];
  const mountPoints = mountPointsBelow(engine.execRoot.containers);
  for (const row of engine.store.containers.list()) {
    const read = readContainer(engine, row);
    if (read === undefined) continue;
    engine.containers.add(read.container);
    engine.layers.adoptRootfs(row.id, read.container.document.layers);
    all.push(read);
  }
  // At once, so that runtimes which hang are waited for together.
  const found = await Promise.all(
    all.map(async (read) => ({ ...read, state: await look(engine, read, mountPoints) })),
  );
  for (const { container, state } of found) {
    engine.volumes.adopt(container.id, container.document.mounts, state.kind === 'running');
  }
  const running = found.filter(({ state }) => state.kind === 'running');
  await engine.networks.restore(running.map(({ container }) => networkClientOf(container)));
  for (const { container, state } of found) takeOver(engine, container, state);
  for (const { container } of found) await restoreExecs(engine, container);
  dropLeftovers(engine);
  startWithDaemon(
    engine,
    found.filter(({ container, wasRunning }) => isToStart(container, wasRunning)),
  );
}

/** Undefined, with a line in the log, for a record that cannot be read: it stays for a newer version. */
function readContainer(engine: Engine, row: ContainerRow): Read | undefined {
  try {
    const stored = decodeKeptState(row.state);
    const newer = readState(engine, row.id);
    const container = new Container({
      id: row.id as ContainerId,
      name: row.name,
      document: decodeDocument(row.document),
      kept: newer ?? stored,
    });
    return { container, isSameBoot: newer !== undefined, wasRunning: stored.running };
  } catch (error) {
    engine.log.error('cannot read the record of a container', {
      container: row.id,
      error: messageOf(error),
    });
    return undefined;
  }
}

async function look(
  engine: Engine,
  { container, isSameBoot }: Read,
  mountPoints: readonly string[],
): Promise<Found> {
  if (!container.kept.running) {
    const { run } = containerPaths(engine, container.id);
    return { kind: 'idle', hasMounts: mountPoints.some((each) => each.startsWith(`${run}/`)) };
  }
  if (!isSameBoot) return { kind: 'rebooted' };
  const found = await engine.shims.reconnect(containerPaths(engine, container.id).shim);
  if (found.state === 'lost')
    return { kind: 'ended', end: await endWithoutShim(engine, container, 0) };
  if (found.state === 'unstarted') return { kind: 'unstarted' };
  if (found.state === 'exited') return { kind: 'ended', end: { ...found.status, error: '' } };
  const { shim, pid, ranNs } = found;
  // From now on: another's shim may take its time to answer.
  return { kind: 'running', shim, pid, ageMs: ageFrom(engine.clock, Number(ranNs / 1_000_000n)) };
}

function takeOver(engine: Engine, container: Container, state: Found): void {
  switch (state.kind) {
    case 'running':
      resume(engine, container, state);
      return;
    case 'ended':
      endMeanwhile(engine, container, state.end);
      return;
    case 'unstarted':
      forgetStart(engine, container);
      return;
    case 'rebooted':
      // Its end was the host's. Whether it starts again is up to `startsWithDaemon`.
      endMeanwhile(engine, container, unseenEnd(engine, 0), { afterReboot: true });
      return;
    case 'idle':
      // The daemon died while it prepared a start, or took a run's remains away.
      if (state.hasMounts) container.cleanup = takeDown(engine, container);
      removeIfAsked(engine, container);
  }
}

function resume(
  engine: Engine,
  container: Container,
  { shim, pid, ageMs }: Extract<Found, { kind: 'running' }>,
): void {
  const run = {
    pid,
    process: openProcess(engine.sys, pid),
    shim,
    ageMs,
    delayMs: 0,
    paused: isFrozen(engine.host.cgroups, cgroupOf(engine, container).folder),
    stopAsked: container.kept.stoppedByUser,
    startsAgain: false,
    over: deferred<void>(),
  };
  setRun(container, run);
  superviseRun(engine, container, run, startContainer);
  watchRunHealth(engine, container, run);
}

/** The daemon died while it started a container: a start of its policy's is made again. */
function forgetStart(engine: Engine, container: Container): void {
  container.cleanup = takeDown(engine, container);
  const { restartCount, stoppedByUser, exitCode, begun } = container.kept;
  // It died before or after it had written that, and for which time, it starts.
  const restarts = begun ? restartCount - 1 : restartCount;
  const delayMs = restartDelayMs({
    policy: container.document.hostConfig.RestartPolicy,
    exitCode: begun ? UNKNOWN_EXIT_CODE : exitCode,
    restartCount: restarts,
    stopAsked: stoppedByUser,
    ranMs: 0,
    lastDelayMs: 0,
  });
  if (restarts >= 0 && delayMs !== undefined) {
    container.kept = { ...container.kept, restartCount: restarts };
    scheduleRestart(engine, container, delayMs, startContainer);
    return;
  }
  engine.tasks.spawn(`forget the start of ${container.id}`, () =>
    recordFailure(engine, container, unavailable('the daemon died while it started it'), {
      counted: true,
    }),
  );
}

/** Acts on an end that no daemon saw, once. */
function endMeanwhile(
  engine: Engine,
  container: Container,
  end: End,
  options: { readonly afterReboot: boolean } = { afterReboot: false },
): void {
  recordEnd(engine, container, end, {
    // What a reboot ended is started by `startWithDaemon` or not at all.
    stopAsked: options.afterReboot || container.kept.stoppedByUser,
    keepsStopMark: options.afterReboot,
    startsAgain: false,
    delayMs: 0,
    startAgain: startContainer,
  });
}

/**
 * A `--rm` container that does not run: its daemon did not come to its removal, or to its start,
 * or a reboot ended it, which nothing was written for. Docker removes all of these.
 */
function removeIfAsked(engine: Engine, container: Container): void {
  if (!container.document.hostConfig.AutoRemove) return;
  engine.tasks.spawn(`remove ${container.id}`, () =>
    removeContainer(engine, container, { removeVolumes: true }),
  );
}

function isToStart(container: Container, wasRunning: boolean): boolean {
  if (container.isRunning || container.removing) return false;
  const { kept, document } = container;
  return startsWithDaemon({
    policy: document.hostConfig.RestartPolicy,
    exitCode: kept.exitCode,
    restartCount: kept.restartCount,
    wasRunning,
    stoppedByUser: kept.stoppedByUser,
    everStarted: kept.startedAt !== '',
  });
}

/** Starts containers one after the other; those that borrow another's namespace come last. */
function startWithDaemon(
  engine: Engine,
  found: readonly { readonly container: Container }[],
): void {
  const borrows = ({ document }: Container): boolean =>
    [
      document.hostConfig.NetworkMode,
      document.hostConfig.PidMode,
      document.hostConfig.IpcMode,
    ].some((mode) => mode.startsWith('container:'));
  const containers = found
    .map(({ container }) => container)
    .toSorted((a, b) => Number(borrows(a)) - Number(borrows(b)));
  if (containers.length === 0) return;
  engine.tasks.spawn('start containers', async (signal) => {
    for (const container of containers) {
      if (signal.aborted) return;
      try {
        await engine.locks.run(lockOf(container), async () => {
          if (container.isRunning || container.removing) return;
          await startContainer(engine, container, { by: 'user' });
        });
      } catch (error) {
        engine.log.error('cannot start a container with the daemon', {
          container: container.id,
          error: messageOf(error),
        });
      }
    }
  });
}

/** Folders and mounts of the exec root whose containers are not there any more. */
function dropLeftovers(engine: Engine): void {
  const { containers } = engine.execRoot;
  const known = new Set(engine.containers.list().map(({ id }): string => id));
  const left = readdirSync(containers).filter((name) => !known.has(name));
  if (left.length === 0) return;
  const folders = left.map((name) => path.join(containers, name));
  for (const mountPoint of mountPointsBelow(...folders).toReversed()) {
    engine.sys.umount(mountPoint, MNT.DETACH);
  }
  for (const folder of folders) rmSync(folder, { recursive: true, force: true });
}

/** In the order in which they were mounted. */
function mountPointsBelow(...folders: readonly string[]): string[] {
  return readMountInfo()
    .map(({ mountPoint }) => mountPoint)
    .filter((each) => folders.some((folder) => each.startsWith(`${folder}/`)));
}
