import { lstat, readlink, realpath, stat } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf } from '../../base/errors.ts';
import { EXIT, ExitError } from '../exit.ts';
import { absolutePath, cleanPath, meansDirectory, type Place } from './places.ts';

const LINKS_MAX = 10;

/**
 * What is copied from here. `followLink` copies what a symlink leads to, under the link's name; a
 * slash at the end follows it in any case.
 * @throws ExitError when it is not there
 */
export async function localSource(
  cwd: string,
  text: string,
  followLink: boolean,
): Promise<Place & { readonly name: string; readonly real: string }> {
  const absolute = absolutePath(cwd, text);
  const clean = cleanPath(absolute);
  try {
    const follow = followLink || meansDirectory(absolute);
    const real = follow ? await realpath(clean) : clean;
    const stats = await lstat(real);
    if (meansDirectory(absolute) && !stats.isDirectory()) {
      throw new ExitError(EXIT.failure, 'not a directory');
    }
    const name = path.posix.basename(clean);
    return { path: absolute, exists: true, isDirectory: stats.isDirectory(), name, real };
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') throw cause;
    throw new ExitError(EXIT.failure, `lstat ${clean}: no such file or directory`, { cause });
  }
}

/**
 * What a copy to here is aimed at; symlinks are followed.
 * @throws ExitError when its folder is not there, or it is neither a directory nor a file
 */
export async function localTarget(cwd: string, text: string): Promise<Place> {
  let absolute = absolutePath(cwd, text);
  for (let links = 0; links < LINKS_MAX; links += 1) {
    const target = await readlink(cleanPath(absolute)).catch(() => undefined);
    if (target === undefined) break;
    absolute = absolutePath(path.posix.dirname(cleanPath(absolute)), target);
  }
  const clean = cleanPath(absolute);
  const parent = path.posix.dirname(clean);
  const above = await stat(parent).catch(() => undefined);
  if (above?.isDirectory() !== true) {
    throw new ExitError(
      EXIT.failure,
      `invalid output path: directory ${JSON.stringify(parent)} does not exist`,
    );
  }
  const stats = await stat(clean).catch(() => undefined);
  if (stats !== undefined && !stats.isDirectory() && !stats.isFile()) {
    throw new ExitError(
      EXIT.failure,
      `destination ${JSON.stringify(text)} must be a directory or a regular file`,
    );
  }
  return {
    path: absolute,
    exists: stats !== undefined,
    isDirectory: stats?.isDirectory() === true,
  };
}
