import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { test } from 'node:test';
import type { CliOutput } from './context.ts';
import { ProgressView, progressText, wholeText } from './progress.ts';

const output = (isTTY: boolean, columns = 80): CliOutput =>
  Object.assign(new Writable(), { isTTY, columns, rows: 24 });

const downloading = (current: number, whole: { current: number; bytesPerSec?: number }) => ({
  status: 'Downloading',
  id: 'aaa',
  progressDetail: { current, total: 4000, whole: { total: 9000, ...whole } },
});

test('a pull is summed up in what there is room for', () => {
  const pull = { current: 12_300_000, total: 64_100_000, bytesPerSec: 1_200_000 };
  for (const [columns, text] of [
    [79, 'Downloaded 12.3MB of 64.1MB at 1.2MB/s, 43s left'],
    [40, '12.3MB of 64.1MB at 1.2MB/s, 43s left'],
    [30, '12.3MB/64.1MB 1.2MB/s 43s'],
    [20, '19% 43s'],
    [5, '19%'],
    [2, '19'],
  ] as const) {
    assert.equal(wholeText('Downloaded', pull, columns), text);
  }
  const { bytesPerSec: _speed, ...early } = pull;
  assert.equal(wholeText('Downloaded', early, 79), 'Downloaded 12.3MB of 64.1MB');
  const stalled = { ...pull, bytesPerSec: 0 };
  assert.equal(wholeText('Downloaded', stalled, 79), 'Downloaded 12.3MB of 64.1MB, standing still');
  const slow = { ...pull, bytesPerSec: 5000 };
  assert.equal(
    wholeText('Downloaded', slow, 79),
    'Downloaded 12.3MB of 64.1MB at 5kB/s, 2h52m40s left',
  );
});

test('a bar takes the room there is, and none where it is too little', () => {
  const message = { progressDetail: { current: 1_000_000, total: 4_000_000 } };
  const wide = progressText(message, 120);
  assert.equal(wide, `[${'='.repeat(12)}>${' '.repeat(37)}]      1MB/4MB`);
  for (let columns = 29; columns < 69; columns += 1) {
    const text = progressText(message, columns);
    assert(text.length <= columns && text.startsWith('[='), `${columns}: ${text}`);
  }
  assert.equal(progressText(message, 28), '1MB/4MB');
});

test('below the lines stands the whole pull, as long as something is to come', () => {
  const view = new ProgressView(output(true));
  view.render({ status: 'Pulling fs layer', id: 'aaa', progressDetail: {} });
  const first = view.render(downloading(1000, { current: 3000 }));
  assert.match(first, /\r\x1b\[1BDownloaded 3kB of 9kB$/);
  const second = view.render(downloading(2000, { current: 4000, bytesPerSec: 500 }));
  assert(second.startsWith('\r\x1b[2K\x1b[1A\r\x1b[2Kaaa: Downloading ['), second);
  assert(second.endsWith('\r\x1b[1BDownloaded 4kB of 9kB at 500B/s, 10s left'), second);
  // A new line goes where it stood, and it is drawn again below.
  const line = view.render({ status: 'Waiting', id: 'bbb', progressDetail: {} });
  assert.equal(line, '\r\x1b[2K\r\x1b[2Kbbb: Waiting\nDownloaded 4kB of 9kB at 500B/s, 10s left');
  const last = view.render(downloading(4000, { current: 9000, bytesPerSec: 500 }));
  assert.doesNotMatch(last, /Downloaded/);
  assert.equal(view.end(), '');
});

test('what stands below is taken away before other text, and at the end', () => {
  const view = new ProgressView(output(true));
  view.render(downloading(1000, { current: 3000 }));
  assert.equal(view.render({ status: 'Digest: x' }), '\r\x1b[2KDigest: x\n');
  assert.equal(view.end(), '');
  view.render(downloading(2000, { current: 4000 }));
  assert.equal(view.end(), '\r\x1b[2K');
});

test('where nothing can be redrawn, a long pull is told of now and then', () => {
  let nowMs = 0;
  const view = new ProgressView(output(false), () => nowMs);
  const said: string[] = [];
  for (; nowMs < 100_000; nowMs += 100) {
    said.push(view.render(downloading(2000, { current: 3000 + nowMs / 100, bytesPerSec: 10 })));
  }
  assert.deepEqual(
    said.filter((text) => text !== ''),
    [
      'Downloaded 3.3kB of 9kB at 10B/s, 9m30s left\n',
      'Downloaded 3.6kB of 9kB at 10B/s, 9m0s left\n',
      'Downloaded 3.9kB of 9kB at 10B/s, 8m30s left\n',
    ],
  );
});

test('a bar without a line of its own is drawn over by what follows', () => {
  const view = new ProgressView(output(true));
  const bar = (current: number) => ({
    status: 'Importing',
    progressDetail: { current, total: 4000 },
  });
  assert.match(view.render(bar(1000)), /^Importing \[=+>.*1kB\/4kB$/);
  assert.match(view.render(bar(4000)), /^\r\x1b\[2KImporting \[=+>?.*4kB\/4kB$/);
  assert.equal(view.render({ status: 'sha256:abc' }), '\r\x1b[2Ksha256:abc\n');
  assert.equal(view.end(), '');
});
