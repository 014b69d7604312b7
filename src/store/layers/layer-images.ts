import { createHash, type Hash } from 'node:crypto';
import { existsSync, lstatSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { messageOf, unavailable } from '../../base/errors.ts';
import { MS } from '../../kernel/constants.ts';
import { unmountIfMounted } from '../../kernel/mount.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';

/**
 * Layers whose names are an image (`formats/erofs.ts`) instead of a tree: the file `tree.erofs`
 * beside an empty folder `diff/`, on which it is mounted when somebody wants to see the names. All
 * contents are objects. Behind the image's blocks lies its sha256, for who verifies it.
 *
 * Mounts are made when they are needed and stay until the layer goes or the engine ends. A
 * container's overlay holds on to what it was made of, so they may go at any time, and a next engine
 * takes over what it finds.
 */
export const LAYER_IMAGE = 'tree.erofs';

const SUM_BYTES = 32;

/** Takes in the image, and gives what follows it in the file. */
export function imageSum(): Hash {
  return createHash('sha256');
}

/** What is wrong with the image of the layer in `directory`; undefined when nothing is, or it has none. */
export function imageDamage(directory: string): string | undefined {
  if (!hasImage(directory)) return undefined;
  const file = readFileSync(path.join(directory, LAYER_IMAGE));
  const image = file.subarray(0, Math.max(0, file.length - SUM_BYTES));
  if (!imageSum().update(image).digest().equals(file.subarray(image.length)))
    return 'the image of its names is not what it was';
  return isShown(directory) ? undefined : 'the image of its names cannot be mounted here';
}

/** True for the folder of a layer whose names are an image. */
export function hasImage(directory: string): boolean {
  return existsSync(path.join(directory, LAYER_IMAGE));
}

/** Something is mounted on its `diff/`. */
function isShown(directory: string): boolean {
  return lstatSync(path.join(directory, 'diff')).dev !== lstatSync(directory).dev;
}

/** Mounts the image of the layer in `directory`, if it has one. @throws unavailable */
export function showImage(sys: Syscalls, directory: string): void {
  if (!hasImage(directory) || isShown(directory)) return;
  const source = path.join(directory, LAYER_IMAGE);
  try {
    mountImage(sys, source, path.join(directory, 'diff'));
  } catch (cause) {
    throw unavailable(
      `cannot mount the image of a layer's names, ${source}: ${messageOf(cause)}. It needs EROFS from files (Linux 6.12); where that is, the image is damaged: verify it`,
      { cause },
    );
  }
}

/** Mounts an image of names. @throws a syscall error where the kernel cannot */
export function mountImage(sys: Syscalls, source: string, target: string): void {
  sys.mount({ source, target, type: 'erofs', flags: MS.RDONLY });
}

/** Takes the mount of the layer in `directory` away, if it has one. */
export function hideImage(sys: Syscalls, directory: string): void {
  if (hasImage(directory)) unmountIfMounted(sys, path.join(directory, 'diff'));
}
