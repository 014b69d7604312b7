import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { EngineError } from '../base/errors.ts';
import { array, decodeJson, int, nullable, string, strings, struct } from './decode.ts';
import { createRequest } from './docker/container.ts';
import { parseFilters } from './filters.ts';

const point = struct('Point', {
  X: int,
  Name: string,
  Tags: nullable(array(string)),
  Cmd: strings,
});

test('missing and null are zero values, unknown fields are ignored, keys match in any case', () => {
  assert.deepEqual(decodeJson(point, '{"x": 1, "name": null, "Other": {}}'), {
    X: 1,
    Name: '',
    Tags: null,
    Cmd: [],
  });
  assert.equal(decodeJson(point, '{"x": 1, "X": 2}').X, 2);
  assert.equal(decodeJson(point, '{"X": 2, "x": 1}').X, 2);
});

test('a list of strings may be one string', () => {
  assert.deepEqual(decodeJson(point, '{"Cmd": "ls"}').Cmd, ['ls']);
});

test('a wrong type names the field', () => {
  assert.throws(() => decodeJson(point, '{"X": "1"}'), {
    message: 'json: cannot unmarshal string into Go struct field Point.X of type int64',
  });
  assert.throws(() => decodeJson(point, '{"X": 1.5}'), /number 1\.5 into Go struct field Point\.X/);
  assert.throws(() => decodeJson(point, '[]'), /cannot unmarshal array/);
  assert.throws(() => decodeJson(point, ''), { message: 'EOF' });
});

test('any JSON is a request or one clear error; __proto__ is only data', () => {
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), (text) => {
      try {
        decodeJson(createRequest, text);
      } catch (error) {
        assert.ok(error instanceof EngineError && error.kind === 'invalidArgument', String(error));
      }
    }),
    { numRuns: 2000 },
  );
  const request = decodeJson(
    createRequest,
    '{"Labels": {"__proto__": "x"}, "__proto__": {"Tty": true}}',
  );
  assert.equal(request.Tty, false);
  assert.equal(({} as Record<string, unknown>)['Tty'], undefined);
  assert.deepEqual(Object.keys(request.Labels), ['__proto__']);
});

test('filters come as lists or as the maps of old clients', () => {
  assert.deepEqual(parseFilters('{"label":["a","b=c"]}'), { label: ['a', 'b=c'] });
  assert.deepEqual(parseFilters('{"label":{"a":true,"b":false}}'), { label: ['a'] });
  assert.deepEqual(parseFilters(''), {});
  for (const bad of ['[]', '{', '{"a":1}', '{"a":[1]}', 'null']) {
    assert.throws(() => parseFilters(bad), { message: 'invalid filter' }, bad);
  }
});

test("the ends of Go's int64, which a double has not, stay within it", () => {
  const { X } = decodeJson(point, '{"X": 9223372036854775807}');
  assert.ok(BigInt(X) < 2n ** 63n, String(X));
  assert.ok(BigInt(decodeJson(point, '{"X": -9223372036854775808}').X) >= -(2n ** 63n));
  assert.throws(() => decodeJson(point, '{"X": 1e19}'), /into Go struct field/);
});
