import { progressBar } from '../policy/progress-bar.ts';
import type { ProgressMessage } from '../spec/docker/progress.ts';

/** Not more often than this: a client's terminal and a slow link are not for progress. */
const INTERVAL_MS = 100;

/** Lines about one layer, as `docker pull` and `docker push` show them. */
export class LayerProgress {
  readonly id: string;
  readonly #report: (message: ProgressMessage) => void;
  #nextMs = 0;

  constructor(id: string, report: (message: ProgressMessage) => void) {
    this.id = id;
    this.#report = report;
  }

  /** A line without numbers: `Pull complete`. */
  say(status: string): void {
    this.#report({ status, progressDetail: {}, id: this.id });
    this.#nextMs = 0;
  }

  /** A line with a bar; left out when the last one was just before. `force` for the last of its kind. */
  bytes(status: string, current: number, total: number, force = false): void {
    const nowMs = performance.now();
    if (!force && nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + INTERVAL_MS;
    const progressDetail = { current, ...(total > 0 ? { total } : {}) };
    const progress = progressBar(current, total);
    this.#report({ status, progressDetail, progress, id: this.id });
  }
}
