import { invalidArgument } from '../../base/errors.ts';
import type { AuthConfig } from '../../spec/docker/auth.ts';
import type { ImageSearchItem } from '../../spec/docker/image.ts';
import { booleanFilter, checkFilterKeys, type Filters } from '../../spec/filters.ts';
import type { RegistryInput, SearchResult } from '../../worker/pull-protocol.ts';
import type { Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { registryAccess } from './registry-access.ts';

const LIMIT_DEFAULT = 25;
const LIMIT_MAX = 100;

/** The registry in a search term (`registry:5000/word`), and the word. */
function splitTerm(term: string): { domain: string; word: string } {
  const slash = term.indexOf('/');
  const first = slash < 0 ? '' : term.slice(0, slash);
  const hasDomain = /[.:]/.test(first) || first === 'localhost';
  if (hasDomain) return { domain: first, word: term.slice(slash + 1) };
  return { domain: 'index.docker.io', word: term.replace(/^library\//, '') };
}

/**
 * `GET /images/search`. Filters: `is-official`, `is-automated`, `stars` (at least).
 * @throws invalidArgument for a bad term, limit or filter; the registry's error when it has no search
 */
export async function imageSearch(
  engine: Pick<Engine, 'config' | 'workers'>,
  args: {
    readonly query: {
      readonly term: string;
      readonly limit: number | undefined;
      readonly filters: Filters;
    };
    readonly headers: { readonly registryAuth: AuthConfig | undefined };
  },
  call: Call,
): Promise<ImageSearchItem[]> {
  const { term, filters } = args.query;
  const limit = args.query.limit ?? 0;
  checkFilterKeys(filters, ['is-automated', 'is-official', 'stars']);
  if (term === '' || /[\s\0]/.test(term)) throw invalidArgument('invalid search term');
  if (limit < 0 || limit > LIMIT_MAX) {
    throw invalidArgument(`limit ${limit} is outside the range of [1, ${LIMIT_MAX}]`);
  }
  const stars = (filters['stars'] ?? []).map((text) => {
    if (!/^\d{1,9}$/.test(text)) throw invalidArgument(`invalid filter 'stars=${text}'`);
    return Number(text);
  });
  const official = booleanFilter(filters, 'is-official');
  const automated = booleanFilter(filters, 'is-automated');
  const { domain, word } = splitTerm(term);
  const input: RegistryInput = {
    ask: 'search',
    access: registryAccess(engine, domain, args.headers.registryAuth),
    term: word,
    limit: limit === 0 ? LIMIT_DEFAULT : limit,
  };
  await using job = await engine.workers.start('registry', input, { signal: call.signal });
  return ((await job.result) as SearchResult[])
    .filter(
      (each) =>
        (official === undefined || each.isOfficial === official) &&
        (automated === undefined || each.isAutomated === automated) &&
        each.stars >= Math.max(0, ...stars),
    )
    .map((each) => ({
      star_count: each.stars,
      is_official: each.isOfficial,
      name: each.name,
      is_automated: each.isAutomated,
      description: each.description,
    }));
}
