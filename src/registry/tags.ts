import { invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { isTag } from '../base/reference.ts';
import { array, string, struct } from '../spec/decode.ts';
import { decodeAnswer, pullScope, readAll } from './manifests.ts';
import type { RegistrySession } from './session.ts';

const tagList = struct('tags', { name: string, tags: array(string) });

/**
 * The next page of an answer, by its `Link` header: `</v2/x/tags/list?last=b&n=2>; rel="next"`. Pages
 * are the registry's own: a link to elsewhere is not followed, and one that is no address neither.
 */
export function nextPageOf(answer: {
  readonly url: URL;
  readonly headers: { get: (name: string) => string | undefined };
}): URL | undefined {
  const link = nextPage(answer.headers.get('link'));
  if (link === undefined || !URL.canParse(link, answer.url)) return undefined;
  const target = new URL(link, answer.url);
  return target.origin === answer.url.origin ? target : undefined;
}

/** The address in a `Link` header. */
function nextPage(link: string | undefined): string | undefined {
  const m = /<([^>]{1,2048})>[^,]*;\s*rel="?next"?/.exec(link ?? '');
  return m?.[1];
}

/**
 * All tags of a repository, in the registry's order (OCI distribution-spec, "Listing Tags").
 * @throws the registry's error; invalidArgument beyond `LIMITS.tagsMax`
 */
export async function listTags(session: RegistrySession, path: string): Promise<string[]> {
  const tags: string[] = [];
  const seen = new Set<string>();
  let target: string | URL = `/v2/${path}/tags/list`;
  for (;;) {
    const answer = await session.send({ method: 'GET', target, scopes: [pullScope(path)] });
    const what = 'list of tags';
    const text = (await readAll(answer.body, LIMITS.manifestBytesMax, what)).toString('utf8');
    const contentType = answer.headers.get('content-type');
    tags.push(...decodeAnswer(tagList, { text, contentType, what }).tags.filter(isTag));
    if (tags.length > LIMITS.tagsMax) {
      throw invalidArgument(`the repository has more than ${LIMITS.tagsMax} tags`);
    }
    const next = nextPageOf(answer);
    if (next === undefined || seen.has(next.href)) return tags;
    seen.add(next.href);
    target = next;
  }
}
