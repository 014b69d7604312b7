/**
 * Cuts the power of a data root many times: see script/test-powercut.
 *
 *   main.ts [--cuts N] [--seed S] [--filesystem ext4|xfs|btrfs]... [--only pull|create|...]
 */
import { randomInt } from 'node:crypto';
import { parseArgs } from 'node:util';
import type { FilesystemKind } from '../../support/crash-disk.ts';
import { cutPower } from './powercut.ts';

const KINDS: readonly FilesystemKind[] = ['ext4', 'xfs', 'btrfs'];

const { values } = parseArgs({
  options: {
    cuts: { type: 'string', default: '300' },
    seed: { type: 'string', default: String(randomInt(1, 2 ** 31)) },
    only: { type: 'string', default: '' },
    filesystem: { type: 'string', multiple: true, default: [...KINDS] },
  },
});
const kinds = values.filesystem.map((name) => {
  const kind = KINDS.find((each) => each === name);
  if (kind === undefined) throw new Error(`--filesystem is one of ${KINDS.join(', ')}: ${name}`);
  return kind;
});
const cuts = Number(values.cuts);
const seed = Number(values.seed);
if (!(Number.isInteger(cuts) && cuts > 0 && Number.isInteger(seed))) {
  throw new Error('--cuts and --seed take whole numbers');
}
for (const [i, filesystem] of kinds.entries()) {
  // The cuts are shared out; the first has what does not come out even.
  const share = Math.floor(cuts / kinds.length) + (i < cuts % kinds.length ? 1 : 0);
  if (share === 0) continue;
  console.log(`${filesystem}: ${share} cuts, --seed ${seed}`);
  await cutPower({
    filesystem,
    cuts: share,
    seed,
    only: values.only,
    onCut: (line) => console.log(line),
  });
}
console.log(`${cuts} passed, 0 failed`);
