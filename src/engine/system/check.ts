import path from 'node:path';
import type { SystemCheck } from '../../spec/docker/system.ts';
import { treeSize } from '../../store/layers/tree-size.ts';
import { findOrphanedObjects, findOrphans, isOlderThan } from '../../store/orphans.ts';
import type { Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { familiarName, isTagName, namesOf } from '../images/names.ts';

/**
 * `POST /system/check`: what lies in the data root and belongs to nothing, and what is known to be
 * damaged. Orphans go with `sweep`. An orphan is a sign of a defect, ours or the filesystem's: each
 * start sweeps what a crash leaves. What is under way the engine knows itself; that young things
 * are left alone besides goes by clocks, which on a board without one of its own may jump.
 */
export async function systemCheck(
  engine: Engine,
  args: { readonly query: { readonly sweep: boolean; readonly olderThan: number | undefined } },
  call: Pick<Call, 'signal'>,
): Promise<SystemCheck> {
  const { dataRoot, layers, log } = engine;
  const { sweep, olderThan } = args.query;
  const isOld = isOlderThan((olderThan ?? 600) * 1000, engine.clock.nowMs());
  const isUnderWay = (folder: string): boolean =>
    layers.isUnderWay(folder) ||
    engine.containers.hasId(path.basename(folder)) ||
    engine.builds.uses(folder);
  const orphans = findOrphans(engine, { isUnderWay, isOld });
  const found: SystemCheck['Orphans'][number][] = [];
  for (const { path: place, kind } of orphans) {
    const Path = path.relative(dataRoot.root, place);
    found.push({ Path, Kind: kind, Bytes: await treeSize(place) });
    if (!sweep) continue;
    log.warn('sweeping what belongs to nothing', { path: place });
    layers.discard(place);
  }
  const objects = layers.isTrimming()
    ? []
    : await findOrphanedObjects(engine, { isOld, signal: call.signal });
  for (const { path: place, bytes } of objects) {
    found.push({ Path: path.relative(dataRoot.root, place), Kind: 'object', Bytes: bytes });
  }
  if (sweep && objects.length > 0) layers.trimContents();
  return {
    Orphans: found,
    Swept: sweep,
    Damaged: damagedLayers(engine),
  };
}

function damagedLayers({ layers, store }: Engine): SystemCheck['Damaged'] {
  const damaged = new Map<string, { Layer: string; Why: string; Images: string[] }>();
  for (const image of store.images.list()) {
    for (const diffId of image.diffIds) {
      const Why = layers.damageOf(diffId);
      if (Why === undefined) continue;
      const known = damaged.get(diffId) ?? { Layer: diffId, Why, Images: [] };
      const tag = namesOf({ store }, image.id).find(isTagName);
      known.Images.push(tag === undefined ? image.id : familiarName(tag));
      damaged.set(diffId, known);
    }
  }
  return [...damaged.values()];
}
