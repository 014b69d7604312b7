import { randomBytes } from 'node:crypto';
import { closeSync, constants, fsyncSync, openSync, renameSync, rmSync, writeSync } from 'node:fs';
import path from 'node:path';
import type { Syscalls } from './syscalls.ts';

/**
 * The steps of every durable change, in this order: data, sync, rename, sync the directory, then
 * metadata. A rename is on the disk only when the directory that holds the new name is synced.
 */

/** Makes the names in a directory durable. */
export function fsyncDirectory(directory: string): void {
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Writes everything that the filesystem of `anyPath` holds in memory to the disk: syncfs, on a thread. */
export async function syncFilesystem(sys: Syscalls, anyPath: string): Promise<void> {
  const fd = openSync(anyPath, constants.O_RDONLY);
  try {
    await sys.syncfsAsync(fd);
  } finally {
    closeSync(fd);
  }
}

/** Renames and makes it durable. Both directories are on one filesystem; `from` is synced already. */
export function renameDurably(from: string, to: string): void {
  renameSync(from, to);
  fsyncDirectory(path.dirname(to));
}

/**
 * Replaces a file as a whole: after a power cut it is as before or as after. The neighbour it is
 * written to first starts with a dot and is removed when anything fails.
 */
export function writeFileDurably(file: string, content: Uint8Array | string, mode = 0o600): void {
  const draft = path.join(
    path.dirname(file),
    `.${path.basename(file)}.${randomBytes(4).toString('hex')}`,
  );
  const bytes = typeof content === 'string' ? Buffer.from(content) : content;
  const fd = openSync(draft, constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL, mode);
  try {
    try {
      for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameDurably(draft, file);
  } catch (error) {
    rmSync(draft, { force: true }); // it may be in its place by now, and not yet durable
    throw error;
  }
}
