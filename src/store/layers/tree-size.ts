import { lstat, opendir } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../base/errors.ts';

/**
 * Sum of the sizes in bytes of the regular files below a folder, a hard-linked file counted once.
 * What goes away meanwhile is not counted: the tree may be in use. `counts` leaves files out.
 */
export async function treeSize(
  folder: string,
  counts: (relative: string, sizeBytes: number, mtimeMs: number) => Promise<boolean> = async () =>
    true,
): Promise<number> {
  const linked = new Set<number>();
  const walk = async (relative: string): Promise<number> => {
    let sum = 0;
    for await (const entry of await opendir(path.join(folder, relative))) {
      const below = path.join(relative, entry.name);
      if (entry.isDirectory()) sum += await walk(below).catch(goneIsZero);
      else if (entry.isFile()) sum += await size(below).catch(goneIsZero);
    }
    return sum;
  };
  const size = async (relative: string): Promise<number> => {
    const stats = await lstat(path.join(folder, relative));
    if (stats.nlink > 1) {
      if (linked.has(stats.ino)) return 0;
      linked.add(stats.ino);
    }
    return (await counts(relative, stats.size, stats.mtimeMs)) ? stats.size : 0;
  };
  return await walk('').catch(goneIsZero);
}

function goneIsZero(error: unknown): number {
  if (errnoOf(error) === 'ENOENT' || errnoOf(error) === 'ENOTDIR') return 0;
  throw error;
}
