import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { ProgressMessage } from '../spec/docker/progress.ts';
import { LayerProgress } from './layer-progress.ts';
import { Transfers } from './transfers.ts';

const DATE_MS = 1_790_000_000_000;

test('what comes is summed up over all layers, and what an earlier pull had is left out', () => {
  let nowMs = 0;
  const transfers = new Transfers({ nowMs: () => nowMs, epochMs: () => DATE_MS + nowMs });
  const [resumed, whole, byDelta] = [{}, {}, {}];
  transfers.expect(resumed, 10_000, 8000);
  transfers.expect(whole, 4000);
  transfers.expect(byDelta, 500);
  transfers.begin();
  assert.deepEqual(transfers.note(resumed, 8000), { whole: { current: 0, total: 6500 } });
  assert.equal(transfers.secondsLeft(resumed), undefined, 'too early to tell');

  let noted = {};
  for (let i = 1; i <= 10; i += 1) {
    nowMs += 100;
    transfers.moved(100);
    noted = transfers.note(resumed, 8000 + i * 100);
  }
  // Of 9,000 bytes at 1,000 a second: by its clock a client finds that the last 1,000 take one.
  assert.deepEqual(noted, {
    start: DATE_MS / 1000 + 1 - 9,
    whole: { current: 1000, total: 6500, bytesPerSec: 1000 },
  });
  assert.equal(transfers.secondsLeft(resumed), 1);

  transfers.expect(byDelta, 2000); // the delta is of no use, the layer comes
  assert.equal(transfers.note(byDelta, 50).whole?.total, 8000);
  assert.equal(transfers.note(whole, 4000).whole?.current, 5050);
  nowMs += 20_000;
  assert.equal(transfers.note(whole, 4000).whole?.bytesPerSec, 0, 'nothing came for long');
  assert.equal(transfers.secondsLeft(resumed), undefined);
});

test('a download that stands still says so, and one that is over says nothing more', async () => {
  const lines: ProgressMessage[] = [];
  const transfers = new Transfers({ nowMs: () => performance.now(), epochMs: Date.now });
  const line = new LayerProgress('aaa', (message) => lines.push(message), transfers);
  transfers.expect(line, 4000);
  line.bytes('Downloading', 1000, 4000);
  line.again();
  assert.equal(lines.length, 1, 'it was said just now');
  await new Promise((resolve) => setTimeout(resolve, 1100));
  line.again();
  assert.equal(lines.length, 2);
  assert.deepEqual(lines[1]?.progressDetail?.whole, { current: 1000, total: 4000, bytesPerSec: 0 });
  line.say('Download complete');
  await new Promise((resolve) => setTimeout(resolve, 1100));
  line.again();
  assert.equal(lines.length, 3);
});
