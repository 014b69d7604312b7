import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openBox } from '../support/box.ts';
import { soak } from '../support/soak.ts';

/** A small one of what script/test-soak does at length. */

test('sixty starts, execs and attaches while the daemon is killed: no leak, no lost exit code', async () => {
  await using box = await openBox();
  const plan = { seed: 1, operations: 60, clients: 4, killAfterMs: [300, 1500] as const };
  const { kills, starts, execs, attaches } = await soak(box, plan);
  assert.ok(kills >= 3, `${kills} kills`);
  assert.equal(starts + execs + attaches, 60);
});
