import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiffId } from '../../base/digest.ts';
import type { ProgressMessage } from '../../spec/docker/progress.ts';
import { Pulls } from './pulls.ts';

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A caller that keeps what it is told. */
function caller(): {
  signal: AbortSignal;
  report: (m: ProgressMessage) => void;
  lines: string[];
  leave: AbortController;
} {
  const leave = new AbortController();
  const lines: string[] = [];
  const report = (m: ProgressMessage): void => void lines.push(`${m.id ?? ''} ${m.status ?? ''}`);
  return { signal: leave.signal, report, lines, leave };
}

test('who comes later sees where the pull stands, then follows it', async () => {
  const pulls = new Pulls();
  const go = Promise.withResolvers<void>();
  let runs = 0;
  const body = async (report: (m: ProgressMessage) => void): Promise<void> => {
    runs += 1;
    report({ status: 'Pulling from x', id: 'v1' });
    report({ status: 'Downloading', id: 'a' });
    report({ status: 'Pull complete', id: 'a' });
    await go.promise;
    report({ status: 'Digest' });
  };
  const one = caller();
  const other = caller();
  const first = pulls.share('k', one, body);
  await turn();
  const second = pulls.share('k', other, body);
  go.resolve();
  await Promise.all([first, second]);
  assert.equal(runs, 1);
  assert.deepEqual(other.lines, ['v1 Pulling from x', 'a Pull complete', ' Digest']);
  assert.deepEqual(one.lines, ['v1 Pulling from x', 'a Downloading', 'a Pull complete', ' Digest']);
  await pulls.share('k', caller(), body);
  assert.equal(runs, 2);
});

test('the last to leave cancels; a newcomer then starts afresh', async () => {
  const pulls = new Pulls();
  let cancelled = 0;
  let runs = 0;
  const body = (_: unknown, signal: AbortSignal): Promise<void> =>
    new Promise((_resolve, reject) => {
      runs += 1;
      signal.addEventListener('abort', () => {
        cancelled += 1;
        reject(new Error('cancelled'));
      });
    });
  const one = caller();
  const other = caller();
  const first = pulls.share('k', one, body);
  const second = pulls.share('k', other, body);
  one.leave.abort(new Error('one left'));
  await assert.rejects(first, { message: 'one left' });
  assert.equal(cancelled, 0);
  other.leave.abort(new Error('other left'));
  await assert.rejects(second, { message: 'other left' });
  assert.equal(cancelled, 1);
  const third = caller();
  const again = pulls.share('k', third, body);
  await turn();
  assert.equal(runs, 2);
  third.leave.abort(new Error('enough'));
  await assert.rejects(again, { message: 'enough' });
});

test('a failure reaches everybody, and is not kept', async () => {
  const pulls = new Pulls();
  const fail = async (): Promise<void> => {
    throw new Error('no');
  };
  const both = [pulls.share('k', caller(), fail), pulls.share('k', caller(), fail)];
  for (const each of both) await assert.rejects(each, { message: 'no' });
  await pulls.share('k', caller(), async () => undefined);
});

test('a layer is fetched by one at a time, and by nobody when it has come', async () => {
  const pulls = new Pulls();
  const diffId = 'sha256:a' as DiffId;
  let isHere = false;
  const first = await pulls.claim(diffId, () => isHere);
  assert(first);
  const second = pulls.claim(diffId, () => isHere);
  const third = pulls.claim(diffId, () => isHere);
  first[Symbol.dispose](); // it failed: the next may try
  const mine = await second;
  assert(mine);
  isHere = true;
  mine[Symbol.dispose]();
  assert.equal(await third, undefined);
});
