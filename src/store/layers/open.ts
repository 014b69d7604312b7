import { existsSync, mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { messageOf, unavailable } from '../../base/errors.ts';
import { newShortName } from '../../base/id.ts';
import { mountOverlay, unmountIfMounted } from '../../kernel/mount.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import type { StorageOptions } from '../../policy/storage-options.ts';
import type { LayerStore } from '../layer-store.ts';
import type { LayerStoreContext } from './catalog.ts';
import { METACOPY, metacopyMarker, REDIRECT } from './objects.ts';
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
  storage: StorageOptions,
): Promise<LayerStore> {
  if (driver === 'vfs') return withoutMetacopy(context, storage);
  const whyNoStubs = await metacopyProblem(context);
  noteMetacopy(context, whyNoStubs);
  if (whyNoStubs === undefined) return overlay2(context, { hasMetacopy: true, storage });
  const problem = await overlayProblem(context);
  if (problem === undefined) return overlay2(context, { hasMetacopy: false, storage });
  if (driver === 'overlay2') {
    throw unavailable(
      `cannot use the storage driver overlay2: ${problem}. Use --storage-driver=vfs, or a data root on ext4, xfs, btrfs or f2fs`,
    );
  }
  context.log.warn('overlay cannot be used here, every container will be a full copy', { problem });
  return withoutMetacopy(context, storage);
}

function withoutMetacopy(context: LayerStoreContext, storage: StorageOptions): LayerStore {
  rmSync(metacopyMarker(context.dataRoot.objects), { force: true });
  return vfs(context, storage);
}

/** Workers make stubs when the kernel can show them: whether it can lies in `objects`. */
function noteMetacopy({ dataRoot, log }: LayerStoreContext, problem: string | undefined): void {
  const marker = metacopyMarker(dataRoot.objects);
  if (existsSync(marker) === (problem === undefined)) return;
  if (problem === undefined) {
    mkdirSync(dataRoot.objects, { recursive: true, mode: 0o711 });
    writeFileSync(marker, '');
    return;
  }
  rmSync(marker);
  log.error('layers here need overlay with data-only layers (Linux 6.5): pull images again', {
    problem,
  });
}

/** Tries one overlay mount on the data root. */
async function overlayProblem(context: LayerStoreContext): Promise<string | undefined> {
  return await problemOf(context, (trial) => trial.mount([]));
}

/** Tries a file whose content is in a data-only layer. */
async function metacopyProblem(context: LayerStoreContext): Promise<string | undefined> {
  const { sys } = context;
  return await problemOf(context, ({ at, mount }) => {
    mkdirSync(at('data'));
    writeFileSync(at('data/1'), 'x');
    writeFileSync(at('lower/stub'), '');
    truncateSync(at('lower/stub'), 1);
    sys.lsetxattr(at('lower/stub'), METACOPY, Buffer.alloc(0));
    sys.lsetxattr(at('lower/stub'), REDIRECT, Buffer.from('/1'));
    mount([at('data')]);
    const content = readFileSync(at('merged/stub'), 'latin1');
    if (content !== 'x') throw unavailable('a stub does not show its content');
  });
}

type Trial = {
  readonly at: (name: string) => string;
  /** Mounts `lower` and `upper` at `merged`. */
  readonly mount: (data: readonly string[]) => void;
};

/** What goes wrong in `body`; undefined when nothing does. */
async function problemOf(
  { sys, dataRoot, random }: LayerStoreContext,
  body: (trial: Trial) => void,
): Promise<string | undefined> {
  const folder = path.join(dataRoot.staging, `trial-${newShortName(random, 8)}`);
  const at = (name: string): string => path.join(folder, name);
  try {
    for (const name of ['lower', 'upper', 'work', 'merged']) {
      mkdirSync(at(name), { recursive: true });
    }
    const paths = { upper: at('upper'), work: at('work'), target: at('merged') };
    body({ at, mount: (data) => mountOverlay(sys, { lower: [at('lower')], data, ...paths }) });
    return undefined;
  } catch (error) {
    return messageOf(error);
  } finally {
    unmountIfMounted(sys, at('merged'));
    await removeTree(sys, folder);
  }
}
