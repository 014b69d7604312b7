import { closeSync } from 'node:fs';
import { FADV, SYNC_FILE_RANGE } from '../kernel/constants.ts';
import type { FileMaker } from '../kernel/file-maker.ts';
import type { Syscalls } from '../kernel/syscalls.ts';

/**
 * Keeps the page cache flat while a layer is written: files stay open until their bytes are on the
 * disk, then their pages are dropped (POSIX_FADV_DONTNEED drops clean pages only). That is done for
 * a batch at once with one syncfs on a thread, while the next batch is being filled; syncing file
 * by file takes three times as long.
 */
const BATCH_BYTES = 16 << 20;
const BATCH_FILES = 1024;
const FEW_FILES = 64;
/** Two batches of each of a few layers that are written at a time, */
const DESCRIPTORS = 4096;
/** asked for when it shows that a layer has many files: a small one needs none. */
const HELD_FILES = 16;
const WRITE_AND_WAIT =
  SYNC_FILE_RANGE.WAIT_BEFORE | SYNC_FILE_RANGE.WRITE | SYNC_FILE_RANGE.WAIT_AFTER;

export class Writeback implements AsyncDisposable {
  readonly #sys: Syscalls;
  readonly #filesystemFd: number;
  #room: Promise<void> | undefined;
  #current = -1;
  #currentBytes = 0;
  #closed: number[] = [];
  #bytes = 0;
  #inFlight: Promise<void> | undefined;
  /** Files that were posted since the last turn. */
  #posted = 0;
  /** Makes files elsewhere, and holds them; it must be there until this is disposed of. */
  maker: Pick<FileMaker<unknown>, 'settle' | 'heldFiles' | 'writeOut'> | undefined;

  /** `filesystemFd` is any descriptor on the filesystem that is written to. */
  constructor(sys: Syscalls, filesystemFd: number) {
    this.#sys = sys;
    this.#filesystemFd = filesystemFd;
  }

  /** A file that will be written to; at most one at a time. Its descriptor belongs to us now. */
  opened(fd: number): void {
    this.#current = fd;
    this.#currentBytes = 0;
  }

  /** Bytes were written to it. */
  wrote(bytes: number): void {
    this.#bytes += bytes;
    this.#currentBytes += bytes;
  }

  /** It is complete. */
  closed(): void {
    if (this.#currentBytes > 0) this.#closed.push(this.#current);
    else closeSync(this.#current);
    this.#current = -1;
    this.#makeRoom();
  }

  /** Bytes of a file were posted to the {@link maker}; with `isLast` it is complete. */
  posted(bytes: number, isLast: boolean): void {
    this.#bytes += bytes;
    if (!isLast) return;
    this.#posted += 1;
    this.#makeRoom();
  }

  #makeRoom(): void {
    if (this.#closed.length + this.#posted !== HELD_FILES) return;
    this.#room ??= this.#sys.roomForDescriptors(this.#filesystemFd, DESCRIPTORS);
  }

  /** True when a batch is full: then {@link turn} is due. */
  get isFull(): boolean {
    return this.#bytes >= BATCH_BYTES || this.#closed.length + this.#posted >= BATCH_FILES;
  }

  /** Starts writing the batch out; waits for the one before it. */
  async turn(): Promise<void> {
    await this.#begin(this.#bytes > 0);
  }

  async #begin(needsSync: boolean): Promise<void> {
    await this.#inFlight;
    const files = this.#closed;
    const open = this.#current;
    this.#closed = [];
    this.#posted = 0;
    this.#bytes = 0;
    this.#inFlight = this.#writeOut(files, open, needsSync);
    // Its failure is thrown by the next turn; until then it must not count as unhandled.
    this.#inFlight.catch(() => undefined);
  }

  async #writeOut(files: readonly number[], open: number, needsSync: boolean): Promise<void> {
    try {
      if (needsSync) await this.#sync();
      for (const fd of files) this.#sys.fadvise(fd, 0, 0, FADV.DONTNEED);
      // Still open, or closed since and then part of the next batch.
      if (open >= 0 && needsSync) this.#sys.fadvise(open, 0, 0, FADV.DONTNEED);
    } finally {
      for (const fd of files) closeSync(fd);
    }
  }

  async #sync(): Promise<void> {
    if (this.maker === undefined) await this.#sys.syncfsAsync(this.#filesystemFd);
    else await this.maker.writeOut(this.#filesystemFd, true);
  }

  /**
   * All contents are written and out of the cache when this resolves; what makes them findable need
   * not be: that is the syncfs of the commit. A few files are therefore written one by one, as a
   * syncfs writes all metadata that is half filled, here and then once more.
   */
  async finish(): Promise<void> {
    this.maker?.settle();
    await this.#inFlight;
    // Not only those of this batch: what was posted in the one before may have been made since.
    const held = this.maker?.heldFiles ?? 0;
    const hasFew = this.#closed.length + held <= FEW_FILES && this.#bytes < BATCH_BYTES;
    if (hasFew && this.#current < 0) {
      for (const fd of this.#closed) this.#sys.syncFileRange(fd, 0, 0, WRITE_AND_WAIT);
      if (held > 0) this.#inFlight = this.maker?.writeOut(this.#filesystemFd, false);
      await this.#begin(false);
    } else {
      await this.#begin(this.#bytes > 0 || held > 0);
    }
    await this.#inFlight;
    await this.#room;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#room;
    // Who waited for this in a turn that nobody waits for any more begins the next one.
    for (let seen: Promise<void> | undefined; seen !== this.#inFlight; ) {
      seen = this.#inFlight;
      await seen?.catch(() => undefined);
    }
    for (const fd of this.#closed) closeSync(fd);
    if (this.#current >= 0) closeSync(this.#current);
    this.#closed = [];
    this.#current = -1;
  }
}
