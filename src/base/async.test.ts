import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as tick } from 'node:timers/promises';
import { KeyedLock, Semaphore, TaskGroup } from './async.ts';

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
