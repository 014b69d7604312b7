import { lstatSync, readdirSync } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { setImmediate } from 'node:timers/promises';
import { errnoOf } from '../base/errors.ts';
import { type LayerStoreContext, mountedLayers, OBJECTS_LOCK } from './layers/catalog.ts';
import { layerTable } from './layers/layer-table.ts';
import { findUnusedObjects } from './layers/objects.ts';

/** A folder of the data root that nothing names. */
export type Orphan = { readonly path: string; readonly kind: 'staging' | 'layer' | 'container' };

/** A folder of `objects/` with shared contents that no layer uses, and what these take. */
export type OrphanedObjects = { readonly path: string; readonly bytes: number };

/** Shared contents that nothing uses. Those of a layer that is being removed go in a moment. */
export async function findOrphanedObjects(
  { sys, dataRoot, locks }: Pick<LayerStoreContext, 'sys' | 'dataRoot' | 'locks'>,
  options: { readonly isOld: (place: string) => boolean; readonly signal: AbortSignal },
): Promise<OrphanedObjects[]> {
  const { isOld, signal } = options;
  const unused = await locks.run(OBJECTS_LOCK, () =>
    findUnusedObjects({ sys, ...dataRoot }, signal),
  );
  const found: OrphanedObjects[] = [];
  for (const { group, trees, files } of unused) {
    const place = path.join(dataRoot.objects, group);
    if (!isOld(place)) continue;
    const all = [...files];
    for (const tree of trees) for (const file of await namesBelow(tree)) all.push(file);
    let bytes = 0;
    for (const [i, file] of all.entries()) {
      if (i % SLICE_FILES === 0) {
        await setImmediate();
        signal.throwIfAborted();
      }
      bytes += ownBytes(file);
    }
    found.push({ path: place, bytes });
  }
  return found;
}

/** Looked at without a pause. */
const SLICE_FILES = 64;

/** Absolute; none of a tree that goes meanwhile. */
async function namesBelow(tree: string): Promise<string[]> {
  try {
    const names = await readdir(tree, { recursive: true });
    return names.map((name) => path.join(tree, name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** What goes with a name: nothing while the file has others. */
function ownBytes(file: string): number {
  const stats = lstatSync(file, { throwIfNoEntry: false });
  return stats?.isFile() === true && stats.nlink === 1 ? stats.size : 0;
}

/**
 * What lies in the data root without a row. While the engine runs there should be none: what
 * `isUnderWay` is about to get its row, or to lose its folder, and what is named `gone-…` is being
 * deleted.
 */
export function findOrphans(
  context: Pick<LayerStoreContext, 'database' | 'dataRoot'>,
  options: {
    readonly isUnderWay: (folder: string) => boolean;
    readonly isOld: (folder: string) => boolean;
  },
): Orphan[] {
  const { dataRoot } = context;
  const { isUnderWay, isOld } = options;
  const layers = new Set([...mountedLayers(), ...dirsOfLayers(context)]);
  const containers = idsOfContainers(context);
  const found: Orphan[] = [
    ...entries(dataRoot.staging)
      .filter((folder) => !isGoing(folder))
      .map((folder) => ({ path: folder, kind: 'staging' }) as const),
    ...entries(dataRoot.layers)
      .filter((folder) => !layers.has(path.basename(folder)))
      .map((folder) => ({ path: folder, kind: 'layer' }) as const),
    ...entries(dataRoot.containers)
      .filter((folder) => !containers.has(path.basename(folder)))
      .map((folder) => ({ path: folder, kind: 'container' }) as const),
  ];
  return found.filter((each) => !isUnderWay(each.path) && isOld(each.path));
}

/**
 * Whether a folder has been where it is for so long, as far as clocks can tell: what is from the
 * future is from before a jump, and may be of any age. A rename counts as birth: that is how layers
 * come. What has gone meanwhile is no longer there to be old.
 */
export function isOlderThan(ageMs: number, nowMs: number): (place: string) => boolean {
  return (place) => {
    const bornMs = lstatSync(place, { throwIfNoEntry: false })?.ctimeMs;
    return bornMs !== undefined && (bornMs <= nowMs - ageMs || bornMs > nowMs + CLOCK_STEP_MS);
  };
}

/** The filesystem's clock may be a tick away from ours. */
const CLOCK_STEP_MS = 1000;

/** A folder of staging that is being deleted. */
export function isGoing(folder: string): boolean {
  return path.basename(folder).startsWith('gone-');
}

/** Entries of a folder, absolute; none when it is not there. */
export function entries(folder: string): string[] {
  try {
    return readdirSync(folder).map((name) => path.join(folder, name));
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Folders of the layers that have a row. */
export function dirsOfLayers({ database }: Pick<LayerStoreContext, 'database'>): string[] {
  return layerTable(database)
    .list()
    .map(({ dir }) => dir);
}

/** IDs of the containers that have a row. */
export function idsOfContainers({ database }: Pick<LayerStoreContext, 'database'>): Set<string> {
  return new Set(
    database
      .sql('SELECT id FROM containers')
      .all()
      .map((row) => String(row['id'])),
  );
}
