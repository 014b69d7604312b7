import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { deferred } from '../base/async.ts';
import { openSyscalls } from '../kernel/ffi.ts';
import { Writeback } from './writeback.ts';

test('who lets go in the middle of a turn waits for the batch that the turn begins', async () => {
  const batches = [deferred(), deferred()];
  let begun = 0;
  const writeback = new Writeback(openSyscalls(), -1);
  writeback.maker = {
    settle: () => undefined,
    heldFiles: 0,
    writeOut: async () => await batches[begun++]?.promise,
  };
  writeback.posted(1, true);
  await writeback.turn();
  writeback.posted(1, true);
  const turn = writeback.turn();
  let isDisposed = false;
  const disposed = writeback[Symbol.asyncDispose]().then(() => {
    isDisposed = true;
  });
  batches[0]?.resolve();
  await turn;
  await setImmediate();
  assert.deepEqual([begun, isDisposed], [2, false]);
  batches[1]?.resolve();
  await disposed;
});
