import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { parseChallenges } from './challenge.ts';

const plain = (header: string): [string, Record<string, string>][] =>
  parseChallenges(header).map(({ scheme, parameters }) => [scheme, Object.fromEntries(parameters)]);

test('challenges of real registries', () => {
  const realm = 'https://auth.docker.io/token';
  assert.deepEqual(plain(`Bearer realm="${realm}",service="registry.docker.io",scope="a:b:pull"`), [
    ['bearer', { realm, service: 'registry.docker.io', scope: 'a:b:pull' }],
  ]);
  assert.deepEqual(plain('Basic realm="a, \\"b\\"", Bearer realm=x , service=y'), [
    ['basic', { realm: 'a, "b"' }],
    ['bearer', { realm: 'x', service: 'y' }],
  ]);
  assert.deepEqual(plain('Negotiate, Negotiate YII=, BASIC Realm="r"'), [
    ['negotiate', {}],
    ['negotiate', {}],
    ['basic', { realm: 'r' }],
  ]);
  assert.deepEqual(plain(''), []);
  assert.deepEqual(plain('"'), []);
});

test('what is written is read back', () => {
  const token = fc.stringMatching(/^[a-z]{1,10}$/);
  const value = fc.string({ unit: 'grapheme-ascii', maxLength: 30 });
  const challenge = fc.tuple(token, fc.dictionary(token, value, { minKeys: 1, maxKeys: 4 }));
  fc.assert(
    fc.property(fc.array(challenge, { minLength: 1, maxLength: 5 }), (challenges) => {
      const header = challenges
        .map(([scheme, parameters]) => {
          const pairs = Object.entries(parameters).map(
            ([name, text]) => `${name}="${text.replace(/["\\]/g, '\\$&')}"`,
          );
          return `${scheme} ${pairs.join(', ')}`;
        })
        .join(', ');
      assert.deepEqual(
        plain(header),
        challenges.map(([scheme, parameters]) => [scheme, { ...parameters }]),
      );
    }),
  );
});

test('no header makes it throw or hang', () => {
  fc.assert(
    fc.property(fc.string({ maxLength: 300 }), (header) => {
      for (const { scheme } of parseChallenges(header)) assert.notEqual(scheme, '');
    }),
    { numRuns: 2000 },
  );
});
