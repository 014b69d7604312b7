import { isEngineError } from '../../base/errors.ts';
import type { BuildPruneResult } from '../../spec/docker/image.ts';
import { checkFilterKeys, type Filters, pruneUntilNs } from '../../spec/filters.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { diskBytes } from '../images/prune.ts';
import { removeImage } from '../images/remove.ts';
import { configOf } from './commit-step.ts';

/**
 * `POST /build/prune`: the classic builder's cache is the images of its steps. Those that led to no
 * image with a name go; what a named image was built of is no more than a few kB beside it.
 * @throws invalidArgument for a bad filter
 */
export async function buildPrune(
  engine: Engine,
  args: { readonly query: { readonly filters: Filters } },
  call: Call,
): Promise<BuildPruneResult> {
  const { filters } = args.query;
  checkFilterKeys(filters, ['until']);
  const untilNs = pruneUntilNs(filters, engine.clock.nowNs());
  const { images } = engine.store;
  const before = diskBytes(engine);
  const deleted: string[] = [];
  for (const image of images.list()) {
    if (call.signal.aborted) break;
    const createdNs = BigInt(image.createdMs) * 1_000_000n;
    const isStep = isLastStep(engine, image);
    const isNamed = images.tagsOf(image.id).length + images.repoDigestsOf(image.id).length > 0;
    const isNew = untilNs !== undefined && createdNs > untilNs;
    if (!isStep || isNamed || isNew) continue;
    try {
      const found = { image, reference: undefined };
      const items = await removeImage(engine, found, { text: image.id, force: false });
      deleted.push(...items.flatMap((item) => ('Deleted' in item ? item.Deleted : [])));
    } catch (error) {
      // A container was made of it.
      if (!isEngineError(error, 'conflict', 'notFound')) throw error;
    }
  }
  const SpaceReclaimed = before - diskBytes(engine);
  engine.events.publish({
    ...{ type: 'builder', action: 'prune', id: '' },
    attributes: { reclaimed: String(SpaceReclaimed) },
  });
  return { CachesDeleted: deleted, SpaceReclaimed };
}

/** Of a build, and not of a commit, which is somebody's work. */
function isLastStep({ store: { images } }: Engine, image: ImageRecord): boolean {
  if (images.findParent(image.id) === undefined || images.hasChildren(image.id)) return false;
  return configOf(image).container_config !== null;
}
