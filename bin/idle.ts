import { messageOf } from '../src/base/errors.ts';
import type { Logger } from '../src/base/log.ts';
import { pageOutText } from '../src/kernel/page-out.ts';
import type { Syscalls } from '../src/kernel/syscalls.ts';

/** How often the daemon looks whether it is idle. */
const LOOK_MS = 10_000;
/** Looks without work before the text goes: few at first, more when work came back soon after. */
const QUIET_LOOKS_MIN = 2;
const QUIET_LOOKS_MAX = 64;

/**
 * Pages the program's text out once after each spell of work: an idle daemon keeps a third of its
 * memory. Work brings back what it needs from the page cache or flash; where that happens often,
 * the daemon waits longer. `activity` is any number that changes with work.
 */
export function pageOutWhenIdle(sys: Syscalls, activity: () => number, log: Logger): Disposable {
  let seen = activity();
  let quiet = 0;
  let wanted = QUIET_LOOKS_MIN;
  const look = (): void => {
    const now = activity();
    if (now === seen) {
      quiet += 1;
      if (quiet === wanted) pageOut(sys, log);
      return;
    }
    const soonAfter = quiet >= wanted && quiet < 4 * wanted;
    const longAfter = quiet >= 16 * wanted;
    if (soonAfter) wanted = Math.min(2 * wanted, QUIET_LOOKS_MAX);
    else if (longAfter) wanted = QUIET_LOOKS_MIN;
    seen = now;
    quiet = 0;
  };
  const timer = setInterval(look, LOOK_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

function pageOut(sys: Syscalls, log: Logger): void {
  try {
    pageOutText(sys);
  } catch (error) {
    log.debug('cannot page out', { error: messageOf(error) });
  }
}
