import { readFileSync } from 'node:fs';
import { errnoOf } from '../base/errors.ts';
import { MADV_DONTNEED, MADV_PAGEOUT } from './constants.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * Gives back the memory of program text that a process does not use: clean pages of private
 * read-only file maps. MADV_PAGEOUT (Linux 5.4) takes them out of the page cache too; MADV_DONTNEED
 * only out of the process, and only where no page was changed (relocated) since it was mapped.
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

/** The maps in the text of /proc/PID/smaps, proc_pid_smaps(5), that hold nothing but the file's own pages. */
export function parseCleanMaps(text: string): TextMap[] {
  return text
    .split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m)
    .filter((map) => /^Anonymous: +0 kB$/m.test(map) && /^Swap: +0 kB$/m.test(map))
    .flatMap((map) => parseTextMaps(map.slice(0, map.indexOf('\n'))));
}

/**
 * Takes this process's text out of its memory, for when what starting took is over, or a child of
 * the same program is about to need memory. What it goes on to use comes back from the page cache,
 * page by page, without the disk. Where the kernel does not say which pages were changed (it was
 * built without CONFIG_PROC_PAGE_MONITOR), and of maps that are locked, nothing is.
 */
export function releaseText(sys: Syscalls, smaps = '/proc/self/smaps'): void {
  try {
    for (const { start, bytes } of parseCleanMaps(readFileSync(smaps, 'utf8'))) {
      sys.madvise(start, bytes, MADV_DONTNEED);
    }
  } catch (error) {
    if (!['ENOENT', 'EINVAL'].includes(errnoOf(error) ?? '')) throw error;
  }
}
