import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EngineError } from './errors.ts';
import { familiarReference, fullReference, parseReference, withDefaultTag } from './reference.ts';

const HEX = 'a'.repeat(64);

test('short names mean the library of docker.io', () => {
  const reference = withDefaultTag(parseReference('debian'));
  assert.equal(fullReference(reference), 'docker.io/library/debian:latest');
  assert.equal(familiarReference(reference), 'debian:latest');
});

test('domains are told from paths as distribution does', () => {
  const cases: [string, string, string][] = [
    ['user/app', 'docker.io', 'user/app'],
    ['localhost/app', 'localhost', 'app'],
    ['localhost:5000/app:v1', 'localhost:5000', 'app'],
    ['registry.example/team/app', 'registry.example', 'team/app'],
    ['index.docker.io/debian', 'docker.io', 'library/debian'],
    ['[::1]:5000/app', '[::1]:5000', 'app'],
    [`app@sha256:${HEX}`, 'docker.io', 'library/app'],
  ];
  for (const [text, domain, path] of cases) {
    const reference = parseReference(text);
    assert.deepEqual([reference.domain, reference.path], [domain, path], text);
  }
});

test('what is no reference is refused in the words of Docker', () => {
  const cases: [string, string][] = [
    ['', 'invalid reference format'],
    ['Debian', 'invalid reference format: repository name (library/Debian) must be lowercase'],
    ['host:1/a/B:c', 'invalid reference format: repository name (a/B) must be lowercase'],
    ['debian:', 'invalid reference format'],
    ['debian:-x', 'invalid reference format'],
    ['a//b', 'invalid reference format'],
    ['a b', 'invalid reference format'],
    ['debian@sha256:12', 'invalid reference format'],
    ['debian\n', 'invalid reference format'],
    [HEX, `invalid repository name (${HEX}), cannot specify 64-byte hexadecimal strings`],
    [`a${'b'.repeat(255)}`, 'repository name must not be more than 255 characters'],
  ];
  for (const [text, message] of cases) {
    assert.throws(() => parseReference(text), { message }, text);
  }
});

test('a reference survives being written and read again; hostile text gives one error', () => {
  const part = fc.stringMatching(/^[a-z0-9]{1,5}([._-][a-z0-9]{1,4})?$/);
  const valid = fc
    .tuple(
      fc.constantFrom('', 'localhost:5000/', 'r.example/'),
      part,
      part,
      fc.constantFrom('', ':v1'),
    )
    .map(([domain, a, b, tag]) => `${domain}${a}/${b}${tag}`);
  fc.assert(
    fc.property(valid, (text) => {
      const reference = parseReference(text);
      assert.deepEqual(parseReference(fullReference(reference)), reference);
      assert.deepEqual(parseReference(familiarReference(reference)), reference);
    }),
  );
  fc.assert(
    fc.property(fc.string({ maxLength: 40 }), (text) => {
      try {
        parseReference(text);
      } catch (error) {
        assert.ok(error instanceof EngineError && error.kind === 'invalidArgument');
      }
    }),
    { numRuns: 5000 },
  );
});
