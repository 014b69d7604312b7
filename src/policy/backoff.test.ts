import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { backoffMs, parseRetryAfterMs } from './backoff.ts';

test('waits double, are jittered by half, and have a limit', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 1000 }),
      fc.double({ min: 0, max: 0.999, noNaN: true }),
      (attempt, random) => {
        const wait = backoffMs({ attempt, random, baseMs: 500, maxMs: 60_000 });
        const full = Math.min(60_000, 500 * 2 ** (attempt - 1));
        assert(wait >= Math.floor(full / 2) && wait <= full);
      },
    ),
  );
});

test('what a server asks for is obeyed, up to the limit', () => {
  const at = (retryAfterMs: number): number =>
    backoffMs({ attempt: 1, random: 0, baseMs: 500, maxMs: 60_000, retryAfterMs });
  assert.equal(at(7000), 7000);
  assert.equal(at(1), 250);
  assert.equal(at(3_600_000), 60_000);
});

test('Retry-After is seconds or a date', () => {
  const now = Date.parse('Tue, 24 Nov 2026 12:00:00 GMT');
  assert.equal(parseRetryAfterMs('120', now), 120_000);
  assert.equal(parseRetryAfterMs('Tue, 24 Nov 2026 12:00:30 GMT', now), 30_000);
  assert.equal(parseRetryAfterMs('Tue, 24 Nov 2026 11:00:00 GMT', now), 0);
  for (const bad of [undefined, '', 'soon', '-5', '1.5', '2026-11-24']) {
    assert.equal(parseRetryAfterMs(bad, now), undefined, String(bad));
  }
});
