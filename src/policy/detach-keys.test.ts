import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { DetachFilter, parseDetachKeys } from './detach-keys.ts';

test('keys are read as Docker writes them', () => {
  assert.deepEqual([...parseDetachKeys('')], [16, 17]);
  assert.deepEqual([...parseDetachKeys('ctrl-a,b,ctrl-@,ctrl-[,DEL')], [1, 98, 0, 27, 127]);
  for (const bad of ['ctrl-', 'ctrl-1', 'ab', ',', 'ctrl-p,']) {
    assert.throws(() => parseDetachKeys(bad), /Invalid detach keys/, bad);
  }
});

test('a first key that is typed twice is the first key once, and then again', () => {
  const filter = new DetachFilter(parseDetachKeys('ctrl-p,ctrl-q'));
  assert.deepEqual(filter.push(Uint8Array.of(1, 16)), { bytes: Uint8Array.of(1), detached: false });
  assert.deepEqual(filter.push(Uint8Array.of(16, 17, 9)), {
    bytes: Uint8Array.of(16),
    detached: true,
  });
});

/** Feeds bytes in chunks; gives what came through, and whether the keys were found. */
function feed(
  keys: Uint8Array,
  input: Uint8Array,
  sizes: readonly number[],
): { out: number[]; detached: boolean } {
  const filter = new DetachFilter(keys);
  const out: number[] = [];
  let at = 0;
  for (let i = 0; at < input.length; i += 1) {
    const size = sizes[i % Math.max(sizes.length, 1)] ?? input.length;
    const { bytes, detached } = filter.push(input.subarray(at, at + size));
    out.push(...bytes);
    at += size;
    if (detached) return { out, detached };
  }
  return { out, detached: false };
}

test('the keys are found however the input is cut, and nothing else is lost', () => {
  const keys = Uint8Array.of(16, 17);
  const input = fc.array(fc.constantFrom(16, 17, 65), { maxLength: 30 });
  fc.assert(
    fc.property(
      input,
      fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1 }),
      (bytes, sizes) => {
        const { out, detached } = feed(keys, Uint8Array.from(bytes), sizes);
        const at = bytes.findIndex((byte, i) => byte === 16 && bytes[i + 1] === 17);
        assert.equal(detached, at >= 0);
        if (detached) assert.deepEqual(out, bytes.slice(0, at));
        // A first key at the very end is held back: the next one may follow.
        else assert.deepEqual(out, bytes.at(-1) === 16 ? bytes.slice(0, -1) : bytes);
      },
    ),
  );
});
