import { type ImageId, parseImageId } from '../../base/digest.ts';
import { invalidArgument, notFound } from '../../base/errors.ts';
import {
  familiarReference,
  parseReference,
  type Reference,
  repositoryOf,
  withDefaultTag,
} from '../../base/reference.ts';
import type { ImageRecord } from '../../store/images.ts';
import type { Engine } from '../engine.ts';

type Context = Pick<Engine, 'store'>;

/** An image as a user named it. */
export type ResolvedImage = {
  readonly image: ImageRecord;
  /** The name that led to it; undefined when it was an ID or the beginning of one. */
  readonly reference: Reference | undefined;
};

const ID = /^(?:sha256:)?([0-9a-f]{64})$/;
const ID_PREFIX = /^(?:sha256:)?([0-9a-f]{1,64})$/;

/**
 * Finds an image by what a user wrote, in this order: a whole ID, a name (`debian`, `app:v2`,
 * `app@sha256:…`; `latest` when neither tag nor digest is there), the beginning of an ID.
 * @throws invalidArgument for what is no reference, and for a beginning that fits several images
 */
export function findImage(engine: Context, text: string): ResolvedImage | undefined {
  const { images } = engine.store;
  const whole = ID.exec(text);
  if (whole !== null) {
    const image = images.find(parseImageId(`sha256:${whole[1]}`));
    return image === undefined ? undefined : { image, reference: undefined };
  }
  const reference = withDefaultTag(parseReference(text));
  const named = imageOfReference(engine, reference);
  if (named !== undefined) return { image: images.get(named), reference };
  const prefix = ID_PREFIX.exec(text)?.[1];
  if (prefix === undefined) return undefined;
  const [first, second] = images.findByPrefix(prefix);
  if (second !== undefined) {
    throw invalidArgument(`multiple IDs found with provided prefix: ${text}`);
  }
  return first === undefined ? undefined : { image: images.get(first), reference: undefined };
}

/** The image that a name stands for. With tag and digest, the digest counts: a tag may have moved. */
export function imageOfReference(engine: Context, reference: Reference): ImageId | undefined {
  const repository = repositoryOf(reference);
  if (reference.digest !== undefined) {
    return engine.store.images.findRepoDigest(repository, reference.digest);
  }
  return engine.store.images.findTag(repository, reference.tag ?? '');
}

/** {@link findImage}, or notFound with the words that clients start a pull by. */
export function getImage(engine: Context, text: string): ResolvedImage {
  const found = findImage(engine, text);
  if (found === undefined) throw noSuchImage(text);
  return found;
}

/** `No such image: debian:latest` */
export function noSuchImage(text: string): Error {
  const whole = ID.exec(text);
  const shown =
    whole === null ? familiarReference(withDefaultTag(parseReference(text))) : `sha256:${whole[1]}`;
  return notFound(`No such image: ${shown}`);
}
