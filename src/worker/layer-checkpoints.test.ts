import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseDigest } from '../base/digest.ts';
import { CHECKPOINT_PACE, LayerCheckpoints } from './layer-checkpoints.ts';

const DIGEST = parseDigest(`sha256:${'0'.repeat(64)}`);

/** Where checkpoints are wanted of a blob of so many bytes that comes at one speed. */
function wanted(sizeBytes: number, bytesPerSec: number): number[] {
  let clockMs = 0;
  const checkpoints = new LayerCheckpoints(DIGEST, CHECKPOINT_PACE, 0, () => clockMs);
  const found: number[] = [];
  for (let bytes = 0; bytes < sizeBytes; bytes += 16_384) {
    clockMs += (16_384 / bytesPerSec) * 1000;
    if (!checkpoints.wantsPlace(bytes)) continue;
    found.push(bytes);
    const state = { hashState: Buffer.alloc(0), point: { inputBytes: bytes, outputBytes: bytes } };
    checkpoints.place(state as unknown as Parameters<LayerCheckpoints['place']>[0]);
    assert(checkpoints.isDue(bytes));
    assert.equal(checkpoints.take()?.hashedBytes, bytes);
  }
  return found;
}

test('a fast link is held up by no more checkpoints than one in some seconds', () => {
  assert.equal(wanted(100 << 20, 200 << 20).length, 0);
  assert.equal(wanted(100 << 20, 10 << 20).length, 3);
});

test('a slow link has one every few megabytes, a very slow one in every half minute', () => {
  assert.equal(wanted(20 << 20, 500 << 10).length, 4);
  // A power that lasts for a minute and a half brings it ahead each time.
  const places = wanted(4 << 20, 20 << 10);
  assert(places.length >= 6, `${places}`);
  assert((places[0] ?? Infinity) <= (20 << 10) * 40);
});
