import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { containerConfig, type HealthConfig, healthConfig } from '../spec/docker/container.ts';
import { afterProbe, type HealthPlan, healthPlan, probeDelayMs } from './health.ts';

const SEC = 1e9;

function planOf(check: Partial<HealthConfig>): HealthPlan | undefined {
  const Healthcheck = { ...healthConfig.zero(), Test: ['CMD', 'true'], ...check };
  return healthPlan({ ...containerConfig.zero(), Healthcheck });
}

describe('the plan of a healthcheck', () => {
  test("has Docker's defaults where the check says nothing", () => {
    assert.deepEqual(planOf({}), {
      command: ['true'],
      intervalMs: 30_000,
      timeoutMs: 30_000,
      startPeriodMs: 0,
      startIntervalMs: 5_000,
      retries: 3,
    });
  });

  test('runs words as they are, and text in a shell', () => {
    assert.deepEqual(planOf({ Test: ['CMD', 'a', 'b'] })?.command, ['a', 'b']);
    assert.deepEqual(planOf({ Test: ['CMD-SHELL', 'a b'] })?.command, ['/bin/sh', '-c', 'a b']);
  });

  test('is none for NONE, for nothing, and for a kind without a command', () => {
    for (const Test of [['NONE'], [], ['CMD'], ['CMD-SHELL'], ['WHAT', 'x']]) {
      assert.equal(planOf({ Test }), undefined, Test.join());
    }
    assert.equal(healthPlan(containerConfig.zero()), undefined);
  });
});

describe('a probe', () => {
  const plan = planOf({
    ...{ Interval: 30 * SEC, StartPeriod: 60 * SEC, StartInterval: 2 * SEC, Retries: 2 },
  }) as HealthPlan;
  const starting = { status: 'starting', failingStreak: 0 } as const;
  const failed = { exitCode: 1, ageMs: 70_000 };

  test('comes at the start interval until the container is healthy or its start period over', () => {
    assert.equal(probeDelayMs('starting', 0, plan), 2_000);
    assert.equal(probeDelayMs('starting', 59_999, plan), 2_000);
    assert.equal(probeDelayMs('starting', 60_000, plan), 30_000);
    assert.equal(probeDelayMs('healthy', 1_000, plan), 30_000);
  });

  test('that fails within the start period does not count', () => {
    assert.deepEqual(afterProbe(starting, { exitCode: 1, ageMs: 59_000 }, plan), starting);
  });

  test('that succeeds ends the start period: the next failures count', () => {
    const healthy = afterProbe(starting, { exitCode: 0, ageMs: 5_000 }, plan);
    assert.deepEqual(healthy, { status: 'healthy', failingStreak: 0 });
    assert.deepEqual(afterProbe(healthy, { exitCode: 1, ageMs: 6_000 }, plan), {
      status: 'healthy',
      failingStreak: 1,
    });
  });

  test('makes it unhealthy after so many failures in a row, and healthy by one success', () => {
    const once = afterProbe(starting, failed, plan);
    assert.deepEqual(once, { status: 'starting', failingStreak: 1 });
    const twice = afterProbe(once, failed, plan);
    assert.deepEqual(twice, { status: 'unhealthy', failingStreak: 2 });
    assert.deepEqual(afterProbe(twice, failed, plan), { status: 'unhealthy', failingStreak: 3 });
    assert.deepEqual(afterProbe(twice, { exitCode: 0, ageMs: 90_000 }, plan), {
      status: 'healthy',
      failingStreak: 0,
    });
  });
});
