import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EngineError } from '../base/errors.ts';
import { pathOf } from '../client/call.ts';
import { API_RANGE } from '../engine/system/api-range.ts';
import { CONTRACT, type OperationName } from './contract/contract.ts';
import type { EndpointSpec } from './contract/endpoint.ts';
import { API_VERSION_MAX, API_VERSION_MIN, formatApiVersion } from './contract/versions.ts';
import { createRouter } from './router.ts';

const router = createRouter<OperationName>(CONTRACT);

function find(method: string, target: string): unknown {
  const found = router.find(method, target);
  return 'allow' in found ? found : { name: found.name, params: found.params };
}

test('image names with slashes are found between literal segments', () => {
  assert.deepEqual(find('GET', '/images/a/b/c:5000/json'), {
    name: 'imageInspect',
    params: { name: 'a/b/c:5000' },
  });
  assert.deepEqual(find('GET', '/v1.41/images/json'), { name: 'imageList', params: {} });
  assert.deepEqual(find('GET', '/images/json/json'), {
    name: 'imageInspect',
    params: { name: 'json' },
  });
  assert.deepEqual(find('GET', '/images/reg%3A5000%2Fteam%2Fapp@sha256:00/get'), {
    name: 'imageSaveOne',
    params: { name: 'reg:5000/team/app@sha256:00' },
  });
  assert.deepEqual(find('DELETE', '/images/get'), { name: 'imageRemove', params: { name: 'get' } });
  assert.deepEqual(find('POST', 'http://docker/v1.30//containers//x/start?'), {
    name: 'containerStart',
    params: { id: 'x' },
  });
  assert.deepEqual(find('POST', '/images/create?fromSrc=-&repo=x'), {
    name: 'imageImport',
    params: {},
  });
  assert.deepEqual(find('POST', '/images/create?fromImage=x&fromSrc='), {
    name: 'imagePull',
    params: {},
  });
  assert.deepEqual(find('POST', '/images/json'), { allow: ['GET', 'DELETE'] });
  assert.throws(() => find('GET', '/v1.24/system/df'), /page not found/);
});

test('what this engine leaves out is refused in Docker’s shape', () => {
  const kinds: [string, string, string][] = [
    ['GET', '/swarm', 'unavailable'],
    ['GET', '/nodes', 'unavailable'],
    ['POST', '/v1.41/swarm/init', 'notImplemented'],
    ['GET', '/plugins', 'notImplemented'],
    ['POST', '/containers/x/checkpoints', 'notImplemented'],
    ['GET', '/toString', 'notFound'],
    ['GET', '/__proto__/x', 'notFound'],
  ];
  for (const [method, target, kind] of kinds) {
    assert.throws(() => find(method, target), { kind }, target);
  }
});

test('the path that the client makes leads back to its operation', () => {
  const names = Object.keys(CONTRACT) as OperationName[];
  const segment = fc.string({ minLength: 1, maxLength: 12 }).filter((s) => !/[/\0]/.test(s));
  fc.assert(
    fc.property(fc.constantFrom(...names), segment, segment, (name, first, second) => {
      const endpoint: EndpointSpec = CONTRACT[name];
      const value = endpoint.path.includes('...}') ? `${first}/${second}` : first;
      const params = Object.fromEntries(
        [...endpoint.path.matchAll(/\{(\w+)/g)].map((m) => [m[1] ?? '', value]),
      );
      const query = endpoint.when === undefined ? {} : { [endpoint.when]: '-' };
      const found = router.find(endpoint.method, pathOf(endpoint, { params, query }));
      assert.ok(!('allow' in found));
      // `/images/create/json` … are names that a literal takes; the rest leads back.
      if (found.name !== name) assert.ok(Object.values(params).length > 0);
      else assert.deepEqual({ ...found.params }, params);
    }),
    { numRuns: 2000 },
  );
});

test('any request line gives a route or one clear error', () => {
  const part = fc.oneof(
    fc.constantFrom(
      'v1.41',
      'v1.99',
      'v0',
      'containers',
      'images',
      'json',
      '..',
      '',
      '%2F',
      '%',
      '{id}',
    ),
    fc.string({ maxLength: 10 }),
  );
  fc.assert(
    fc.property(fc.constantFrom('GET', 'POST', 'X'), fc.array(part), (method, parts) => {
      try {
        router.find(method, `/${parts.join('/')}`);
      } catch (error) {
        assert.ok(error instanceof EngineError && error.kind !== 'internal', String(error));
      }
    }),
    { numRuns: 5000 },
  );
});

test('the engine says the versions that the contract serves', () => {
  assert.deepEqual(API_RANGE, {
    min: formatApiVersion(API_VERSION_MIN),
    max: formatApiVersion(API_VERSION_MAX),
  });
});
