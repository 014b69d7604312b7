import { messageOf } from '../src/base/errors.ts';
import type { Logger } from '../src/base/log.ts';
import { pageOutText } from '../src/kernel/page-out.ts';
import type { Syscalls } from '../src/kernel/syscalls.ts';

/** Idle for this long, the daemon gives its text back. It comes again from the page cache or flash. */
const IDLE_MS = 30_000;

/**
 * Pages the program's text out once after each spell of work. `activity` is any number that changes
 * with work.
 */
export function pageOutWhenIdle(sys: Syscalls, activity: () => number, log: Logger): Disposable {
  let seen = -1;
  let done = false;
  const look = (): void => {
    const now = activity();
    if (now !== seen) {
      seen = now;
      done = false;
      return;
    }
    if (done) return;
    done = true;
    try {
      // Garbage first: what V8 frees here need not be read again by the next collection.
      globalThis.gc?.();
      pageOutText(sys);
    } catch (error) {
      log.debug('cannot page out', { error: messageOf(error) });
    }
  };
  const timer = setInterval(look, IDLE_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}
