import { lstatSync, readdirSync } from 'node:fs';
import path from 'node:path';
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
  options: { readonly bornBeforeMs: number; readonly signal: AbortSignal },
): Promise<OrphanedObjects[]> {
  const { signal } = options;
  const unused = await locks.run(OBJECTS_LOCK, () =>
    findUnusedObjects({ sys, ...dataRoot }, signal),
  );
  return unused
    .map(({ group, files }) => ({
      path: path.join(dataRoot.objects, group),
      bytes: files.reduce((sum, file) => sum + ownBytes(file), 0),
    }))
    .filter((each) => bornMs(each.path) <= options.bornBeforeMs);
}

/** What goes with a name: nothing while the file has others. */
function ownBytes(file: string): number {
  const stats = lstatSync(file, { throwIfNoEntry: false });
  return stats === undefined || stats.nlink > 1 ? 0 : stats.size;
}

/**
 * What lies in the data root without a row. While the engine runs there should be none: what is
 * young may be about to get its row, and what is named `gone-…` is being deleted.
 */
export function findOrphans(
  context: Pick<LayerStoreContext, 'database' | 'dataRoot'>,
  options: { readonly isActive: (staged: string) => boolean; readonly bornBeforeMs: number },
): Orphan[] {
  const { dataRoot } = context;
  const layers = new Set([...mountedLayers(), ...dirsOfLayers(context)]);
  const containers = idsOfContainers(context);
  const found: Orphan[] = [
    ...entries(dataRoot.staging)
      .filter((folder) => !options.isActive(folder) && !isGoing(folder))
      .map((folder) => ({ path: folder, kind: 'staging' }) as const),
    ...entries(dataRoot.layers)
      .filter((folder) => !layers.has(path.basename(folder)))
      .map((folder) => ({ path: folder, kind: 'layer' }) as const),
    ...entries(dataRoot.containers)
      .filter((folder) => !containers.has(path.basename(folder)))
      .map((folder) => ({ path: folder, kind: 'container' }) as const),
  ];
  return found.filter((each) => bornMs(each.path) <= options.bornBeforeMs);
}

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

/** A rename counts as birth: that is how layers come. Gone meanwhile: never. */
function bornMs(place: string): number {
  return lstatSync(place, { throwIfNoEntry: false })?.ctimeMs ?? Number.POSITIVE_INFINITY;
}
