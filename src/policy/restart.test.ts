import assert from 'node:assert/strict';
import { test } from 'node:test';
import { restartDelayMs, startsWithDaemon } from './restart.ts';

const end = {
  policy: { Name: 'always', MaximumRetryCount: 0 },
  exitCode: 0,
  restartCount: 0,
  stopAsked: false,
  ranMs: 5,
  lastDelayMs: 0,
};

test('waits double from 100 ms to a minute, and begin anew after ten seconds of running', () => {
  const waits: number[] = [];
  let lastDelayMs = 0;
  for (let i = 0; i < 12; i += 1) {
    lastDelayMs = restartDelayMs({ ...end, lastDelayMs }) ?? Number.NaN;
    waits.push(lastDelayMs);
  }
  assert.deepEqual(waits.slice(0, 4), [100, 200, 400, 800]);
  assert.deepEqual(waits.slice(-2), [60_000, 60_000]);
  assert.equal(restartDelayMs({ ...end, lastDelayMs: 60_000, ranMs: 10_000 }), 100);
});

test('each policy restarts what it should', () => {
  const restarts = (Name: string, more: object = {}): boolean =>
    restartDelayMs({ ...end, policy: { Name, MaximumRetryCount: 0 }, ...more }) !== undefined;
  assert.deepEqual(
    ['', 'no', 'always', 'unless-stopped', 'on-failure'].map((name) => restarts(name)),
    [false, false, true, true, false],
  );
  assert.ok(restarts('on-failure', { exitCode: 1 }));
  assert.ok(!restarts('always', { stopAsked: true }));
  const limited = { policy: { Name: 'on-failure', MaximumRetryCount: 2 }, exitCode: 1 };
  assert.deepEqual(
    [0, 1, 2].map((restartCount) => restarts('', { ...limited, restartCount })),
    [true, true, false],
  );
});

test('with the daemon start: always, unless-stopped unless stopped, on-failure what went down', () => {
  const boot = {
    exitCode: 255,
    restartCount: 0,
    wasRunning: true,
    stoppedByUser: false,
    everStarted: true,
  };
  const starts = (Name: string, more: object = {}): boolean =>
    startsWithDaemon({ ...boot, policy: { Name, MaximumRetryCount: 0 }, ...more });
  assert.ok(starts('always', { stoppedByUser: true, wasRunning: false }));
  assert.ok(!starts('always', { everStarted: false }));
  assert.ok(starts('unless-stopped'));
  assert.ok(!starts('unless-stopped', { stoppedByUser: true }));
  assert.ok(starts('on-failure'));
  assert.ok(!starts('on-failure', { wasRunning: false }));
  assert.ok(!starts('on-failure', { exitCode: 0 }));
  assert.ok(!starts('no') && !starts(''));
});
