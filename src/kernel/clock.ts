import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';

/** The origin of Node's high-resolution time, so that wall-clock times have more than milliseconds. */
const originNs = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();

/**
 * The machine's clock. `nowNs` advances with the monotonic clock between corrections: it is taken
 * from it as long as both agree to within 50 ms, and from the wall clock when that was set.
 */
export const systemClock: Clock = {
  nowMs: () => Date.now(),
  nowNs: () => {
    const fine = originNs + process.hrtime.bigint();
    const coarse = BigInt(Date.now()) * 1_000_000n;
    const apart = fine - coarse;
    return apart > -50_000_000n && apart < 50_000_000n ? fine : coarse;
  },
  monotonicMs: () => performance.now(),
  sleep: async (ms, options) => {
    const { signal, unref } = options ?? {};
    await sleep(ms, undefined, {
      ref: unref !== true,
      ...(signal === undefined ? {} : { signal }),
    });
  },
};
