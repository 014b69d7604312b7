import { humanSize } from '../base/bytes.ts';

const BAR_CELLS = 50;

/**
 * The bar that clients without one of their own show: `[=====>      ]  1.2MB/24MB`. Source:
 * Docker's `pkg/jsonmessage`, `JSONProgress.String` for a wide terminal. '' when nothing is known.
 */
export function progressBar(current: number, total: number): string {
  if (current <= 0 && total <= 0) return '';
  const done = humanSize(current).padStart(8);
  if (total <= 0) return done;
  const cells = Math.min(BAR_CELLS, Math.trunc(Math.trunc((current / total) * 100) / 2));
  const bar = `[${'='.repeat(cells)}>${' '.repeat(BAR_CELLS - cells)}] `;
  return current > total ? bar + done : `${bar}${done}/${humanSize(total)}`;
}
