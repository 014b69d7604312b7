import { parseTimeNs } from '../../base/clock.ts';
import { isEngineError } from '../../base/errors.ts';
import { parseReference } from '../../base/reference.ts';
import type { ImageDeleteItem, ImagePruneResult } from '../../spec/docker/image.ts';
import {
  booleanFilter,
  checkFilterKeys,
  type Filters,
  matchLabels,
  pruneUntilNs,
} from '../../spec/filters.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { imageBrief } from './events.ts';
import { allNames, familiarName, fullName, type ImageName, isTagName } from './names.ts';
import { removeImage } from './remove.ts';

/**
 * Removes images without a tag, or with `dangling=false` every image that no container uses;
 * `until`, `label` and `label!` narrow it down.
 * @throws invalidArgument for a bad filter
 */
export async function imagePrune(
  engine: Engine,
  args: { readonly query: { readonly filters: Filters } },
  call: Call,
): Promise<ImagePruneResult> {
  const { filters } = args.query;
  checkFilterKeys(filters, ['dangling', 'label', 'label!', 'until']);
  const danglingOnly = booleanFilter(filters, 'dangling') ?? true;
  const isWanted = pruneFilter(engine, filters);
  const names = allNames(engine);
  const before = diskBytes(engine);
  const items: ImageDeleteItem[] = [];
  for (const image of engine.store.images.list()) {
    if (call.signal.aborted) break;
    // Gone with one that came before it in the list: it led to that.
    if (engine.store.images.find(image.id) === undefined) continue;
    const own = names.get(image.id) ?? [];
    // Steps of a build go with the image that they led to.
    if (own.length === 0 && engine.store.images.hasChildren(image.id)) continue;
    if ((danglingOnly && own.some(isTagName)) || !isWanted(image)) continue;
    items.push(...(await removeUnused(engine, image, own)));
  }
  engine.layers.dropPartials();
  await engine.layers.collect();
  const reclaimed = before - diskBytes(engine);
  engine.events.publish({
    type: 'image',
    action: 'prune',
    id: '',
    attributes: { reclaimed: String(reclaimed) },
  });
  return { ImagesDeleted: items.length === 0 ? null : items, SpaceReclaimed: reclaimed };
}

function pruneFilter(engine: Engine, filters: Filters): (image: ImageRecord) => boolean {
  const nowNs = engine.clock.nowNs();
  const untilNs = pruneUntilNs(filters, nowNs);
  const unwanted = filters['label!'];
  return (image) => {
    const { created, labels } = imageBrief(image);
    const createdNs = parseTimeNs(created) ?? 0n;
    return (
      (untilNs === undefined || createdNs <= untilNs) &&
      matchLabels(filters['label'], labels) &&
      !(unwanted !== undefined && matchLabels(unwanted, labels))
    );
  };
}

/** Every name, then the image; one that a container uses stays as it is. */
async function removeUnused(
  engine: Engine,
  image: ImageRecord,
  names: readonly ImageName[],
): Promise<ImageDeleteItem[]> {
  if (engine.containers.usersOfImage(image.id).length > 0) return [];
  const items: ImageDeleteItem[] = [];
  try {
    for (const name of names) {
      if (engine.store.images.find(image.id) === undefined) return items;
      if (!namesNow(engine, image).includes(fullName(name))) continue;
      const found = { image, reference: parseReference(fullName(name)) };
      items.push(...(await removeImage(engine, found, { text: familiarName(name), force: false })));
    }
    if (names.length === 0) {
      const found = { image, reference: undefined };
      items.push(...(await removeImage(engine, found, { text: image.id, force: false })));
    }
  } catch (error) {
    // A container was made from it meanwhile.
    if (!isEngineError(error, 'conflict', 'notFound')) throw error;
  }
  return items;
}

function namesNow(engine: Engine, image: ImageRecord): string[] {
  const { images } = engine.store;
  return [...images.tagsOf(image.id), ...images.repoDigestsOf(image.id)].map(fullName);
}

/** Bytes of all layers of all images. */
export function diskBytes(engine: Engine): number {
  const seen = new Set(engine.store.images.list().flatMap((image) => image.diffIds));
  let bytes = 0;
  for (const diffId of seen) bytes += engine.layers.find(diffId)?.diskBytes ?? 0;
  return bytes;
}
