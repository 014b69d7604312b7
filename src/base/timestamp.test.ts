import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseTimestampNs, parseUnixNs } from './timestamp.ts';

const NOW = 1_700_000_000_000_000_000n;

test('every form that Docker takes is understood', () => {
  const local = BigInt(new Date(2006, 0, 2, 15, 4, 5).getTime()) * 1_000_000n;
  const cases: [string, bigint][] = [
    ['10m', NOW - 600_000_000_000n],
    ['1h30m', NOW - 5_400_000_000_000n],
    ['0', 0n],
    ['1136073845', 1_136_073_845_000_000_000n],
    ['1136073845.000000001', 1_136_073_845_000_000_001n],
    ['1136073845.5', 1_136_073_845_500_000_000n],
    ['2006-01-02T15:04:05Z', 1_136_214_245_000_000_000n],
    ['2006-01-02T15:04:05.123456789Z', 1_136_214_245_123_456_789n],
    ['2006-01-02T15:04:05+01:00', 1_136_210_645_000_000_000n],
    ['2006-01-02T15:04Z', 1_136_214_240_000_000_000n],
    ['2006-01-02T15:04:05', local],
    ['2006-01-02T15:04', local - 5_000_000_000n],
    ['2006-01-02', BigInt(new Date(2006, 0, 2).getTime()) * 1_000_000n],
  ];
  for (const [text, want] of cases) assert.equal(parseTimestampNs(text, NOW), want, text);
});

test('what is no time is refused', () => {
  for (const bad of ['', 'yesterday', '2006-13-01', '1e9', '10 m', '2006-01-02T25:00:00Z']) {
    assert.throws(() => parseTimestampNs(bad, NOW), /failed to parse value as time/, bad);
  }
  assert.equal(parseUnixNs('abc'), undefined);
});
