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

/** Fewer cuts of one filesystem are not worth two disks. */
const TO_BE_SPLIT = 20;

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
  // Half of them are on a disk with a volatile cache; what btrfs lies on has one anyway.
  const cached = filesystem === 'btrfs' || share < TO_BE_SPLIT ? 0 : Math.floor(share / 2);
  for (const [hasCache, n] of [
    [false, share - cached],
    [true, cached],
  ] as const) {
    if (n === 0) continue;
    console.log(`${filesystem}${hasCache ? ' on a cache' : ''}: ${n} cuts, --seed ${seed}`);
    const { only } = values;
    const onCut = (line: string): void => console.log(line);
    await cutPower({ filesystem, hasCache, cuts: n, seed, only, onCut });
  }
}
console.log(`${cuts} passed, 0 failed`);
