import { setTimeout as sleep } from 'node:timers/promises';
import type { Clock } from '../base/clock.ts';

/** The origin of Node's high-resolution time, so that wall-clock times have more than milliseconds. */
const originNs = BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint();

/** Node's timers count 31 bits of milliseconds, and take what is more for 1. */
const TIMER_MS_MAX = 2 ** 31 - 1;

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
    const how = { ref: unref !== true, ...(signal === undefined ? {} : { signal }) };
    const endMs = performance.now() + ms;
    let leftMs = ms;
    do {
      await sleep(Math.min(leftMs, TIMER_MS_MAX), undefined, how);
      leftMs = endMs - performance.now();
    } while (ms > TIMER_MS_MAX && leftMs > 0);
  },
};
