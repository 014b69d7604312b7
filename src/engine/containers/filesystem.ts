import { closeSync, constants, openSync } from 'node:fs';
import { errnoOf, isEngineError, notFound, notImplemented } from '../../base/errors.ts';
import { INIT_DESTINATION } from '../../policy/runtime-spec-mounts.ts';
import type { UserRemap } from '../../policy/user-remap.ts';
import { MISSING, type TreeDiffInput, type TreeView } from '../../worker/tree-protocol.ts';
import type { Engine } from '../engine.ts';
import { type Container, lockOf, type Run } from './container.ts';
import { shownUsers } from './remap.ts';

/** Access to a container's files from outside, whether it runs or not. */

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;

/** A descriptor of this process, for others to open. */
function pathOf(fd: number): string {
  return `/proc/${process.pid}/fd/${fd}`;
}

/**
 * Runs `body` with the container's filesystem as its processes see it, volumes included. One that
 * does not run is mounted for the time, and cannot be started meanwhile.
 */
export async function withView<T>(
  engine: Engine,
  container: Container,
  body: (view: TreeView) => Promise<T>,
): Promise<T> {
  const seen = await whileRunning(container, body);
  if (seen !== undefined) return seen.value;
  return await engine.locks.run(lockOf(container), async () => {
    const again = await whileRunning(container, body);
    if (again !== undefined) return again.value;
    return await whileMounted(engine, container, async (merged) => {
      const { id, document } = container;
      try {
        const sources = await engine.volumes.prepare(id, document.mounts, merged);
        const binds = document.mounts
          .map((mount, i) => ({
            source: sources[i] ?? '',
            destination: mount.destination,
            readOnly: !mount.readWrite,
          }))
          .filter(({ source }) => source !== '')
          .toSorted((a, b) => a.destination.length - b.destination.length);
        return await body({ root: merged, binds });
      } finally {
        await engine.volumes.release(id);
      }
    });
  });
}

/** Runs `body` with the root of the container's process; undefined when it has none (any more). */
async function whileRunning<T>(
  container: Container,
  body: (view: TreeView) => Promise<T>,
): Promise<{ readonly value: T } | undefined> {
  const { run } = container;
  if (run === undefined) return undefined;
  const root = openRoot(run);
  if (root === undefined) {
    await run.over.promise;
    return undefined;
  }
  try {
    const view = {
      root: pathOf(root),
      binds: [],
      users: shownUsers(container),
    };
    return { value: await body(view) };
  } finally {
    closeSync(root);
  }
}

/**
 * The root of a run, held by a descriptor: the number of a process that ends meanwhile may be given
 * to one of the host's, and its root is the host's. Undefined when the process has ended.
 */
function openRoot({ pid, process: handle }: Run): number | undefined {
  let fd: number;
  try {
    fd = openSync(`/proc/${pid}/root`, DIRECTORY);
  } catch (error) {
    // ESRCH, and ENOENT of one that nobody has waited for yet.
    if (['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '')) return undefined;
    throw error;
  }
  if (handle.signal(0)) return fd;
  closeSync(fd);
  return undefined;
}

/** Runs `body` with the container's root alone, without its volumes. */
export async function withRoot<T>(
  engine: Engine,
  container: Container,
  body: (merged: string, users: UserRemap | undefined) => Promise<T>,
): Promise<T> {
  if (container.run !== undefined) {
    const users = shownUsers(container);
    // Held, because it is unmounted when the run ends: what is read then must not look empty.
    const root = openSync(engine.layers.mountPointOf(container.id), DIRECTORY);
    try {
      return await body(pathOf(root), users);
    } finally {
      closeSync(root);
    }
  }
  return await engine.locks.run(lockOf(container), () =>
    whileMounted(engine, container, (merged) => body(merged, undefined)),
  );
}

async function whileMounted<T>(
  engine: Engine,
  container: Container,
  body: (merged: string) => Promise<T>,
): Promise<T> {
  await container.cleanup;
  const { merged } = await engine.layers.mountRootfs(container.id, container.document.layers);
  try {
    return await body(merged);
  } finally {
    if (container.run === undefined) await engine.layers.unmountRootfs(container.id);
  }
}

/** What the engine and the runtime put into a root, and is nobody's change. */
const OURS = [
  '/.dockerenv',
  '/dev',
  '/proc',
  '/sys',
  '/etc/hosts',
  '/etc/hostname',
  '/etc/resolv.conf',
  INIT_DESTINATION,
];

/** Runs `body` with where the container's changes are. @throws notImplemented for a driver without layers */
export async function withDiff<T>(
  engine: Engine,
  container: Container,
  body: (input: TreeDiffInput) => Promise<T>,
): Promise<T> {
  if (engine.layers.driver !== 'overlay2') {
    throw notImplemented(
      `changes of a container cannot be told with the storage driver ${engine.layers.driver}: use overlay2`,
    );
  }
  const { upper, lower, data } = engine.layers.rootfsPaths(container.id, container.document.layers);
  return await withRoot(engine, container, (merged, users) =>
    body({ upper, lower, data, merged, users, ignored: OURS }),
  );
}

/** A worker's "not there" in Docker's words; other errors as they are. */
export function inDockersWords(error: unknown, reference: string): unknown {
  const missing = isEngineError(error, 'notFound') ? error.detail[MISSING] : undefined;
  if (missing === undefined) return error;
  return notFound(`Could not find the file ${missing} in container ${reference}`, { cause: error });
}
