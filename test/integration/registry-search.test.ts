import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { imageSearch } from '../../src/engine/images/search.ts';
import type { AuthConfig } from '../../src/spec/docker/auth.ts';
import { type FaultyRegistry, startFaultyRegistry } from '../fault/registry.ts';
import { type ImageEngine, openImageEngine } from '../support/image-engine.ts';

/** Searching where a registry has it: as Docker Hub does, or through the catalog. */

let here: ImageEngine;

before(async () => {
  here = await openImageEngine();
});

after(async () => {
  await here[Symbol.asyncDispose]();
});

type Wish = { limit?: number; filters?: Record<string, string[]>; auth?: AuthConfig };

async function search(registry: FaultyRegistry, word: string, wish: Wish = {}): Promise<string[]> {
  const { limit, filters = {}, auth } = wish;
  const found = await imageSearch(
    here.engine,
    {
      query: { term: `${registry.host}/${word}`, limit, filters },
      headers: { registryAuth: auth },
    },
    { signal: new AbortController().signal, apiVersion: [1, 51] },
  );
  return found.map(
    ({ name, star_count }) => `${name.replace(registry.host, 'HOST')} ${star_count}`,
  );
}

test('a registry that searches is asked, and filters take of what it found', async () => {
  await using registry = await startFaultyRegistry();
  const results = [
    { name: 'debian', star_count: 5000, is_official: true, description: 'Debian' },
    { name: 'me/debian', star_count: 3, is_automated: true },
    { name: 'you/debian', star_count: 40 },
  ];
  registry.fault = ({ path, query }, answer) => {
    if (path !== '/v1/search') return false;
    answer.writeHead(200, { 'content-type': 'application/json' });
    answer.end(JSON.stringify({ results: results.slice(0, Number(query.get('n'))) }));
    return true;
  };
  assert.deepEqual(await search(registry, 'deb'), ['debian 5000', 'me/debian 3', 'you/debian 40']);
  assert.equal(registry.requests[0]?.query.get('q'), 'deb');
  assert.equal(registry.requests[0]?.query.get('n'), '25');
  assert.deepEqual(await search(registry, 'deb', { limit: 1 }), ['debian 5000']);
  const by = async (filters: Record<string, string[]>): Promise<string[]> =>
    await search(registry, 'deb', { filters });
  assert.deepEqual(await by({ 'is-official': ['true'] }), ['debian 5000']);
  assert.deepEqual(await by({ 'is-automated': ['true'] }), ['me/debian 3']);
  assert.deepEqual(await by({ stars: ['30'] }), ['debian 5000', 'you/debian 40']);
  await assert.rejects(by({ stars: ['many'] }), { message: "invalid filter 'stars=many'" });
  await assert.rejects(search(registry, 'deb', { limit: 101 }), {
    message: 'limit 101 is outside the range of [1, 100]',
  });
});

test('elsewhere the catalog is looked through, page by page, as far as there is something to find', async () => {
  const user = { user: 'me', password: 'secret' };
  await using registry = await startFaultyRegistry({ auth: { kind: 'basic', ...user } });
  const authorization = `Basic ${Buffer.from('me:secret').toString('base64')}`;
  registry.fault = (request, answer) => {
    if (request.path !== '/v2/_catalog' || request.headers.authorization !== authorization) {
      return false;
    }
    const page = Number(request.query.get('last') ?? 0);
    const names = Array.from({ length: 10 }, (_, i) => `team/app-${page * 10 + i}`);
    const more =
      page < 2 ? { link: `</v2/_catalog?n=10&last=${page + 1}>; rel="next"` } : undefined;
    answer.writeHead(200, { 'content-type': 'application/json', ...more });
    answer.end(JSON.stringify({ repositories: names }));
    return true;
  };
  const auth: AuthConfig = {
    username: 'me',
    password: 'secret',
    ...{ auth: '', email: '', serveraddress: '', identitytoken: '', registrytoken: '' },
  };
  assert.deepEqual(await search(registry, 'app-2', { auth }), [
    'HOST/team/app-2 0',
    ...Array.from({ length: 10 }, (_, i) => `HOST/team/app-${20 + i} 0`).slice(0, 10),
  ]);
  assert.equal((await search(registry, 'app', { auth, limit: 3 })).length, 3);
  await assert.rejects(search(registry, 'app'), /no basic auth credentials/);
});

test('a registry without search and catalog says so, and no page of another host is asked', async () => {
  await using registry = await startFaultyRegistry();
  await using stranger = await startFaultyRegistry();
  await assert.rejects(search(registry, 'app'), { kind: 'notFound' });
  registry.fault = ({ path }, answer) => {
    if (path !== '/v2/_catalog') return false;
    answer.writeHead(200, { link: `<${stranger.url}/v2/_catalog?last=x>; rel="next"` });
    answer.end(JSON.stringify({ repositories: ['app'] }));
    return true;
  };
  assert.deepEqual(await search(registry, 'app'), ['HOST/app 0']);
  assert.deepEqual(stranger.requests, []);
  registry.fault = (_, answer) => {
    answer.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in');
    return true;
  };
  await assert.rejects(
    search(registry, 'app'),
    /^EngineError: the registry answered with a web page instead of a catalog: /,
  );
});
