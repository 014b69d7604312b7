import { mkdtempSync, rmdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import path from 'node:path';
import { getRawAsset, isSea } from 'node:sea';
import type koffiTypes from 'koffi';

/** The part of koffi that this project uses: its default export. */
export type Koffi = typeof koffiTypes;

let loaded: Koffi | undefined;

/**
 * Koffi, loaded at first use. In a single executable the addon is an asset: `dlopen` wants a path,
 * so it is written to a private directory on a tmpfs and unlinked once mapped (2 to 6 ms).
 */
export function loadKoffi(): Koffi {
  loaded ??= isSea() ? loadAsset() : (createRequire(import.meta.url)('koffi') as Koffi);
  return loaded;
}

function loadAsset(): Koffi {
  const bytes = new Uint8Array(getRawAsset('koffi.node'));
  for (const base of ['/dev/shm', '/run', '/tmp']) {
    let directory: string;
    try {
      directory = mkdtempSync(path.join(base, '.coracle-'));
    } catch {
      continue; // absent or read-only: try the next one
    }
    const file = path.join(directory, 'koffi.node');
    try {
      writeFileSync(file, bytes, { mode: 0o700 });
      const module = { exports: {} };
      process.dlopen(module, file);
      return module.exports as Koffi;
    } catch (error) {
      if (base === '/tmp') throw error; // e.g. /dev/shm mounted noexec: try the next one
    } finally {
      try {
        unlinkSync(file);
      } catch {
        // never written
      }
      rmdirSync(directory);
    }
  }
  throw new Error('cannot load the syscall addon: none of /dev/shm, /run and /tmp is writable');
}
