import { closeSync, constants, openSync } from 'node:fs';
import { errnoOf, isEngineError, notFound } from '../../base/errors.ts';
import { INIT_DESTINATION } from '../../policy/runtime-spec-mounts.ts';
import type { UserRemap } from '../../policy/user-remap.ts';
import { MISSING, type TreeDiffInput, type TreeView } from '../../worker/tree-protocol.ts';
import type { Engine } from '../engine.ts';
import { type Container, lockOf, type Run } from './container.ts';
import { shownUsers } from './remap.ts';
import { bindSubpaths, unbindSubpaths } from './subpaths.ts';

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
  return await whileItStays(engine, container, {
    whileRunning: {
      place: ({ pid }) => `/proc/${pid}/root`,
      body: (root, users) => body({ root, binds: [], users }),
    },
    whileMounted: async (merged) => {
      const { id, document } = container;
      try {
        const prepared = await engine.volumes.prepare(id, document.mounts, merged);
        const sources = bindSubpaths(engine, container, prepared);
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
        unbindSubpaths(engine, container);
        await engine.volumes.release(id);
      }
    },
  });
}

/** Runs `body` with the container's root alone, without its volumes. */
export async function withRoot<T>(
  engine: Engine,
  container: Container,
  body: (merged: string, users: UserRemap | undefined) => Promise<T>,
): Promise<T> {
  const place = engine.layers.mountPointOf(container.id);
  return await whileItStays(engine, container, {
    whileRunning: { place: () => place, body },
    whileMounted: (merged) => body(merged, undefined),
  });
}

type WhileRunning<T> = {
  /** Where its root is. */
  readonly place: (run: Run) => string;
  readonly body: (root: string, users: UserRemap | undefined) => Promise<T>;
};

/** The one for a container that runs, or the other while it is kept from being started. */
async function whileItStays<T>(
  engine: Engine,
  container: Container,
  how: {
    readonly whileRunning: WhileRunning<T>;
    readonly whileMounted: (merged: string) => Promise<T>;
  },
): Promise<T> {
  const seen = await whileRunning(container, how.whileRunning);
  if (seen !== undefined) return seen.value;
  return await engine.locks.run(lockOf(container), async () => {
    engine.containers.checkThere(container);
    const again = await whileRunning(container, how.whileRunning);
    return again === undefined
      ? await whileMounted(engine, container, how.whileMounted)
      : again.value;
  });
}

/** Undefined when there is no run (any more). */
async function whileRunning<T>(
  container: Container,
  { place, body }: WhileRunning<T>,
): Promise<{ readonly value: T } | undefined> {
  const { run } = container;
  if (run === undefined) return undefined;
  const held = hold(container, run, place(run));
  if (held === undefined) {
    await run.over.promise;
    return undefined;
  }
  try {
    return { value: await body(pathOf(held.root), held.users) };
  } finally {
    closeSync(held.root);
  }
}

/**
 * The root of a run, by a descriptor. When the run ends meanwhile, its root is unmounted and looks
 * empty, and the number of its process may be given to one of the host's, whose root is the host's.
 * Undefined when the process has ended.
 */
function hold(
  container: Container,
  run: Run,
  place: string,
): { readonly root: number; readonly users: UserRemap | undefined } | undefined {
  let root: number | undefined;
  try {
    root = openSync(place, DIRECTORY);
    const users = shownUsers(container);
    if (run.process.signal(0)) return { root, users };
  } catch (error) {
    // ESRCH, and ENOENT of one that nobody has waited for yet.
    if (!['ENOENT', 'ESRCH'].includes(errnoOf(error) ?? '')) {
      if (root !== undefined) closeSync(root);
      throw error;
    }
  }
  if (root !== undefined) closeSync(root);
  return undefined;
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

/** Runs `body` with where the container's changes are. */
export async function withDiff<T>(
  engine: Engine,
  container: Container,
  body: (input: TreeDiffInput) => Promise<T>,
): Promise<T> {
  const { upper, lower, data } = engine.layers.rootfsPaths(container.id, container.document.layers);
  const isCopy = engine.layers.driver === 'vfs';
  return await withRoot(engine, container, (merged, users) =>
    body({ upper, isCopy, lower, data, merged, users, ignored: OURS }),
  );
}

/** A worker's "not there" in Docker's words; other errors as they are. */
export function inDockersWords(error: unknown, reference: string): unknown {
  const missing = isEngineError(error, 'notFound') ? error.detail[MISSING] : undefined;
  if (missing === undefined) return error;
  return notFound(`Could not find the file ${missing} in container ${reference}`, { cause: error });
}
