import { progressBar } from '../policy/progress-bar.ts';
import type { ProgressMessage } from '../spec/docker/progress.ts';
import type { Transfers } from './transfers.ts';

/** Not more often than this: a client's terminal and a slow link are not for progress. */
const INTERVAL_MS = 100;

/** A transfer about which nothing was said for so long is told of again: its speed has changed. */
const SILENCE_MS = 800;

/** What goes over the link. */
const TRANSFERS: ReadonlySet<string> = new Set(['Downloading', 'Pushing']);
/** How often lines that say nothing are looked at. */
const TICK_MS = 1000;

/** Keeps transfers that stand still from being silent, until it is disposed of. */
export function tellAgain(lines: Iterable<LayerProgress>): Disposable {
  const timer = setInterval(() => {
    for (const line of lines) line.again();
  }, TICK_MS);
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** Lines about one layer, as `docker pull` and `docker push` show them. */
export class LayerProgress {
  readonly id: string;
  readonly #report: (message: ProgressMessage) => void;
  readonly #transfers: Transfers | undefined;
  #nextMs = 0;
  /** What is carried now. */
  #going: { readonly status: string; readonly current: number; readonly total: number } | undefined;

  /** With `transfers` the lines about one tell of its speed as well. */
  constructor(id: string, report: (message: ProgressMessage) => void, transfers?: Transfers) {
    this.id = id;
    this.#report = report;
    this.#transfers = transfers;
  }

  /** So much is to be carried in all, from `fromByte` on. */
  expect(sizeBytes: number, fromByte: number): void {
    this.#transfers?.expect(this, sizeBytes, fromByte);
  }

  /** A line without numbers: `Pull complete`. */
  say(status: string): void {
    this.#report({ status, progressDetail: {}, id: this.id });
    this.#nextMs = 0;
    this.#going = undefined;
  }

  /** A line with a bar; left out when the last one was just before. `force` for the last of its kind. */
  bytes(status: string, current: number, total: number, force = false): void {
    const transfers = TRANSFERS.has(status) ? this.#transfers : undefined;
    const more = transfers?.note(this, current);
    this.#going = transfers === undefined ? undefined : { status, current, total };
    const nowMs = performance.now();
    if (!force && nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + INTERVAL_MS;
    const progressDetail = { current, ...(total > 0 ? { total } : {}), ...more };
    const progress = progressBar(current, total, transfers?.secondsLeft(this));
    this.#report({ status, progressDetail, progress, id: this.id });
  }

  /** Says how a transfer stands when nothing has moved for a while. */
  again(): void {
    const going = this.#going;
    const isSilent = performance.now() > this.#nextMs - INTERVAL_MS + SILENCE_MS;
    if (going !== undefined && isSilent) this.bytes(going.status, going.current, going.total);
  }
}
