import { existsSync, lstatSync, mkdirSync, readdirSync, rmdirSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, internal } from '../../base/errors.ts';
import { RENAME } from '../../kernel/constants.ts';
import { copyTree, resolveInRoot } from '../../kernel/copy-tree.ts';
import { fsyncDirectory, syncFilesystem } from '../../kernel/durable.ts';
import { CWD, type Syscalls } from '../../kernel/syscalls.ts';
import type { Volume } from './volume.ts';

/** What of an image goes into which volume. */
export type CopyUp = {
  readonly volume: Volume;
  /** Where the volume is mounted; what the image has there is copied. */
  readonly destination: string;
  readonly rootfs: string;
  /** A place beside the volume's data, on its filesystem. */
  readonly draft: string;
  /**
   * The folder itself is filled, because it is mounted from elsewhere or others have it mounted,
   * who would keep an exchanged one. A power cut then leaves a part of the files.
   */
  readonly isInPlace: boolean;
  readonly discard: (tree: string) => void;
};

/**
 * Fills an empty volume with what the image has at the destination; the caller holds the volume's
 * lock. After a power cut it is empty or whole.
 */
export async function copyUp(sys: Syscalls, wish: CopyUp): Promise<void> {
  const { volume, destination, rootfs, draft } = wish;
  if (readdirSync(volume.mountpoint).length > 0) return;
  const from = resolveInRoot(sys, rootfs, destination);
  if (from === undefined || !lstatSync(from).isDirectory()) return;
  try {
    if (wish.isInPlace) {
      await copyTree(sys, from, volume.mountpoint);
      return;
    }
    mkdirSync(draft, { mode: 0o700 });
    await copyTree(sys, from, draft);
    await syncFilesystem(sys, draft);
    sys.renameat2(CWD, draft, CWD, volume.mountpoint, RENAME.EXCHANGE);
    rmdirSync(draft);
    fsyncDirectory(path.dirname(draft));
  } catch (cause) {
    if (existsSync(draft)) wish.discard(draft);
    if (errnoOf(cause) !== 'ENOSPC') throw cause;
    throw internal(
      `cannot copy the image's content of ${destination} to volume ${volume.name}: no space left on device`,
      { cause },
    );
  }
}
