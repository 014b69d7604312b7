import { readFileSync } from 'node:fs';
import { errnoOf } from '../base/errors.ts';
import { MADV_PAGEOUT } from './constants.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * Gives back the memory of program text that an idle process does not use: clean pages of files,
 * which the kernel reads again when they are needed. Only MADV_PAGEOUT (Linux 5.4) on private
 * read-only file maps: nothing is written, and nothing can be lost. (MADV_DONTNEED on the same maps
 * would drop relocated pages.)
 */

/** One map of /proc/self/maps that may be paged out. */
export type TextMap = { readonly start: bigint; readonly bytes: number };

/** The private read-only maps of files in the text of /proc/PID/maps, proc_pid_maps(5). */
export function parseTextMaps(text: string): TextMap[] {
  const maps: TextMap[] = [];
  for (const line of text.split('\n')) {
    const m = /^([0-9a-f]+)-([0-9a-f]+) r-[x-]p [0-9a-f]+ \S+ ([1-9]\d*) +\//.exec(line);
    if (m === null) continue;
    const start = BigInt(`0x${m[1]}`);
    maps.push({ start, bytes: Number(BigInt(`0x${m[2]}`) - start) });
  }
  return maps;
}

/** Pages out this process's text. False where the kernel cannot. */
export function pageOutText(sys: Syscalls): boolean {
  for (const { start, bytes } of parseTextMaps(readFileSync('/proc/self/maps', 'utf8'))) {
    try {
      sys.madvise(start, bytes, MADV_PAGEOUT);
    } catch (error) {
      if (errnoOf(error) === 'EINVAL') return false; // an older kernel, or a map that is locked
      throw error;
    }
  }
  return true;
}
