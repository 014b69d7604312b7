import { test } from 'node:test';
import { cutPower } from './powercut/powercut.ts';

// A handful; `script/test-powercut` makes 300.
test('after a power cut all is as before or as after, and the next start needs no hand', async () => {
  await cutPower({ filesystem: 'ext4', cuts: 6, seed: 1 });
});
