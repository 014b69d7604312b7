import { chmodSync, chownSync, mkdirSync, rmSync, statSync } from 'node:fs';
import path from 'node:path';
import { mountOverlay, overlayParameters, unmountIfMounted } from '../../kernel/mount.ts';
import { isMountPoint } from '../../kernel/mountinfo.ts';
import { asFileOwner } from '../../kernel/user-namespace.ts';
import type { StorageOptions } from '../../policy/storage-options.ts';
import type { LayerStore, RootfsPaths } from '../layer-store.ts';
import { bootRootfs } from './boot-rootfs.ts';
import {
  type LayerStoreContext,
  layerCatalog,
  makeContainerFolders,
  removeEmptyFolder,
} from './catalog.ts';
import { containerQuota } from './container-quota.ts';
import { hasImage } from './layer-images.ts';
import { isStub } from './objects.ts';
import { treeSize } from './tree-size.ts';

/**
 * Layers as they are on disk, stacked by overlayfs: a container costs two empty folders. The inode
 * index stays off, as in Docker, so that lower layers can be shared by any number of mounts.
 *
 * With metacopy, files of layers may be stubs (see `objects.ts`), and what a container changes of a
 * file's owner, mode or times costs a stub in its writable layer instead of a copy.
 */
export function overlay2(
  context: LayerStoreContext,
  options: { readonly hasMetacopy: boolean; readonly storage: StorageOptions },
): LayerStore {
  const { sys, dataRoot, execRoot, database } = context;
  const { table, ...catalog } = layerCatalog(context, {
    onRepaired: () => boot.refresh(),
    syncDiffs: options.storage.syncDiffs,
  });
  const quota = containerQuota(context, options.storage.sizeBytes);
  const at = (containerId: string, name: string): string =>
    path.join(dataRoot.containers, containerId, name);
  const merged = (containerId: string): string =>
    boot.mountPoint(containerId) ?? path.join(execRoot.containers, containerId, 'rootfs');

  const rootfsPaths: LayerStore['rootfsPaths'] = (containerId, layers): RootfsPaths => {
    const lower = layers.map(catalog.directoryOf).reverse();
    return {
      // overlayfs wants at least one lower layer; an image of none gets an empty one.
      lower: lower.length > 0 ? lower : [at(containerId, 'lower')],
      data: options.hasMetacopy ? [dataRoot.objects] : [],
      upper: at(containerId, 'upper'),
      work: at(containerId, 'work'),
      merged: merged(containerId),
    };
  };

  const boot = bootRootfs(dataRoot, (containerId) => {
    const layers = table.layersOfRootfs(containerId);
    if (layers.some((diffId) => table.find(diffId) === undefined)) return undefined;
    return { type: 'overlay', parameters: overlayParameters(rootfsPaths(containerId, layers)) };
  });
  boot.refresh();

  return {
    driver: 'overlay2',
    ...catalog,
    createRootfs: async (containerId, layers, wish = {}) => {
      const { lower, upper } = rootfsPaths(containerId, layers);
      for (const diffId of layers) catalog.show(diffId);
      const names = layers.length > 0 ? ['upper', 'work'] : ['upper', 'work', 'lower'];
      try {
        await makeContainerFolders(context, containerId, names, () => {
          const sizeBytes = wish.sizeBytes ?? options.storage.sizeBytes;
          if (sizeBytes > 0) quota.limit([upper, at(containerId, 'work')], sizeBytes);
          // The upper folder is the container's `/` and hides its owner and mode in the image.
          const root = statSync(lower[0] ?? upper);
          chownSync(upper, root.uid, root.gid);
          chmodSync(upper, root.mode & 0o7777);
          wish.prepare?.(upper);
        });
        database.transaction(() => table.setRootfsInTransaction(containerId, layers));
        if (wish.forBoot === true) boot.add(containerId);
      } catch (error) {
        for (const name of names) catalog.discard(at(containerId, name));
        rmSync(at(containerId, ''), { recursive: true, force: true });
        throw error;
      }
    },
    mountRootfs: async (containerId, layers, view) => {
      const paths = rootfsPaths(containerId, layers);
      mkdirSync(paths.merged, { recursive: true, mode: 0o755 });
      const seen = (file: string): string =>
        view === undefined ? file : path.join(view.folder, path.relative(dataRoot.root, file));
      if (isMountPoint(paths.merged)) return paths;
      for (const diffId of layers) {
        catalog.show(diffId);
        const directory = path.dirname(catalog.directoryOf(diffId));
        if (view !== undefined && hasImage(directory)) {
          await view.mapMount(path.join(directory, 'diff'));
        }
      }
      const mount = {
        lower: paths.lower.map(seen),
        data: paths.data.map(seen),
        upper: seen(paths.upper),
        work: seen(paths.work),
        target: paths.merged,
      };
      // What overlayfs makes for itself belongs to whom it is mounted by.
      if (view === undefined) mountOverlay(sys, mount);
      else asFileOwner(sys, view.root, () => mountOverlay(sys, mount));
      return paths;
    },
    rootfsPaths,
    mountPointOf: merged,
    unmountRootfs: async (containerId) => unmountIfMounted(sys, merged(containerId)),
    removeRootfs: async (containerId) => {
      unmountIfMounted(sys, merged(containerId));
      removeEmptyFolder(merged(containerId));
      boot.remove(containerId);
      quota.release([at(containerId, 'upper'), at(containerId, 'work')]);
      table.removeRootfs(containerId);
      for (const name of ['upper', 'work', 'lower']) catalog.discard(at(containerId, name));
    },
    rootfsSize: (containerId) => {
      const upper = at(containerId, 'upper');
      // A stub has its size, but its content is the image's.
      return treeSize(upper, async (relative) => !isStub(sys, path.join(upper, relative)));
    },
  };
}
