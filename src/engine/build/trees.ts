import { closeSync, constants, openSync, rmSync } from 'node:fs';
import type { DiffId } from '../../base/digest.ts';
import { type ContainerId, newId } from '../../base/id.ts';
import type { TreeDiffInput } from '../../worker/tree-protocol.ts';
import { containerPaths } from '../containers/paths.ts';
import type { Engine } from '../engine.ts';

const DIRECTORY = constants.O_RDONLY | constants.O_DIRECTORY;

/** Runs `body` with the files of an image and a writable layer upon them, for which no container is made. */
export async function withTree<T>(
  engine: Engine,
  diffIds: readonly DiffId[],
  body: (tree: TreeDiffInput) => Promise<T>,
): Promise<T> {
  const { layers, random } = engine;
  const id = newId(random) as ContainerId;
  using _held = layers.hold(diffIds);
  using _claimed = engine.builds.claimTree(id);
  await layers.createRootfs(id, diffIds);
  try {
    const { upper, lower, data, merged } = await layers.mountRootfs(id, diffIds);
    const isCopy = layers.driver === 'vfs';
    return await withPlace(merged, (place) =>
      body({ upper, isCopy, lower, data, merged: place, ignored: [] }),
    );
  } finally {
    await layers.removeRootfs(id);
    const paths = containerPaths(engine, id);
    for (const folder of [paths.run, paths.data]) rmSync(folder, { recursive: true, force: true });
  }
}

/** A mount as the worker gets at it, whose mount namespace may be older than the mount. */
export async function withPlace<T>(
  mounted: string,
  body: (place: string) => Promise<T>,
): Promise<T> {
  const fd = openSync(mounted, DIRECTORY);
  try {
    return await body(`/proc/${process.pid}/fd/${fd}`);
  } finally {
    closeSync(fd);
  }
}
