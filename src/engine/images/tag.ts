import { invalidArgument } from '../../base/errors.ts';
import {
  familiarReference,
  isTag,
  parseReference,
  type Reference,
  repositoryOf,
  withDefaultTag,
} from '../../base/reference.ts';
import type { Engine } from '../engine.ts';
import { imageEvent } from './events.ts';
import { getImage } from './resolve.ts';

type Context = Pick<Engine, 'store' | 'database' | 'clock' | 'events'>;

/**
 * Gives an image a further name; a name that another image has moves.
 * @throws notFound for the image; invalidArgument for the name
 */
export async function imageTag(
  engine: Context,
  args: {
    readonly params: { readonly name: string };
    readonly query: { readonly repo: string; readonly tag: string };
  },
): Promise<void> {
  const { repo, tag } = args.query;
  const reference = targetReference(repo, tag);
  const { image } = getImage(engine, args.params.name);
  engine.database.transaction(() =>
    engine.store.images.setTagInTransaction({
      repository: repositoryOf(reference),
      tag: reference.tag ?? '',
      imageId: image.id,
      nowMs: engine.clock.nowMs(),
    }),
  );
  imageEvent(engine, 'tag', image, familiarReference(reference));
}

/**
 * The name that `repo` and `tag` of a request mean; `tag` wins over one in `repo`.
 * @throws invalidArgument with Docker's texts
 */
export function targetReference(repo: string, tag: string): Reference {
  const parsed = parseReference(repo);
  if (parsed.digest !== undefined) {
    throw invalidArgument('refusing to create a tag with a digest reference');
  }
  if (tag !== '' && !isTag(tag)) throw invalidArgument('invalid tag format');
  if (parsed.path === 'library/sha256' || parsed.path === 'sha256') {
    throw invalidArgument('refusing to create an ambiguous tag using digest algorithm as name');
  }
  return withDefaultTag(tag === '' ? parsed : { ...parsed, tag });
}
