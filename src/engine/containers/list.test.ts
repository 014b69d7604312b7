import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ageFrom, type Clock } from '../../base/clock.ts';
import type { ContainerId } from '../../base/id.ts';
import { Container, type Run } from './container.ts';
import { type ContainerDocument, FRESH_STATE } from './document.ts';
import { containerStatusText } from './list.ts';

test('a container is up for as long as it ran, when the clock jumps from 1970 to today', () => {
  let [wallMs, passedMs] = [0, 0];
  const clock = { nowMs: () => wallMs + passedMs, monotonicMs: () => passedMs } as Clock;
  const container = new Container({
    id: 'a' as ContainerId,
    name: 'sensor',
    document: {} as ContainerDocument,
    kept: { ...FRESH_STATE, startedAt: '1970-01-01T00:00:00Z' },
  });
  container.run = { ageMs: ageFrom(clock, 60_000), paused: false } as Run;
  wallMs += 56 * 365 * 86_400_000;
  passedMs += 120_000;
  assert.equal(containerStatusText({ clock }, container), 'Up 3 minutes');
});
