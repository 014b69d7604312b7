import { lstatSync, renameSync } from 'node:fs';
import path from 'node:path';
import type { ImageId } from '../base/digest.ts';
import { errnoOf } from '../base/errors.ts';
import { unmountIfMounted } from '../kernel/mount.ts';
import { removeTree } from '../kernel/remove-tree.ts';
import type { LayerStore } from './layer-store.ts';
import { type LayerStoreContext, mountedLayers } from './layers/catalog.ts';
import { hideImage } from './layers/layer-images.ts';
import { layerTable } from './layers/layer-table.ts';
import { keepPartials, stalePartials } from './layers/partials.ts';
import { dirsOfLayers, entries, idsOfContainers, isGoing } from './orphans.ts';

/**
 * Puts the data root in order at start, before anything else uses it. A power cut or a crash leaves
 * content without a row (an operation that did not come to its end) or, when somebody tampered or
 * the filesystem lost something, a row without content. The first is deleted, the second is named
 * in the log and its row dropped, so that the next pull fetches it again instead of answering that
 * all is there.
 *
 * Deletion goes on in the background; what is in the way is moved aside at once.
 */
export function recoverStore(
  context: LayerStoreContext,
  store: Pick<LayerStore, 'trimContents'>,
): void {
  const { sys, dataRoot, tasks, log, clock } = context;
  dropDamagedLayers(context);
  for (const operation of entries(dataRoot.staging)) {
    // What is being deleted has names of an image's or a container's, and nothing to go on with.
    if (!isGoing(operation)) keepPartials(dataRoot, operation);
  }
  for (const stale of stalePartials(dataRoot, clock.nowMs())) {
    renameSync(stale, path.join(dataRoot.staging, `gone-${path.basename(stale)}`));
  }
  // Out of sight at once: nothing may share the contents of a layer that goes.
  for (const folder of layersWithoutRow(context)) {
    hideImage(sys, folder);
    renameSync(folder, path.join(dataRoot.staging, `gone-${path.basename(folder)}`));
  }
  const garbage = [...entries(dataRoot.staging), ...containersWithoutRow(context)];
  if (garbage.length > 0) {
    log.info('removing what an interrupted operation left', { entries: garbage.length });
  }
  tasks.spawn('recovery', async (signal) => {
    for (const tree of garbage) await removeTree(sys, tree, { signal });
    store.trimContents();
  });
}

function layersWithoutRow(context: LayerStoreContext): string[] {
  // A damaged layer that was repaired under a running container is mounted and stays.
  const known = new Set([...dirsOfLayers(context), ...mountedLayers()]);
  return entries(context.dataRoot.layers).filter((folder) => !known.has(path.basename(folder)));
}

function containersWithoutRow(context: LayerStoreContext): string[] {
  const { sys, database, dataRoot, execRoot } = context;
  const known = idsOfContainers(context);
  database
    .sql('DELETE FROM rootfs_layers WHERE container_id NOT IN (SELECT id FROM containers)')
    .run();
  const left = entries(dataRoot.containers).filter((folder) => !known.has(path.basename(folder)));
  for (const folder of left) {
    unmountIfMounted(sys, path.join(execRoot.containers, path.basename(folder), 'rootfs'));
    unmountIfMounted(sys, path.join(folder, 'rootfs'));
  }
  return left;
}

function dropDamagedLayers({ database, dataRoot, log }: LayerStoreContext): void {
  const { sql } = database;
  const damaged = layerTable(database)
    .list()
    .filter(({ dir }) => !isWhole(path.join(dataRoot.layers, dir)));
  for (const { diffId } of damaged) {
    const images = sql('SELECT DISTINCT image_id FROM image_layers WHERE diff_id = ?')
      .all(diffId)
      .map((row) => row['image_id'] as ImageId);
    database.transaction(() => {
      for (const image of images) {
        const tags = sql('SELECT repository, tag FROM tags WHERE image_id = ?')
          .all(image)
          .map((row) => `${row['repository']}:${row['tag']}`);
        log.error('dropped an image that lost a layer: pull it again', {
          image,
          tags: tags.join(' '),
          layer: diffId,
        });
        sql('DELETE FROM images WHERE id = ?').run(image);
      }
      const containers = sql('SELECT container_id FROM rootfs_layers WHERE diff_id = ?').all(
        diffId,
      );
      for (const { container_id: container } of containers) {
        log.error('a container lost a layer: it starts again when its image is pulled', {
          container: String(container),
          layer: diffId,
        });
      }
      sql('DELETE FROM rootfs_layers WHERE diff_id = ?').run(diffId);
      sql('DELETE FROM layers WHERE diff_id = ?').run(diffId);
    });
  }
}

function isWhole(folder: string): boolean {
  return ['diff', 'headers'].every((name) => isThere(path.join(folder, name)));
}

/** False when it is gone; what cannot be looked at for another reason may be there the next time. */
function isThere(file: string): boolean {
  try {
    lstatSync(file);
    return true;
  } catch (error) {
    return !['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '');
  }
}
