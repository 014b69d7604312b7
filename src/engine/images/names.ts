import type { ImageId } from '../../base/digest.ts';
import { familiarReference, parseReference } from '../../base/reference.ts';
import type { RepoDigestRecord, TagRecord } from '../../store/images.ts';
import type { Engine } from '../engine.ts';

/** A name of an image in full; exactly one of `tag` and `digest` is there. */
export type ImageName = TagRecord | RepoDigestRecord;

export function isTagName(name: ImageName): name is TagRecord {
  return 'tag' in name;
}

/** The name in full: `docker.io/library/debian:12`. */
export function fullName(name: ImageName): string {
  return isTagName(name) ? `${name.repository}:${name.tag}` : `${name.repository}@${name.digest}`;
}

/** The name as users write it: `debian:12`. */
export function familiarName(name: ImageName): string {
  return familiarReference(parseReference(fullName(name)));
}

/** Every name of one image, tags first. */
export function namesOf(engine: Pick<Engine, 'store'>, id: ImageId): ImageName[] {
  const { images } = engine.store;
  return [...images.tagsOf(id), ...images.repoDigestsOf(id)];
}

/** Every name of every image, tags first. */
export function allNames(engine: Pick<Engine, 'store'>): Map<ImageId, ImageName[]> {
  const { images } = engine.store;
  const names = new Map<ImageId, ImageName[]>();
  for (const name of [...images.tags(), ...images.repoDigests()]) {
    const list = names.get(name.imageId);
    if (list === undefined) names.set(name.imageId, [name]);
    else list.push(name);
  }
  return names;
}
