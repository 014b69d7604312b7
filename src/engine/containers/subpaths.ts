import { closeSync, fstatSync, mkdirSync, openSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, invalidArgument } from '../../base/errors.ts';
import { MNT, MS, O_CLOEXEC, O_PATH, RESOLVE } from '../../kernel/constants.ts';
import { readMountInfo } from '../../kernel/mountinfo.ts';
import type { Engine } from '../engine.ts';
import type { Container } from './container.ts';
import { containerPaths } from './paths.ts';

/**
 * Parts of volumes (`volume-subpath`). A container that has the volume too can put a symlink in the
 * place of any folder at any time, so a path that was looked at says nothing: what it led to within
 * the volume is bound to a place of the engine's by its descriptor, and mounted from there.
 */

type Context = Pick<Engine, 'sys' | 'dataRoot' | 'execRoot'>;

/**
 * The host paths of a container's mounts (in the order of its document) with those of subpaths
 * bound; {@link unbindSubpaths} takes them back.
 * @throws invalidArgument when there is nothing at a subpath
 */
export function bindSubpaths(
  engine: Context,
  { id, document }: Pick<Container, 'id' | 'document'>,
  hostPaths: readonly string[],
): string[] {
  const { subpaths } = containerPaths(engine, id);
  return hostPaths.map((hostPath, i) => {
    const subpath = document.mounts[i]?.subpath ?? '';
    if (subpath === '') return hostPath;
    mkdirSync(subpaths, { recursive: true, mode: 0o700 });
    const place = path.join(subpaths, String(i));
    bind(engine, { volume: hostPath, subpath, place });
    return place;
  });
}

function bind(
  { sys }: Context,
  { volume, subpath, place }: { volume: string; subpath: string; place: string },
): void {
  const root = openSync(volume, O_PATH);
  try {
    const fd = openWithin({ sys }, root, { volume, subpath });
    try {
      if (fstatSync(fd).isDirectory()) mkdirSync(place, { mode: 0o700 });
      else writeFileSync(place, '', { mode: 0o600 });
      sys.mount({ source: `/proc/self/fd/${fd}`, target: place, flags: MS.BIND | MS.REC });
    } finally {
      closeSync(fd);
    }
  } finally {
    closeSync(root);
  }
}

function openWithin(
  { sys }: Pick<Context, 'sys'>,
  root: number,
  { volume, subpath }: { volume: string; subpath: string },
): number {
  const flags = O_PATH | O_CLOEXEC;
  try {
    return sys.openat2(root, subpath, { flags, resolve: RESOLVE.IN_ROOT | RESOLVE.NO_MAGICLINKS });
  } catch (cause) {
    if (!['ENOENT', 'ENOTDIR', 'ELOOP'].includes(errnoOf(cause) ?? '')) throw cause;
    const place = path.join(volume, subpath);
    throw invalidArgument(
      `cannot access path ${place}: lstat ${place}: no such file or directory`,
      { cause },
    );
  }
}

/** Takes the binds of a container back; nothing when it has none. */
export function unbindSubpaths(engine: Context, { id }: Pick<Container, 'id'>): void {
  const { subpaths } = containerPaths(engine, id);
  const below = readMountInfo().filter(({ mountPoint }) => mountPoint.startsWith(`${subpaths}/`));
  for (const { mountPoint } of below.toReversed()) engine.sys.umount(mountPoint, MNT.DETACH);
  rmSync(subpaths, { recursive: true, force: true });
}
