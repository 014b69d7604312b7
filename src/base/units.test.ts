import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { humanSize, humanSizeBinary, parseSizeBinary, parseSizeDecimal } from './bytes.ts';
import { chainIds } from './chain-id.ts';
import { ageFrom, compareTimes, formatTimeNs, parseTimeNs } from './clock.ts';
import { type DiffId, parseDigest } from './digest.ts';
import { formatDurationNs, humanDuration, parseDurationNs } from './duration.ts';
import { newId } from './id.ts';
import { formatLogLine } from './log.ts';

test('sizes are read as Docker reads them', () => {
  assert.equal(parseSizeBinary('512m'), 512 << 20);
  assert.equal(parseSizeBinary('1.5 GiB'), 1.5 * 2 ** 30);
  assert.equal(parseSizeBinary('64'), 64);
  assert.equal(parseSizeDecimal('10MB'), 10_000_000);
  for (const bad of ['', 'm', '-1', '1x', '1 m b', '0x10']) {
    assert.equal(parseSizeBinary(bad), undefined, bad);
  }
});

test('sizes are shown with four digits', () => {
  assert.equal(humanSize(0), '0B');
  assert.equal(humanSize(999), '999B');
  assert.equal(humanSize(1_093_484), '1.093MB');
  assert.equal(humanSize(116_400_000), '116.4MB');
  assert.equal(humanSizeBinary(536_870_912), '512MiB');
});

test('durations are Go durations', () => {
  assert.equal(parseDurationNs('1h15m30.5s'), 4_530_500_000_000);
  assert.equal(parseDurationNs('-1.5h'), -5_400_000_000_000);
  assert.equal(parseDurationNs('0'), 0);
  for (const bad of ['', '1', 's', '1d', '1h 2m'])
    assert.equal(parseDurationNs(bad), undefined, bad);
  assert.equal(formatDurationNs(90e9), '1m30s');
  assert.equal(formatDurationNs(3_600e9), '1h0m0s');
  assert.equal(formatDurationNs(1.5e6), '1.5ms');
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 10 ** 13 }), (ns) => {
      assert.equal(parseDurationNs(formatDurationNs(ns)), ns);
    }),
  );
});

test('ages are told in words', () => {
  const s = 1000;
  const h = 3600 * s;
  const cases: [number, string][] = [
    [999, 'Less than a second'],
    [s, '1 second'],
    [59 * s, '59 seconds'],
    [60 * s, 'About a minute'],
    [120 * s, '2 minutes'],
    [h, 'About an hour'],
    [3 * h, '3 hours'],
    [72 * h, '3 days'],
    [24 * 21 * h, '3 weeks'],
    [24 * 90 * h, '3 months'],
    [24 * 800 * h, '2 years'],
  ];
  for (const [ms, text] of cases) assert.equal(humanDuration(ms), text);
});

test('an age grows by the time that passes', () => {
  let passedMs = 5_000;
  const age = ageFrom({ monotonicMs: () => passedMs }, 2_000);
  assert.equal(age(), 2_000);
  passedMs += 1_500;
  assert.equal(age(), 3_500);
});

test('times as text compare as the times do', () => {
  // Few digits, so that fractions end in zeros.
  const time = fc.tuple(fc.nat({ max: 2 }), fc.nat({ max: 120 }), fc.constantFrom(1n, 10_000_000n));
  fc.assert(
    fc.property(time, time, (a, b) => {
      const [first, second] = [a, b].map(
        ([seconds, n, unit]) => BigInt(seconds) * 1_000_000_000n + BigInt(n) * unit,
      ) as [bigint, bigint];
      const order = compareTimes(formatTimeNs(first), formatTimeNs(second));
      assert.equal(Math.sign(order), first < second ? -1 : first > second ? 1 : 0);
    }),
  );
});

test('times keep their nanoseconds through text', () => {
  assert.equal(formatTimeNs(0n), '1970-01-01T00:00:00Z');
  assert.equal(formatTimeNs(1_700_000_000_120_000_000n), '2023-11-14T22:13:20.12Z');
  assert.equal(parseTimeNs('2023-11-14T23:13:20.12+01:00'), 1_700_000_000_120_000_000n);
  assert.equal(parseTimeNs('yesterday'), undefined);
  fc.assert(
    fc.property(fc.bigInt({ min: 0n, max: 4_000_000_000_000_000_000n }), (ns) => {
      assert.equal(parseTimeNs(formatTimeNs(ns)), ns);
    }),
  );
});

test('chainIDs are hashed over text, lower layer first', () => {
  const a = `sha256:${'a'.repeat(64)}` as DiffId;
  const b = `sha256:${'b'.repeat(64)}` as DiffId;
  const [first, second] = chainIds([a, b]);
  assert.equal(first, a);
  // printf 'sha256:aa… sha256:bb…' | sha256sum
  assert.equal(second, 'sha256:ccd722928bd92476ba1745586fed6e45a102504185ad88cd89e01ff116fd146c');
});

test('an ID is never mistaken for a number', () => {
  let calls = 0;
  const bytes = (n: number): Uint8Array => {
    calls += 1;
    return new Uint8Array(n).fill(calls === 1 ? 0x11 : 0xab);
  };
  assert.equal(newId({ bytes }), 'ab'.repeat(32));
  assert.equal(calls, 2);
});

test('digests of other algorithms are told apart from nonsense', () => {
  assert.throws(() => parseDigest(`sha512:${'a'.repeat(128)}`), /unsupported digest algorithm/);
  assert.throws(() => parseDigest('sha256:xyz'), /want sha256: and 64 hex digits/);
});

test('a log line cannot be forged by what it quotes', () => {
  const line = formatLogLine('now', 'warn', 'a "b"\nlevel=error', { path: 'x y\n', n: 1 });
  assert.equal(line, 'time="now" level=warning msg="a \\"b\\"\\nlevel=error" path="x y\\n" n=1');
});
