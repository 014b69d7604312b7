import { constants, mkdirSync, readdirSync, renameSync, rmdirSync } from 'node:fs';
import { open } from 'node:fs/promises';
import path from 'node:path';
import { type KeyedLock, type TaskGroup, unlessAborted } from '../../base/async.ts';
import type { Clock } from '../../base/clock.ts';
import type { DiffId } from '../../base/digest.ts';
import { errnoOf, notFound } from '../../base/errors.ts';
import { Holds } from '../../base/holds.ts';
import { newShortName, type Random } from '../../base/id.ts';
import type { Logger } from '../../base/log.ts';
import { GROUP_CHARS } from '../../formats/layer-contents.ts';
import { syncFilesystem } from '../../kernel/durable.ts';
import { readMountInfo } from '../../kernel/mountinfo.ts';
import { removeTree } from '../../kernel/remove-tree.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import type { Database } from '../db.ts';
import type { LayerRecord, LayerStore, StagedLayer } from '../layer-store.ts';
import type { DataRoot, ExecRoot } from '../paths.ts';
import { hideImage, showImage } from './layer-images.ts';
import { layerTable } from './layer-table.ts';
import { nameGroup, trimGroups } from './objects.ts';
import { findPartial, keepPartials, stalePartials } from './partials.ts';
import { addWearInTransaction } from './wear.ts';

/** What a storage driver works with. */
export type LayerStoreContext = {
  readonly sys: Syscalls;
  readonly dataRoot: DataRoot;
  readonly execRoot: ExecRoot;
  readonly database: Database;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly tasks: TaskGroup;
  readonly locks: KeyedLock;
};

/** Who looks through `objects/` has it, so that no folder goes meanwhile. */
export const OBJECTS_LOCK = 'objects';

/** The half of a layer store that is the same for all drivers: what layers there are. */
export type LayerCatalog = Omit<
  LayerStore,
  | 'driver'
  | 'createRootfs'
  | 'mountRootfs'
  | 'rootfsPaths'
  | 'mountPointOf'
  | 'unmountRootfs'
  | 'removeRootfs'
  | 'rootfsSize'
> & {
  readonly table: ReturnType<typeof layerTable>;
};

/** How a storage driver wants its catalog. */
export type CatalogOptions = {
  /** Called when layers have got other folders, while the old ones are still there, or are lost. */
  readonly onRepaired: () => void;
  /** False: layers are committed without being written to the disk. */
  readonly syncDiffs: boolean;
};

/** What the wall clock is corrected by bit by bit is less than this between two looks at it. */
const CLOCK_SET_MS = 60_000;

/** Opens the catalog; makes its folders when they are missing. */
export function layerCatalog(
  context: LayerStoreContext,
  { onRepaired, syncDiffs }: CatalogOptions,
): LayerCatalog {
  const { sys, dataRoot, execRoot, database, clock, random, tasks } = context;
  const { layers, staging, containers, objects } = dataRoot;
  for (const folder of [layers, staging, containers, objects]) {
    mkdirSync(folder, { recursive: true, mode: 0o711 });
  }
  const table = layerTable(database);
  const held = new Holds<DiffId>();
  /** Operations under way: what they found in a layer may be on its way into a new one. */
  const stages = new Set<Promise<void>>();
  const stageFolders = new Set<string>();
  /** Folders below `layers/` that are about to get their rows. */
  const arriving = new Set<string>();

  /** The wall clock beside the one that nobody sets, as leases know them. */
  let aheadMs = clock.nowMs() - clock.monotonicMs();
  const settleLeasesInTransaction = (): void => {
    const nowMs = clock.nowMs();
    const jumpMs = Math.round(nowMs - clock.monotonicMs() - aheadMs);
    const isSet = Math.abs(jumpMs) >= CLOCK_SET_MS;
    if (isSet) aheadMs += jumpMs;
    table.settleLeasesInTransaction(nowMs, isSet ? jumpMs : 0);
  };

  const get = (diffId: DiffId): LayerRecord => {
    const record = table.find(diffId);
    if (record === undefined) throw notFound(`layer ${diffId} is not here: pull its image again`);
    return record;
  };

  const isWhole = (diffId: DiffId): boolean =>
    table.find(diffId) !== undefined && !table.isDamaged(diffId);

  /** Of a layer's own folder alone: in a container's lies what it likes. */
  const hide = (folder: string): void => {
    if (path.dirname(folder) !== layers) return;
    hideImage(sys, folder);
    hideImage(sys, path.join(execRoot.mapped, path.relative(dataRoot.root, folder)));
  };

  const discard = (tree: string): void => {
    hide(tree);
    const grave = path.join(dataRoot.staging, `gone-${newShortName(random, 12)}`);
    try {
      renameSync(tree, grave);
    } catch (error) {
      if (errnoOf(error) === 'ENOENT') return;
      throw error;
    }
    tasks.spawn(`delete ${grave}`, (signal) => removeTree(sys, grave, { signal }));
  };

  /** Of those that are asked for only the last one trims: it waits for all that the others do. */
  let trims = 0;
  let trimsUnderWay = 0;
  const trimContents = (): void => {
    const before = [...stages];
    trims += 1;
    trimsUnderWay += 1;
    const number = trims;
    const isLast = (): boolean => number === trims;
    tasks.spawn('trim shared contents', async (signal) => {
      try {
        await unlessAborted(Promise.all(before), signal);
        if (!signal.aborted && isLast()) await trimObjects(context, signal, isLast);
      } finally {
        trimsUnderWay -= 1;
      }
    });
  };

  /** Removes a layer's folder; its objects stay while they are used. */
  const discardLayer = (dir: string): void => {
    discard(path.join(layers, dir));
    trimContents();
  };

  const commit: LayerStore['commit'] = async (staged, body, cause = 'other') => {
    const fresh = [...new Map(staged.map((each) => [each.diffId, each])).values()].filter(
      (each) => !isWhole(each.diffId),
    );
    const named: { layer: StagedLayer; dir: string }[] = [];
    const repaired: string[] = [];
    let groups = 0;
    try {
      if (fresh.length > 0) {
        if (syncDiffs) await syncFilesystem(sys, dataRoot.staging);
        for (const layer of fresh) {
          const dir = layer.name ?? newShortName(random, GROUP_CHARS);
          arriving.add(path.join(layers, dir));
          const hasGroup = nameGroup(objects, layer.directory, dir);
          groups += hasGroup ? 1 : 0;
          renameSync(layer.directory, path.join(layers, dir));
          named.push({ layer, dir });
        }
        if (groups > 0) await syncDirectory(objects);
        await syncDirectory(layers);
      }
      database.transaction(() => {
        for (const { layer, dir } of [...named]) {
          // Another operation may have brought the same layer meanwhile; then ours is dropped.
          if (table.addInTransaction(layer, dir, clock.nowMs())) continue;
          if (table.isDamaged(layer.diffId)) {
            const damaged = table.repairInTransaction(layer, dir);
            if (damaged !== undefined) repaired.push(damaged);
            continue;
          }
          named.splice(
            named.findIndex((each) => each.dir === dir),
            1,
          );
          discardLayer(dir);
        }
        for (const { diffId, blob } of staged) {
          if (blob !== undefined) table.addBlobInTransaction(diffId, blob);
        }
        addWearInTransaction(database, cause, staged);
        body();
      });
    } catch (error) {
      for (const { dir } of named) discardLayer(dir);
      throw error;
    } finally {
      for (const { dir } of named) arriving.delete(path.join(layers, dir));
    }
    // What had come of it earlier is of no use any more.
    for (const { blob } of staged) {
      const part = blob && findPartial(dataRoot, blob.digest);
      if (part !== undefined) discard(part);
    }
    if (repaired.length === 0) return;
    onRepaired();
    // What a container has mounted stays until a start finds it without a row and unused.
    const mounted = mountedLayers();
    for (const dir of repaired) {
      if (!mounted.has(dir)) discardLayer(dir);
    }
  };

  const collect: LayerStore['collect'] = async () => {
    const removed = database.transaction(() => {
      settleLeasesInTransaction();
      const unused = table.unused(clock.nowMs()).filter(({ diffId }) => !held.has(diffId));
      for (const { diffId } of unused) table.removeInTransaction(diffId);
      return unused;
    });
    for (const { dir } of removed) discardLayer(dir);
    return removed.map(({ diffId }) => diffId);
  };

  return {
    table,
    discard,
    trimContents,
    find: table.find,
    isWhole,
    setDamaged: table.setDamaged,
    damageOf: table.damageOf,
    findByBlob: table.findByBlob,
    knownDigests: table.knownDigests,
    blobsOf: table.blobsOf,
    directoryOf: (diffId) => path.join(dataRoot.layers, get(diffId).dir, 'diff'),
    show: (diffId) => showImage(sys, path.join(layers, get(diffId).dir)),
    hideAll: () => {
      for (const dir of readdirSync(layers)) hide(path.join(layers, dir));
    },
    stage: ({ isMadeLater } = { isMadeLater: false }) => {
      const directory = path.join(dataRoot.staging, newShortName(random, 12));
      if (!isMadeLater) mkdirSync(directory, { mode: 0o700 });
      const ended = Promise.withResolvers<void>();
      stages.add(ended.promise);
      stageFolders.add(directory);
      return {
        directory,
        [Symbol.asyncDispose]: async () => {
          keepPartials(dataRoot, directory);
          for (const stale of stalePartials(dataRoot, clock.nowMs())) discard(stale);
          stages.delete(ended.promise);
          ended.resolve();
          await removeTree(sys, directory);
          stageFolders.delete(directory);
        },
      };
    },
    adoptRootfs: (containerId, layers) => {
      if (table.layersOfRootfs(containerId).length === layers.length) return;
      database.transaction(() => table.adoptRootfsInTransaction(containerId, layers));
      onRepaired();
    },
    isUnderWay: (folder) => stageFolders.has(folder) || arriving.has(folder),
    isTrimming: () => trimsUnderWay > 0,
    hold: (diffIds) => held.hold(diffIds),
    leaseInTransaction: (diffId) => {
      settleLeasesInTransaction();
      table.leaseInTransaction(diffId, clock.nowMs());
    },
    endLease: table.endLease,
    dropPartials: () => {
      table.endLeases();
      for (const part of stalePartials(dataRoot, clock.nowMs(), true)) discard(part);
    },
    commit,
    collect,
  };
}

/** Names of the layers' folders that overlays of this mount namespace lie on. */
export function mountedLayers(): Set<string> {
  const overlays = readMountInfo().filter(({ type }) => type === 'overlay');
  // The paths may be relative, so the names alone are looked at; they are unique.
  const lower = /([^/:=,]+)\/diff(?=[:,]|$)/g;
  return new Set(
    overlays.flatMap(({ superOptions }) =>
      Array.from(superOptions.matchAll(lower), ([, name = '']) => name),
    ),
  );
}

/**
 * Takes away what is left of removed layers and no layer uses; nothing when it is not `isCurrent`
 * any more: what a layer that went meanwhile has used may be on its way into a new one.
 */
async function trimObjects(
  { sys, dataRoot, locks, log }: LayerStoreContext,
  signal: AbortSignal,
  isCurrent: () => boolean,
): Promise<void> {
  const { objects, layers } = dataRoot;
  await locks.run(OBJECTS_LOCK, async () => {
    const removed = await trimGroups({ sys, objects, layers, isCurrent }, signal);
    if (removed > 0) log.debug('removed shared contents that nothing uses', { groups: removed });
  });
}

/** fsync of a directory on a thread: a journal commit can take long on flash. */
async function syncDirectory(folder: string): Promise<void> {
  await using handle = await open(folder, constants.O_RDONLY | constants.O_DIRECTORY);
  await handle.sync();
}

/**
 * Makes the folder of a container with folders in it, the writable layer's first, lets `fill` work
 * on them, and makes all of it durable.
 */
export async function makeContainerFolders(
  { dataRoot }: LayerStoreContext,
  containerId: string,
  names: readonly string[],
  fill: () => Promise<void> | void,
): Promise<void> {
  const folder = path.join(dataRoot.containers, containerId);
  mkdirSync(folder, { recursive: true, mode: 0o710 });
  for (const name of names) mkdirSync(path.join(folder, name), { mode: 0o755 });
  await fill();
  // The first is the writable layer. A parent that is synced has the names in it; that it also has
  // their owners and modes is true of ext4 alone.
  await syncDirectory(path.join(folder, names[0] ?? ''));
  await syncDirectory(folder);
  await syncDirectory(dataRoot.containers);
}

/** Removes a folder that is empty, or gone. What is in it stays, and is an error. */
export function removeEmptyFolder(folder: string): void {
  try {
    rmdirSync(folder);
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
  }
}
