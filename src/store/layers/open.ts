import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { messageOf, unavailable } from '../../base/errors.ts';
import { newShortName } from '../../base/id.ts';
import { mountOverlay, unmountIfMounted } from '../../kernel/mount.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import type { LayerStore } from '../layer-store.ts';
import type { LayerStoreContext } from './catalog.ts';
import { overlay2 } from './overlay2.ts';
import { vfs } from './vfs.ts';

/**
 * Opens the layer store. '' takes overlay2 where an overlay can be mounted on the data root, else
 * vfs with a warning.
 * @throws unavailable when overlay2 is asked for and does not work here
 */
export async function openLayerStore(
  context: LayerStoreContext,
  driver: 'overlay2' | 'vfs' | '',
): Promise<LayerStore> {
  if (driver === 'vfs') return vfs(context);
  const problem = await overlayProblem(context);
  if (problem === undefined) return overlay2(context);
  if (driver === 'overlay2') {
    throw unavailable(
      `cannot use the storage driver overlay2: ${problem}. Use --storage-driver=vfs, or a data root on ext4, xfs, btrfs or f2fs`,
    );
  }
  context.log.warn('overlay cannot be used here, every container will be a full copy', { problem });
  return vfs(context);
}

/** Tries one overlay mount on the data root. */
async function overlayProblem(context: LayerStoreContext): Promise<string | undefined> {
  const { sys, dataRoot, random } = context;
  const trial = path.join(dataRoot.staging, `trial-${newShortName(random, 8)}`);
  const at = (name: string): string => path.join(trial, name);
  try {
    for (const name of ['lower', 'upper', 'work', 'merged']) {
      mkdirSync(at(name), { recursive: true });
    }
    mountOverlay(sys, {
      lower: [at('lower')],
      upper: at('upper'),
      work: at('work'),
      target: at('merged'),
    });
    unmountIfMounted(sys, at('merged'));
    return undefined;
  } catch (error) {
    return messageOf(error);
  } finally {
    await removeTree(sys, trial);
  }
}
