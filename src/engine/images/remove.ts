import { chainIds } from '../../base/chain-id.ts';
import { type DiffId, type ImageId, shortId } from '../../base/digest.ts';
import { conflict, type EngineError } from '../../base/errors.ts';
import { familiarReference } from '../../base/reference.ts';
import type { ImageDeleteItem } from '../../spec/docker/image.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { Engine } from '../engine.ts';
import { imageEvent } from './events.ts';
import { familiarName, type ImageName, isTagName, namesOf } from './names.ts';
import { getImage, type ResolvedImage } from './resolve.ts';

type Context = Pick<Engine, 'store' | 'database' | 'layers' | 'containers' | 'events' | 'builds'>;

export type ImageRemoveArgs = {
  readonly params: { readonly name: string };
  readonly query: { readonly force: boolean; readonly noprune?: boolean };
};

/**
 * Takes a name off an image, and the image away with its last name. By ID: all its names, if they
 * are of one repository or `force` is set. An image whose container runs stays, and one that others
 * were built on; one whose container is stopped goes with `force`. With it go, unless `noprune` is
 * set, the steps of the build that led to it and nothing else.
 *
 * The rules, the order of the lines and the texts are those of Docker's `rmi`.
 * @throws notFound; conflict
 */
export async function imageRemove(
  engine: Context,
  args: ImageRemoveArgs,
): Promise<ImageDeleteItem[]> {
  return await removeImage(engine, getImage(engine, args.params.name), {
    text: args.params.name,
    force: args.query.force,
    prune: !args.query.noprune,
  });
}

type Removal = {
  readonly engine: Context;
  readonly image: ImageRecord;
  readonly items: ImageDeleteItem[];
};

/** {@link imageRemove} of an image that was found; `text` is what the user wrote. */
export async function removeImage(
  engine: Context,
  found: ResolvedImage,
  options: { readonly text: string; readonly force: boolean; readonly prune?: boolean },
): Promise<ImageDeleteItem[]> {
  const { image, reference } = found;
  const { force } = options;
  const removal: Removal = { engine, image, items: [] };
  let names = namesOf(engine, image.id);
  if (reference !== undefined) {
    if (!force && isOneName(names)) checkUsers(removal, options.text);
    const full = familiarReference(
      reference.digest === undefined ? reference : { ...reference, tag: undefined },
    );
    untag(
      removal,
      names.filter((name) => familiarName(name) === full),
    );
    names = untagDigestsOfRepository(removal, found);
    if (names.length > 0) return removal.items;
    // The name is gone, which is what was asked for: the image may stay where it is in use.
    const refused = findConflict(engine, image.id, { force });
    if (refused !== undefined) return removal.items;
  } else {
    const oneName = isOneName(names);
    const refused = findConflict(engine, image.id, { force, names: oneName ? [] : names });
    if (refused !== undefined) throw refused;
    untag(removal, names);
  }
  await deleteImages(removal, options.prune ?? true);
  return removal.items;
}

/** With its last tag the digests of the same repository lose their point. Returns what is left. */
function untagDigestsOfRepository(removal: Removal, { reference }: ResolvedImage): ImageName[] {
  const names = namesOf(removal.engine, removal.image.id);
  if (reference === undefined || reference.digest !== undefined) return names;
  const repository = `${reference.domain}/${reference.path}`;
  const ofRepository = names.filter((name) => name.repository === repository);
  if (ofRepository.some(isTagName)) return names;
  untag(removal, ofRepository);
  return names.filter((name) => name.repository !== repository);
}

/** True for at most one tag, with digests of its repository only. */
function isOneName(names: readonly ImageName[]): boolean {
  const tags = names.filter(isTagName);
  const repositories = new Set(names.map((name) => name.repository));
  return tags.length <= 1 && repositories.size <= 1;
}

/** Without `force` an image's only name is not taken off while containers need it. */
function checkUsers({ engine, image }: Removal, text: string): void {
  const [user] = engine.containers.usersOfImage(image.id);
  if (user === undefined) return;
  throw conflict(
    `conflict: unable to remove repository reference ${JSON.stringify(text)} (must force) - container ${shortId(user.id)} is using its referenced image ${shortId(image.id)}`,
  );
}

/** What keeps an image from being deleted; `names` are those that would have to go first. */
function findConflict(
  engine: Context,
  id: ImageId,
  options: { readonly force: boolean; readonly names?: readonly ImageName[] },
): EngineError | undefined {
  const made = (must: string, why: string): EngineError =>
    conflict(`conflict: unable to delete ${shortId(id)} (${must}) - ${why}`);
  if (engine.builds.usesImage(id)) {
    return made('cannot be forced', 'image is being used by a running build');
  }
  if (engine.store.images.hasChildren(id)) {
    return made('cannot be forced', 'image has dependent child images');
  }
  const users = engine.containers.usersOfImage(id);
  const running = users.find((each) => each.isRunning);
  if (running !== undefined) {
    const why = `image is being used by running container ${shortId(running.id)}`;
    return made('cannot be forced', why);
  }
  if (options.force) return undefined;
  if ((options.names?.length ?? 0) > 1) {
    return made('must be forced', 'image is referenced in multiple repositories');
  }
  const [user] = users;
  if (user === undefined) return undefined;
  const why = `image is being used by stopped container ${shortId(user.id)}`;
  return made('must be forced', why);
}

function untag({ engine, image, items }: Removal, names: readonly ImageName[]): void {
  const { images } = engine.store;
  engine.database.transaction(() => {
    for (const name of names) {
      if (isTagName(name)) images.removeTagInTransaction(name.repository, name.tag);
      else images.removeRepoDigestInTransaction(name.repository, name.digest);
    }
  });
  for (const name of names) {
    items.push({ Untagged: familiarName(name) });
    // Docker names the image here, not the reference that is gone.
    imageEvent(engine, 'untag', image, image.id);
  }
}

/** Takes the image away, the steps that led to it, and the layers that nothing else needs. */
async function deleteImages(removal: Removal, prune: boolean): Promise<void> {
  const { engine, image, items } = removal;
  const { images } = engine.store;
  const deleted: ImageRecord[] = [];
  engine.database.transaction(() => {
    for (let next: ImageRecord | undefined = image; next !== undefined; ) {
      const parent: ImageId | undefined = prune ? images.findParent(next.id) : undefined;
      images.removeInTransaction(next.id);
      deleted.push(next);
      next = parent !== undefined && isMereStep(engine, parent) ? images.find(parent) : undefined;
    }
  });
  const collected = new Set(await engine.layers.collect());
  for (const each of deleted) {
    imageEvent(engine, 'delete', each, each.id);
    items.push({ Deleted: each.id });
    items.push(...deletedLayers(each, collected));
  }
}

/** An image that only a build made that is gone: it has no name, no user and nothing upon it. */
function isMereStep(engine: Context, id: ImageId): boolean {
  return (
    namesOf(engine, id).length === 0 && findConflict(engine, id, { force: false }) === undefined
  );
}

/** The layers of an image that are gone, top first; each is told of once. */
function deletedLayers(image: ImageRecord, collected: Set<DiffId>): ImageDeleteItem[] {
  const chains = chainIds(image.diffIds);
  return [...image.diffIds.entries()]
    .reverse()
    .filter(([, diffId]) => collected.delete(diffId))
    .map(([i]) => ({ Deleted: chains[i] ?? '' }));
}
