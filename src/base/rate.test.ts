import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RateMeter } from './rate.ts';

/** A meter that gets `perTick` every 100 ms for so many seconds. */
function feeder(): {
  meter: RateMeter;
  run: (seconds: number, perTick: number) => void;
} {
  let nowMs = 1000;
  const meter = new RateMeter(() => nowMs);
  return {
    meter,
    run: (seconds, perTick) => {
      for (let i = 0; i < seconds * 10; i += 1) {
        nowMs += 100;
        if (perTick > 0) meter.add(perTick);
      }
    },
  };
}

function assertNear(actual: number | undefined, expected: number): void {
  assert(actual !== undefined && Math.abs(actual - expected) <= expected * 0.1, `${actual}`);
}

test('a rate is that of the last seconds, whatever was before', () => {
  const { meter, run } = feeder();
  assert.equal(meter.perSec(), undefined, 'too early to tell');
  run(0.3, 50);
  assert.equal(meter.perSec(), undefined, 'still too early');
  run(2, 50);
  assertNear(meter.perSec(), 500);
  run(20, 5000);
  assertNear(meter.perSec(), 50_000);
  run(20, 10);
  assertNear(meter.perSec(), 100);
});

test('a rate falls while nothing comes, and is none in the end', () => {
  const { meter, run } = feeder();
  run(10, 1000);
  run(4, 0);
  assertNear(meter.perSec(), 5000);
  run(10, 0);
  assert((meter.perSec() ?? 1e9) < 600, 'what came in the last step before it');
  run(10, 100);
  assertNear(meter.perSec(), 1000);
});
