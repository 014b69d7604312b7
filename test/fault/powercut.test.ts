import path from 'node:path';
import { test } from 'node:test';
import { runOk } from '../support/processes.ts';

// A handful; `script/test-powercut` makes 300.
test('after a power cut all is as before or as after, and the next start needs no hand', async () => {
  const main = path.join(import.meta.dirname, 'powercut/main.ts');
  const cuts = ['--filesystem', 'ext4', '--cuts', '6', '--seed', '1'];
  // In a mount namespace of its own: others that are made meanwhile must not hold on to the disk.
  await runOk('unshare', ['--mount', process.execPath, main, ...cuts]);
});
