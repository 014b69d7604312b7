import { invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { isTag } from '../base/reference.ts';
import { array, string, struct } from '../spec/decode.ts';
import { decodeAnswer, pullScope, readAll } from './manifests.ts';
import type { RegistrySession } from './session.ts';

const tagList = struct('tags', { name: string, tags: array(string) });

/** The address of the next page in a `Link` header: `</v2/x/tags/list?last=b&n=2>; rel="next"`. */
export function nextPage(link: string | undefined): string | undefined {
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
    const next = nextPage(answer.headers.get('link'));
    if (next === undefined || seen.has(next)) return tags;
    seen.add(next);
    const url = new URL(next, answer.url);
    // Pages are the registry's own: a link to elsewhere is not followed.
    if (url.origin !== answer.url.origin) return tags;
    target = url;
  }
}
