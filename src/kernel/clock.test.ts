import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from './clock.ts';

test('a sleep of more than a timer can count does not end at once', async () => {
  for (const ms of [2 ** 31, 2 ** 31 + 1000, 2 ** 40]) {
    const control = new AbortController();
    const long = systemClock.sleep(ms, { signal: control.signal });
    const ended = long.then(
      () => 'ended',
      () => 'aborted',
    );
    const short = systemClock.sleep(50).then(() => 'sleeps');
    assert.equal(await Promise.race([ended, short]), 'sleeps');
    control.abort();
    assert.equal(await ended, 'aborted');
  }
});

test('a short sleep ends', async () => {
  const before = systemClock.monotonicMs();
  await systemClock.sleep(20);
  assert.ok(systemClock.monotonicMs() - before >= 19);
});
