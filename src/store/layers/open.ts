import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { messageOf, unavailable } from '../../base/errors.ts';
import { newShortName } from '../../base/id.ts';
import type { ByteString } from '../../formats/byte-string.ts';
import { encodeErofs } from '../../formats/erofs.ts';
import { ErofsTree } from '../../formats/erofs-tree.ts';
import { mountOverlay, unmountIfMounted } from '../../kernel/mount.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import type { StorageOptions } from '../../policy/storage-options.ts';
import type { LayerStore } from '../layer-store.ts';
import type { LayerStoreContext } from './catalog.ts';
import { hasImage, mountImage } from './layer-images.ts';
import { layerTable } from './layer-table.ts';
import { imagesMarker, METACOPY, metacopyMarker, NO_VALUE, REDIRECT } from './objects.ts';
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
  if (driver === 'vfs') return await withoutMetacopy(context, storage);
  const whyNoImages = await overlaidImageProblem(context);
  const whyNoStubs = whyNoImages && (await metacopyProblem(context));
  noteMetacopy(context, whyNoStubs);
  noteImages(context, { canBeMade: whyNoImages === undefined, problem: whyNoImages });
  if (whyNoStubs === undefined) return overlay2(context, { hasMetacopy: true, storage });
  const problem = await overlayProblem(context);
  if (problem === undefined) return overlay2(context, { hasMetacopy: false, storage });
  if (driver === 'overlay2') {
    throw unavailable(
      `cannot use the storage driver overlay2: ${problem}. Use --storage-driver=vfs, or a data root on ext4, xfs, btrfs or f2fs`,
    );
  }
  context.log.warn('overlay cannot be used here, every container will be a full copy', { problem });
  return await withoutMetacopy(context, storage);
}

async function withoutMetacopy(
  context: LayerStoreContext,
  storage: StorageOptions,
): Promise<LayerStore> {
  rmSync(metacopyMarker(context.dataRoot.objects), { force: true });
  // Images that are here can be copied from, as far as the kernel can mount them.
  noteImages(context, { canBeMade: false, problem: await imageProblem(context) });
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

/** Begins the note of why a layer counts as damaged that is an image where none can be seen. */
const NO_IMAGES = 'its names are an image, which needs EROFS from files (Linux 6.12)';

/**
 * Workers make images of names when the kernel can show them. Where it cannot, layers that are
 * images count as damaged until it can again, so that a pull makes trees of them.
 */
function noteImages(
  { dataRoot, database, log }: LayerStoreContext,
  { canBeMade, problem }: { readonly canBeMade: boolean; readonly problem: string | undefined },
): void {
  const marker = imagesMarker(dataRoot.objects);
  if (canBeMade && !existsSync(marker)) {
    mkdirSync(dataRoot.objects, { recursive: true, mode: 0o711 });
    writeFileSync(marker, '');
  }
  if (!canBeMade) rmSync(marker, { force: true });
  const table = layerTable(database);
  for (const { diffId, dir } of table.list()) {
    const isHidden = problem !== undefined && hasImage(path.join(dataRoot.layers, dir));
    const why = table.damageOf(diffId);
    if (isHidden && why === undefined) {
      log.error('a layer cannot be used here: pull its image again', { layer: diffId, problem });
      table.setDamaged(diffId, `${NO_IMAGES}: ${problem}`);
    }
    if (!isHidden && why?.startsWith(NO_IMAGES) === true) table.setDamaged(diffId, undefined);
  }
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
    sys.lsetxattr(at('lower/stub'), METACOPY, NO_VALUE);
    sys.lsetxattr(at('lower/stub'), REDIRECT, Buffer.from('/1'));
    mount([at('data')]);
    const content = readFileSync(at('merged/stub'), 'latin1');
    if (content !== 'x') throw unavailable('a stub does not show its content');
  });
}

/** Tries an image of names whose content is in a data-only layer. */
async function overlaidImageProblem(context: LayerStoreContext): Promise<string | undefined> {
  return await problemOf(context, (trial) => {
    mkdirSync(trial.at('data'));
    writeFileSync(trial.at('data/1'), 'x');
    mountTrialImage(context, trial);
    trial.mount([trial.at('data')]);
    const content = readFileSync(trial.at('merged/stub'), 'latin1');
    if (content !== 'x') throw unavailable('a stub in an image does not show its content');
  });
}

/** Tries an image of names alone. */
async function imageProblem(context: LayerStoreContext): Promise<string | undefined> {
  return await problemOf(context, (trial) => mountTrialImage(context, trial));
}

function mountTrialImage({ sys }: LayerStoreContext, { at }: Trial): void {
  const none = { uid: 0, gid: 0, mtime: { sec: 0, nsec: 0 }, link: '' as ByteString };
  const node = { ...none, major: 0, minor: 0, sizeBytes: 0, xattrs: [] };
  const tree = new ErofsTree({ ...node, kind: 'directory', mode: 0o755 });
  const xattrs = [
    { name: METACOPY, value: NO_VALUE },
    { name: REDIRECT, value: Buffer.from('/1') },
  ];
  const name = 'stub' as ByteString;
  tree.add(0, name, { ...node, kind: 'file', mode: 0o644, sizeBytes: 1, xattrs });
  encodeErofs(tree, { id: Buffer.alloc(16), common: [] }, (piece) => {
    appendFileSync(at('image'), piece);
  });
  mountImage(sys, at('image'), at('lower'));
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
    for (const name of ['merged', 'lower']) unmountIfMounted(sys, at(name));
    await removeTree(sys, folder);
  }
}
