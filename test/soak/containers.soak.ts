import { test } from 'node:test';
import { openBox } from '../support/box.ts';
import { soak } from '../support/soak.ts';

/** 2,000 starts, execs and attaches from 16 clients, while the daemon is killed every few seconds. */

const operations = Number(process.env['SOAK_OPERATIONS'] || 2000);
const seed = Number(process.env['SOAK_SEED'] || Date.now() % 1_000_000);

test(`${operations} operations under a daemon that dies: nothing leaks, no exit code is lost (seed ${seed})`, async (t) => {
  await using box = await openBox();
  const plan = { seed, operations, clients: 16, killAfterMs: [500, 4000] as const };
  const { kills, starts, execs, attaches } = await soak(box, plan);
  t.diagnostic(`${kills} kills, ${starts} starts, ${execs} execs, ${attaches} attaches`);
});
