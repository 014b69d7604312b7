import { progressBar } from '../policy/progress-bar.ts';
import type { ProgressMessage } from '../spec/docker/progress.ts';
import type { PullDownloads } from './pull-downloads.ts';

/** Not more often than this: a client's terminal and a slow link are not for progress. */
const INTERVAL_MS = 100;

/** A download about which nothing was said for so long is told of again: its speed has changed. */
const SILENCE_MS = 1000;

/** Lines about one layer, as `docker pull` and `docker push` show them. */
export class LayerProgress {
  readonly id: string;
  readonly #report: (message: ProgressMessage) => void;
  readonly #downloads: PullDownloads | undefined;
  #nextMs = 0;
  /** Numbers of the download that goes on. */
  #download: { readonly current: number; readonly total: number } | undefined;

  /** With `downloads` the lines about a download tell of its speed as well. */
  constructor(id: string, report: (message: ProgressMessage) => void, downloads?: PullDownloads) {
    this.id = id;
    this.#report = report;
    this.#downloads = downloads;
  }

  /** So much is to come in all, from `fromByte` on. */
  expect(sizeBytes: number, fromByte: number): void {
    this.#downloads?.expect(this, sizeBytes, fromByte);
  }

  /** A line without numbers: `Pull complete`. */
  say(status: string): void {
    this.#report({ status, progressDetail: {}, id: this.id });
    this.#nextMs = 0;
    this.#download = undefined;
  }

  /** A line with a bar; left out when the last one was just before. `force` for the last of its kind. */
  bytes(status: string, current: number, total: number, force = false): void {
    const isDownload = status === 'Downloading';
    const more = isDownload ? this.#downloads?.note(this, current) : undefined;
    this.#download = isDownload ? { current, total } : undefined;
    const nowMs = performance.now();
    if (!force && nowMs < this.#nextMs) return;
    this.#nextMs = nowMs + INTERVAL_MS;
    const progressDetail = { current, ...(total > 0 ? { total } : {}), ...more };
    const secondsLeft = isDownload ? this.#downloads?.secondsLeft(this) : undefined;
    const progress = progressBar(current, total, secondsLeft);
    this.#report({ status, progressDetail, progress, id: this.id });
  }

  /** Says how a download stands when nothing has come for a while. */
  again(): void {
    const download = this.#download;
    const isSilent = performance.now() > this.#nextMs - INTERVAL_MS + SILENCE_MS;
    if (download !== undefined && isSilent)
      this.bytes('Downloading', download.current, download.total);
  }
}
