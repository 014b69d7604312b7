import { mkdirSync, rmSync } from 'node:fs';
import { lstat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../base/errors.ts';
import { MS } from '../../kernel/constants.ts';
import { syncFilesystem } from '../../kernel/durable.ts';
import { unmountIfMounted } from '../../kernel/mount.ts';
import { isMountPoint } from '../../kernel/mountinfo.ts';
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
import { applyLayer } from './flatten.ts';
import { treeSize } from './tree-size.ts';

/**
 * For kernels and filesystems without overlayfs: each container has a full copy of its image's
 * files (reflinks where the filesystem has them). Layers lie on disk as with overlay2, so that the
 * same data root can be opened with either driver; a container keeps to the driver that made it.
 */
export function vfs(context: LayerStoreContext, storage: StorageOptions): LayerStore {
  const { sys, dataRoot, execRoot, database } = context;
  const { table, ...catalog } = layerCatalog(context, {
    onRepaired: () => undefined,
    syncDiffs: storage.syncDiffs,
  });
  const quota = containerQuota(context, storage.sizeBytes);
  const copy = (containerId: string): string =>
    path.join(dataRoot.containers, containerId, 'upper');
  const boot = bootRootfs(dataRoot, (containerId) => ({
    type: 'bind',
    parameters: [['source', copy(containerId)]],
  }));
  const merged = (containerId: string): string =>
    boot.mountPoint(containerId) ?? path.join(execRoot.containers, containerId, 'rootfs');

  const rootfsPaths: LayerStore['rootfsPaths'] = (containerId, layers): RootfsPaths => ({
    lower: layers.map(catalog.directoryOf).reverse(),
    data: [],
    upper: copy(containerId),
    work: '',
    merged: merged(containerId),
  });

  return {
    driver: 'vfs',
    ...catalog,
    createRootfs: async (containerId, layers, wish = {}) => {
      const directories = layers.map(catalog.directoryOf);
      try {
        await makeContainerFolders(context, containerId, ['upper'], async () => {
          const { objects } = dataRoot;
          const tree = copy(containerId);
          const sizeBytes = wish.sizeBytes ?? storage.sizeBytes;
          if (sizeBytes > 0) quota.limit([tree], sizeBytes);
          for (const diffId of layers) catalog.show(diffId);
          for (const layer of directories) await applyLayer(sys, { layer, objects, tree });
          wish.prepare?.(tree);
          await syncFilesystem(sys, dataRoot.containers);
        });
        database.transaction(() => table.setRootfsInTransaction(containerId, layers));
        if (wish.forBoot === true) boot.add(containerId);
      } catch (error) {
        catalog.discard(copy(containerId));
        rmSync(path.dirname(copy(containerId)), { recursive: true, force: true });
        throw error;
      }
    },
    mountRootfs: async (containerId, layers, view) => {
      const paths = rootfsPaths(containerId, layers);
      mkdirSync(paths.merged, { recursive: true, mode: 0o755 });
      // What a container has changed is found by comparing with them.
      for (const diffId of layers) catalog.show(diffId);
      if (!isMountPoint(paths.merged)) {
        const source = path.join(
          view?.folder ?? dataRoot.root,
          path.relative(dataRoot.root, paths.upper),
        );
        sys.mount({ source, target: paths.merged, flags: MS.BIND });
      }
      return paths;
    },
    rootfsPaths,
    mountPointOf: merged,
    unmountRootfs: async (containerId) => unmountIfMounted(sys, merged(containerId)),
    removeRootfs: async (containerId) => {
      unmountIfMounted(sys, merged(containerId));
      removeEmptyFolder(merged(containerId));
      boot.remove(containerId);
      quota.release([copy(containerId)]);
      table.removeRootfs(containerId);
      catalog.discard(copy(containerId));
    },
    rootfsSize: (containerId) => {
      const diffIds = table.layersOfRootfs(containerId);
      for (const diffId of diffIds) catalog.show(diffId);
      const layers = diffIds.map(catalog.directoryOf).reverse();
      return treeSize(copy(containerId), async (relative, sizeBytes, mtimeMs) => {
        for (const layer of layers) {
          const original = await find(path.join(layer, relative));
          if (original === undefined) continue;
          return original.size !== sizeBytes || original.mtimeMs !== mtimeMs;
        }
        return true;
      });
    },
  };
}

async function find(file: string): Promise<{ size: number; mtimeMs: number } | undefined> {
  try {
    return await lstat(file);
  } catch (error) {
    if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return undefined;
    throw error;
  }
}
