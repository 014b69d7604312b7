import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';

/** Sizes and times of everything below a folder, by path: what differs between two was written. */
export function fingerprint(folder: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    // What goes away meanwhile is missing in one of the two.
    const stats = statSync(path.join(folder, name), { throwIfNoEntry: false });
    if (stats !== undefined) found[name] = `${stats.size} ${stats.mtimeMs} ${stats.ctimeMs}`;
  }
  return found;
}
