import { closeSync, openSync, readFileSync, readSync } from 'node:fs';
import { errnoOf } from '../base/errors.ts';
import { FADV } from './constants.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * The page cache of the program's own file. Where a page of it is not in memory, the kernel reads the
 * pages around it too: 100 MB for a worker that uses 40. Pages that nobody has used when the worker
 * ends, and that were not there when it began, are given back; a next one does not miss them.
 */

/** A private read-only map of the program's file, in pages of the file. */
type ProgramMap = { readonly start: bigint; readonly first: number; readonly count: number };

type Program = { readonly maps: readonly ProgramMap[]; readonly pageBytes: number };

/** The maps of `file` in the text of /proc/PID/smaps, proc_pid_smaps(5). */
export function parseProgram(smaps: string, file: string): Program {
  const pageBytes = Number(/^KernelPageSize: +(\d+) kB$/m.exec(smaps)?.[1] ?? 4) * 1024;
  const maps: ProgramMap[] = [];
  for (const line of smaps.split('\n')) {
    const m = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p ([0-9a-f]+) \S+ \d+ +(\/.*)$/.exec(line);
    if (m?.[4] !== file) continue;
    const start = BigInt(`0x${m[1]}`);
    const bytes = Number(BigInt(`0x${m[2]}`) - start);
    const first = Number(BigInt(`0x${m[3]}`)) / pageBytes;
    maps.push({ start, first, count: bytes / pageBytes });
  }
  return { maps, pageBytes };
}

/** A host may forbid all of this, by a security module or its kernel: nothing depends on it. */
function orNot<T>(body: () => T): T | undefined {
  try {
    return body();
  } catch (error) {
    if (errnoOf(error) === undefined) throw error;
    return undefined;
  }
}

function ownProgram(): Program {
  return parseProgram(readFileSync('/proc/self/smaps', 'utf8'), process.execPath);
}

/**
 * What of the program's file is in the page cache: a byte for each page, odd for one that is.
 * Undefined where the kernel does not tell.
 */
export function cachedText(sys: Syscalls): Buffer | undefined {
  return orNot(() => {
    const { maps, pageBytes } = ownProgram();
    const pages = Buffer.alloc(Math.max(0, ...maps.map(({ first, count }) => first + count)));
    for (const { start, first, count } of maps) {
      sys.mincore(start, count * pageBytes, pages.subarray(first, first + count));
    }
    return pages;
  });
}

/** Gives back what one process has brought into the page cache of the program's file for nothing. */
export class TextCache {
  readonly #sys: Syscalls;
  readonly #kept: Buffer;
  /** Read once: to look at it walks through all pages of this process. */
  #program: Program | undefined;

  /** `before`: what {@link cachedText} was when nothing of it was there for this process. */
  constructor(sys: Syscalls, before: Buffer) {
    this.#sys = sys;
    this.#kept = before;
  }

  /** What this process has mapped stays, also when it is not mapped any more. */
  keepMapped(): void {
    orNot(() => this.#keepMapped());
  }

  #keepMapped(): void {
    const pagemap = openSync('/proc/self/pagemap', 'r');
    try {
      this.#program ??= ownProgram();
      const { maps, pageBytes } = this.#program;
      for (const { start, first, count } of maps) {
        const entries = Buffer.alloc(count * ENTRY_BYTES);
        const at = (start / BigInt(pageBytes)) * BigInt(ENTRY_BYTES);
        const bytes = readSync(pagemap, entries, 0, entries.length, at);
        const last = Math.min(count, bytes / ENTRY_BYTES, this.#kept.length - first);
        for (let i = 0; i < last; i += 1) {
          if (((entries[i * ENTRY_BYTES + 7] ?? 0) & PRESENT) !== 0) this.#kept[first + i] = 1;
        }
      }
    } finally {
      closeSync(pagemap);
    }
  }

  /** All else goes that no process has mapped. */
  dropRest(): void {
    orNot(() => this.#dropRest());
  }

  #dropRest(): void {
    this.#program ??= ownProgram();
    const { pageBytes } = this.#program;
    const file = openSync('/proc/self/exe', 'r');
    try {
      const { length } = this.#kept;
      for (let from = 0; from < length; ) {
        let end = from;
        while (end < length && ((this.#kept[end] ?? 0) & 1) === 0) end += 1;
        const bytes = (end - from) * pageBytes;
        if (bytes > 0) this.#sys.fadvise(file, from * pageBytes, bytes, FADV.DONTNEED);
        from = end + 1;
      }
    } finally {
      closeSync(file);
    }
  }
}

/** proc_pid_pagemap(5): eight bytes, little-endian; the highest bit of a page that is in memory. */
const ENTRY_BYTES = 8;
const PRESENT = 0x80;
