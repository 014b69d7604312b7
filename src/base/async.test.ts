import assert from 'node:assert/strict';
import { getEventListeners } from 'node:events';
import { test } from 'node:test';
import { setImmediate as tick } from 'node:timers/promises';
import { deferred, KeyedLock, Latch, Semaphore, TaskGroup, unlessAborted } from './async.ts';

test('bodies with one key run in order, with others at once', async () => {
  const lock = new KeyedLock();
  const order: string[] = [];
  const body = (name: string) => async () => {
    order.push(`${name} in`);
    await tick();
    order.push(`${name} out`);
  };
  await Promise.all([lock.run('a', body('1')), lock.run('a', body('2')), lock.run('b', body('3'))]);
  assert.deepEqual(order.indexOf('2 in') > order.indexOf('1 out'), true);
  assert.deepEqual(order.indexOf('3 in') < order.indexOf('1 out'), true);
  assert.equal(lock.isHeld('a'), false);
});

test('a body that throws lets the key go', async () => {
  const lock = new KeyedLock();
  await assert.rejects(
    lock.run('a', () => Promise.reject(new Error('no'))),
    /no/,
  );
  assert.equal(await lock.run('a', () => 1), 1);
});

test('a semaphore never lets more in than it has places', async () => {
  const semaphore = new Semaphore(2);
  let inside = 0;
  let most = 0;
  await Promise.all(
    Array.from({ length: 9 }, () =>
      semaphore.run(async () => {
        inside += 1;
        most = Math.max(most, inside);
        await tick();
        inside -= 1;
      }),
    ),
  );
  assert.equal(most, 2);
});

test('closing a group aborts its tasks, waits for them, and reports only real failures', async () => {
  const failed: string[] = [];
  const group = new TaskGroup((name) => failed.push(name));
  let done = false;
  group.spawn('waits', async (signal) => {
    await new Promise((resolve) => signal.addEventListener('abort', resolve));
    await tick();
    done = true;
    throw new Error('aborted');
  });
  group.spawn('breaks', () => Promise.reject(new Error('broken')));
  await tick();
  await group.close();
  assert.equal(done, true);
  assert.deepEqual(failed, ['breaks']);
});

test('a latch tells all who wait, those who come late, and nobody who left', async () => {
  const latch = new Latch<number>();
  const control = new AbortController();
  const { signal } = control;
  const told: number[] = [];
  const waits = latch.wait(signal);
  const left = latch.subscribe((value) => told.push(value));
  left[Symbol.dispose]();
  const gone = new AbortController();
  const leaves = latch.wait(gone.signal);
  assert.equal(latch.waiterCount, 2);
  gone.abort(new Error('gone'));
  await assert.rejects(leaves, /gone/);
  assert.equal(latch.waiterCount, 1);
  latch.open(7);
  latch.open(8);
  assert.equal(await waits, 7);
  assert.equal(await latch.wait(signal), 7);
  latch.subscribe((value) => told.push(value));
  assert.deepEqual(told, [7]);
  assert.deepEqual([latch.waiterCount, getEventListeners(signal, 'abort').length], [0, 0]);
  control.abort(new Error('late'));
  await assert.rejects(latch.wait(signal), /late/);
});

test('what is waited for unless a signal is aborted leaves no listener on the signal', async () => {
  const { signal } = new AbortController();
  for (let i = 0; i < 3; i += 1) assert.equal(await unlessAborted(Promise.resolve(i), signal), i);
  await assert.rejects(unlessAborted(Promise.reject(new Error('no')), signal), /no/);
  assert.equal(getEventListeners(signal, 'abort').length, 0);
  const abort = new AbortController();
  const never = deferred();
  const waits = unlessAborted(never.promise, abort.signal);
  abort.abort();
  assert.equal(await waits, undefined);
  assert.equal(await unlessAborted(never.promise, abort.signal), undefined);
});
