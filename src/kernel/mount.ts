import { closeSync } from 'node:fs';
import path from 'node:path';
import { errnoOf, internal, messageOf } from '../base/errors.ts';
import { MNT } from './constants.ts';
import { CWD, type Syscalls } from './syscalls.ts';

/** An overlay to be mounted; absolute paths on one filesystem (upper and work). */
export type OverlayMount = {
  /** Top first; at least one. */
  readonly lower: readonly string[];
  /**
   * Data-only layers (Linux 6.5): not seen, but files of lower layers may say that their content is
   * there. With any of these the writable layer may hold such files as well, and directories that
   * were renamed (`metacopy=on`, which brings `redirect_dir=on`).
   */
  readonly data: readonly string[];
  /** Undefined makes a read-only mount. */
  readonly upper: string | undefined;
  readonly work: string | undefined;
  readonly target: string;
};

/** One parameter of an overlay, as fsconfig(2) takes it. */
export type OverlayParameter = readonly [key: string, value: string];

/**
 * What an overlay is made of, in the kernel's order. Mounts and the recipes of `native/mobynit.c`
 * both come from here, so that a container is the same whoever mounts it.
 */
export function overlayParameters(mount: Omit<OverlayMount, 'target'>): OverlayParameter[] {
  const { lower, data, upper, work } = mount;
  return [
    ...lower.map((each): OverlayParameter => ['lowerdir+', each]),
    ...data.map((each): OverlayParameter => ['datadir+', each]),
    ...(upper === undefined ? [] : [['upperdir', upper] as const]),
    ...(work === undefined ? [] : [['workdir', work] as const]),
    ['index', 'off'],
    ...(data.length === 0 ? [] : [['metacopy', 'on'] as const]),
  ];
}

/** fsconfig(2) takes strings of less than this. */
const FSCONFIG_BYTES_MAX = 256;
/** What mount(2) reads of its data. */
const MOUNT_DATA_BYTES_MAX = 4095;

/**
 * Mounts an overlay of up to 127 lower layers and more. Kernels that can take one lower layer at a
 * time (6.5 and later, `lowerdir+`) have no limit to think of; on others the layers must fit one
 * page of mount data, which they do by being named relative to their common folder.
 *
 * @throws internal naming the target
 */
export function mountOverlay(sys: Syscalls, mount: OverlayMount): void {
  try {
    if (!mountByFsopen(sys, mount)) mountByData(sys, mount);
  } catch (cause) {
    throw internal(`cannot mount the overlay ${mount.target}: ${messageOf(cause)}`, {
      cause,
      detail: { errno: errnoOf(cause) ?? '' },
    });
  }
}

/** False when this kernel, or the length of a path, does not allow it. */
export function mountByFsopen(sys: Syscalls, mount: OverlayMount): boolean {
  const parameters = overlayParameters(mount);
  if (parameters.some(([, value]) => Buffer.byteLength(value) >= FSCONFIG_BYTES_MAX)) return false;
  let fd: number;
  try {
    fd = sys.fsopen('overlay');
  } catch (error) {
    if (errnoOf(error) === 'ENOSYS') return false;
    throw error;
  }
  try {
    try {
      for (const [key, value] of parameters) sys.fsconfigString(fd, key, value);
      sys.fsconfigCreate(fd);
    } catch (error) {
      // Kernels before 6.5 do not know `lowerdir+`, and may say so only at the end. What is wrong
      // with the parameters themselves shows up in the other way too.
      if (errnoOf(error) === 'EINVAL') return false;
      throw error;
    }
    const mountFd = sys.fsmount(fd, 0);
    try {
      sys.moveMount(mountFd, CWD, mount.target);
    } finally {
      closeSync(mountFd);
    }
    return true;
  } finally {
    closeSync(fd);
  }
}

/** The way of all kernels. Changes the working directory for the moment of the call. */
export function mountByData(sys: Syscalls, mount: OverlayMount): void {
  const base = commonFolder(mount.lower);
  const relative = (each: string): string => escaped(path.relative(base, each) || '.');
  const parameters = overlayParameters(mount);
  const layers = (kind: string): string[] =>
    parameters.filter(([key]) => key === kind).map(([, value]) => relative(value));
  const lower = layers('lowerdir+').join(':');
  const options = parameters
    .filter(([key]) => !key.endsWith('+'))
    .map(([key, value]) => `${key}=${escaped(value)}`);
  const lowerdir = [lower, ...layers('datadir+')].join('::');
  const data = [`lowerdir=${lowerdir}`, ...options].join();
  if (Buffer.byteLength(data) > MOUNT_DATA_BYTES_MAX) {
    throw internal(`${mount.lower.length} layers do not fit the kernel's mount data`);
  }
  const before = process.cwd();
  process.chdir(base);
  try {
    sys.mount({ source: 'overlay', target: mount.target, type: 'overlay', data });
  } finally {
    process.chdir(before);
  }
}

function commonFolder(paths: readonly string[]): string {
  let common = path.dirname(paths[0] ?? '/x');
  for (const each of paths) {
    while (common !== '/' && !each.startsWith(`${common}/`)) common = path.dirname(common);
  }
  return common;
}

/** overlayfs splits its options at commas and colons. */
function escaped(text: string): string {
  return text.replace(/[\\,:]/g, (character) => `\\${character}`);
}

/** Unmounts; not mounted and not there are fine. What is in use goes as soon as its users have. */
export function unmountIfMounted(sys: Syscalls, target: string): void {
  try {
    sys.umount(target);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'EINVAL' || errno === 'ENOENT') return;
    if (errno !== 'EBUSY') throw error;
    sys.umount(target, MNT.DETACH);
  }
}
