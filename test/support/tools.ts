import { existsSync } from 'node:fs';
import path from 'node:path';

/** The checkout. */
export const CHECKOUT = path.join(import.meta.dirname, '../..');

const FOLDERS = [
  ...(process.env['PATH'] ?? '').split(':'),
  '/usr/local/bin',
  '/usr/sbin',
  '/sbin',
  path.join(CHECKOUT, '.cache/debian/usr/bin'),
  path.join(CHECKOUT, '.cache/debian/usr/sbin'),
];

/**
 * Absolute path of a tool: on the PATH or unpacked by script/setup.
 * @throws when script/setup was not run
 */
export function tool(name: string): string {
  const found = FOLDERS.map((folder) => path.join(folder, name)).find((file) => existsSync(file));
  if (found === undefined) throw new Error(`${name} is missing: run script/setup`);
  return found;
}
