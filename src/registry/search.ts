import { LIMITS } from '../base/limits.ts';
import { array, bool, decodeJson, int, string, struct } from '../spec/decode.ts';
import { decodeAnswer, readAll } from './manifests.ts';
import type { RegistrySession } from './session.ts';
import { nextPageOf } from './tags.ts';

/** A repository that a registry found. */
export type FoundRepository = {
  readonly name: string;
  readonly description: string;
  readonly stars: number;
  readonly isOfficial: boolean;
  readonly isAutomated: boolean;
};

const v1Results = struct('SearchResults', {
  results: array(
    struct('SearchResult', {
      name: string,
      description: string,
      star_count: int,
      is_official: bool,
      is_automated: bool,
    }),
  ),
});
const catalog = struct('catalog', { repositories: array(string) });

/**
 * Repositories that match a term: by the search of Docker Hub and of registries that copied it
 * (`/v1/search`), else by looking through the catalog (`/v2/_catalog`).
 * @throws notFound when the registry offers neither
 */
export async function searchRepositories(
  session: RegistrySession,
  term: string,
  limit: number,
): Promise<FoundRepository[]> {
  const query = new URLSearchParams({ q: term, n: String(limit) });
  const answer = await session.send({
    method: 'GET',
    target: `/v1/search?${query.toString()}`,
    scopes: [],
    accept: [400, 401, 403, 404, 405],
  });
  const text = await answer.text(LIMITS.manifestBytesMax);
  const isJson = (answer.headers.get('content-type') ?? '').includes('json');
  if (answer.status === 200 && isJson) {
    return decodeJson(v1Results, text)
      .results.slice(0, limit)
      .map((each) => ({
        name: each.name,
        description: each.description,
        stars: each.star_count,
        isOfficial: each.is_official,
        isAutomated: each.is_automated,
      }));
  }
  return await searchCatalog(session, term, limit);
}

/** Registries refuse larger pages (distribution's default limit). */
const CATALOG_PAGE = 1000;

async function searchCatalog(
  session: RegistrySession,
  term: string,
  limit: number,
): Promise<FoundRepository[]> {
  const found: string[] = [];
  let looked = 0;
  let target: string | URL = `/v2/_catalog?n=${CATALOG_PAGE}`;
  while (looked < LIMITS.catalogEntriesMax && found.length < limit) {
    const answer = await session.send({ method: 'GET', target, scopes: ['registry:catalog:*'] });
    const what = 'catalog';
    const text = (await readAll(answer.body, LIMITS.manifestBytesMax, what)).toString('utf8');
    const contentType = answer.headers.get('content-type');
    const { repositories } = decodeAnswer(catalog, { text, contentType, what });
    looked += repositories.length;
    found.push(...repositories.filter((name) => name.includes(term)));
    const next = nextPageOf(answer);
    if (next === undefined || repositories.length === 0) break;
    target = next;
  }
  return found.slice(0, limit).map((name) => ({
    name: `${session.domain}/${name}`,
    description: '',
    stars: 0,
    isOfficial: false,
    isAutomated: false,
  }));
}
