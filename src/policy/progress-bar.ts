import { humanSize } from '../base/bytes.ts';
import { formatDurationNs } from '../base/duration.ts';

const BAR_CELLS = 50;

/**
 * The bar that clients without one of their own show: `[=====>      ]  1.2MB/24MB 43s`. Source:
 * Docker's `pkg/jsonmessage`, `JSONProgress.String` for a wide terminal. '' when nothing is known.
 */
export function progressBar(current: number, total: number, secondsLeft?: number): string {
  if (current <= 0 && total <= 0) return '';
  const done = humanSize(current).padStart(8);
  if (total <= 0) return done;
  const cells = Math.min(BAR_CELLS, Math.trunc(Math.trunc((current / total) * 100) / 2));
  const bar = `[${'='.repeat(cells)}>${' '.repeat(BAR_CELLS - cells)}] `;
  if (current > total) return bar + done;
  const left = secondsLeft === undefined ? '' : ` ${timeLeft(secondsLeft)}`;
  return `${bar}${done}/${humanSize(total)}${left}`;
}

/** `43s`, `1m20s`, `2h5m0s`. */
export function timeLeft(seconds: number): string {
  return formatDurationNs(Math.round(seconds) * 1e9);
}
