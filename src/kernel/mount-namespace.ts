import {
  closeSync,
  existsSync,
  fstatSync,
  openSync,
  readlinkSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { errnoOf } from '../base/errors.ts';
import { CLONE, MNT, MS } from './constants.ts';
import { isMountPoint } from './mountinfo.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * crun refuses hosts with hybrid control groups (v1 controllers, and an empty v2 tree at
 * `/sys/fs/cgroup/unified`). There the daemon works in a mount namespace of its own in which that
 * tree is not mounted. Containers outlive the daemon and their mounts are in that namespace, so it
 * is bound to a file of the exec root, and the next daemon enters it again.
 *
 * Namespaces of mounts belong to threads, and Node has several from its start. So this moves the
 * calling thread, and the caller must replace the process image (execve) at once: exec keeps what
 * the calling thread has, and ends the others.
 */

const UNIFIED = '/sys/fs/cgroup/unified';
/** Stops sharing the root and working folder with other threads, which setns(2) insists on. */
const CLONE_FS = 0x200;
/**
 * A namespace can only be bound in an older one, which Linux tells by their numbers; and each
 * processor numbers from a stock of 4,096 of its own. So where the daemon is started in a namespace
 * that is young itself, the next one may count as older, until a few more were made: 0.1 ms each.
 */
const PIN_TRIES = 10_000;

/** True on hosts whose control groups are hybrid, as this process's namespace shows them. */
export function hasHybridCgroups(): boolean {
  return existsSync('/sys/fs/cgroup/memory') && isMountPoint(UNIFIED);
}

function pinOf(execRoot: string): string {
  return path.join(execRoot, 'mounts.ns');
}

/**
 * Moves the calling thread into the daemon's mount namespace, made at the first call. Returns a
 * descriptor of the host's, close-on-exec, and whether ours was made. `execRoot` must exist.
 */
export function enterMountNamespace(
  sys: Syscalls,
  execRoot: string,
): { readonly host: number; readonly isNew: boolean } {
  // setns(2) goes to the root, and names of files on the command line are relative to where we are.
  const folder = readlinkSync('/proc/thread-self/cwd');
  try {
    return moveToOwn(sys, execRoot);
  } finally {
    if (existsSync(folder)) process.chdir(folder);
  }
}

function moveToOwn(sys: Syscalls, execRoot: string): { host: number; isNew: boolean } {
  const pin = pinOf(execRoot);
  const host = openSync('/proc/thread-self/ns/mnt', 'r');
  sys.unshare(CLONE_FS);
  if (isMountPoint(pin)) {
    const fd = openSync(pin, 'r');
    try {
      sys.setns(fd, CLONE.NEWNS);
    } finally {
      closeSync(fd);
    }
    return { host, isNew: false };
  }
  writeFileSync(pin, '', { mode: 0o400 });
  for (let left = PIN_TRIES; !moveToNew(sys, { host, pin, isLast: left === 0 }); left -= 1);
  return { host, isNew: true };
}

/** Moves the calling thread into a new namespace that is bound to `pin`; false when it cannot be bound. */
function moveToNew(
  sys: Syscalls,
  { host, pin, isLast }: { host: number; pin: string; isLast: boolean },
): boolean {
  sys.unshare(CLONE.NEWNS);
  const own = openSync('/proc/thread-self/ns/mnt', 'r');
  try {
    sys.setns(host, CLONE.NEWNS);
    sys.mount({ source: `/proc/self/fd/${own}`, target: pin, flags: MS.BIND });
    sys.setns(own, CLONE.NEWNS);
  } catch (error) {
    if (errnoOf(error) !== 'EINVAL' || isLast) throw error;
    return false;
  } finally {
    closeSync(own);
  }
  // What the host mounts later still arrives here; nothing goes back.
  sys.mount({ source: 'none', target: '/', flags: MS.SLAVE | MS.REC });
  sys.umount(UNIFIED, MNT.DETACH);
  return true;
}

/** Lets go of the namespace when nothing runs in it any more; `host` is what entering it gave. */
export function forgetMountNamespace(sys: Syscalls, execRoot: string, host: number): void {
  const pin = pinOf(execRoot);
  const own = openSync('/proc/thread-self/ns/mnt', 'r');
  try {
    sys.unshare(CLONE_FS);
    sys.setns(host, CLONE.NEWNS);
    // Another daemon that starts at the same time may have put its own there.
    if (isMountPoint(pin) && statSync(pin).ino === fstatSync(own).ino) {
      sys.umount(pin, MNT.DETACH);
      rmSync(pin, { force: true });
    }
    sys.setns(own, CLONE.NEWNS);
  } finally {
    closeSync(own);
  }
}
