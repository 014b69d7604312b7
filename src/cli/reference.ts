import { type Reference, repositoryOf } from '../base/reference.ts';

/** The `repo` and `tag` parameters of calls that name an image; `latest` unless a tag was given. */
export function repositoryAndTag(reference: Reference): { repo: string; tag: string } {
  return { repo: repositoryOf(reference), tag: reference.tag ?? 'latest' };
}
