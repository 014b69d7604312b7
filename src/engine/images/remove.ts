import { chainIds } from '../../base/chain-id.ts';
import { type ImageId, shortId } from '../../base/digest.ts';
import { conflict } from '../../base/errors.ts';
import { familiarReference } from '../../base/reference.ts';
import type { ImageDeleteItem } from '../../spec/docker/image.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { Engine } from '../engine.ts';
import { imageEvent } from './events.ts';
import { familiarName, type ImageName, isTagName, namesOf } from './names.ts';
import { getImage, type ResolvedImage } from './resolve.ts';

type Context = Pick<Engine, 'store' | 'database' | 'layers' | 'containers' | 'events'>;

export type ImageRemoveArgs = {
  readonly params: { readonly name: string };
  readonly query: { readonly force: boolean };
};

/**
 * Takes a name off an image, and the image away with its last name. By ID: all its names, if they
 * are of one repository or `force` is set. An image whose container runs stays; one whose
 * container is stopped goes with `force`.
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
  options: { readonly text: string; readonly force: boolean },
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
    if (refused?.used === true) return removal.items;
  } else {
    const oneName = isOneName(names);
    const refused = findConflict(engine, image.id, { force, names: oneName ? [] : names });
    if (refused !== undefined) throw refused.error;
    untag(removal, names);
  }
  await deleteImage(removal);
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

type Conflict = {
  /** By a container. */
  readonly used: boolean;
  readonly error: Error;
};

/** What keeps an image from being deleted; `names` are those that would have to go first. */
function findConflict(
  engine: Context,
  id: ImageId,
  options: { readonly force: boolean; readonly names?: readonly ImageName[] },
): Conflict | undefined {
  const made = (must: string, why: string, used: boolean): Conflict => ({
    used,
    error: conflict(`conflict: unable to delete ${shortId(id)} (${must}) - ${why}`),
  });
  const users = engine.containers.usersOfImage(id);
  const running = users.find((each) => each.isRunning);
  if (running !== undefined) {
    const why = `image is being used by running container ${shortId(running.id)}`;
    return made('cannot be forced', why, true);
  }
  if (options.force) return undefined;
  if ((options.names?.length ?? 0) > 1) {
    return made('must be forced', 'image is referenced in multiple repositories', false);
  }
  const [user] = users;
  if (user === undefined) return undefined;
  const why = `image is being used by stopped container ${shortId(user.id)}`;
  return made('must be forced', why, true);
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

/** Takes the image and the layers that nothing else needs away. */
async function deleteImage({ engine, image, items }: Removal): Promise<void> {
  engine.database.transaction(() => engine.store.images.removeInTransaction(image.id));
  imageEvent(engine, 'delete', image, image.id);
  items.push({ Deleted: image.id });
  const collected = new Set(await engine.layers.collect());
  const chains = chainIds(image.diffIds);
  for (const [i, chain] of [...chains.entries()].reverse()) {
    const diffId = image.diffIds[i];
    if (diffId !== undefined && collected.has(diffId)) items.push({ Deleted: chain });
  }
}
