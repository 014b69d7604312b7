import { closeSync, constants, mkdirSync, openSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { CLONE, MNT, MS } from './constants.ts';
import { isMountPoint, readMountInfo } from './mountinfo.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * crun refuses a host with both cgroup versions. On such a host the daemon lives in a mount
 * namespace of its own, in which the second one is not there. Mounts made outside appear inside;
 * mounts made inside (roots of containers, volumes, network namespaces) stay inside. As they must
 * outlive the daemon, the namespace is pinned by a bind mount outside, and the next daemon joins it.
 *
 * A mount namespace belongs to a thread: this must run before the process starts threads that open
 * files (libuv's pool starts with the first asynchronous file operation).
 */
const PIN = 'mnt';

/**
 * Enters the daemon's mount namespace, made anew when `directory` holds none. Does nothing on a
 * host with one cgroup version.
 * @param directory folder in the exec root for the pin; made when it is missing
 * @returns whether a namespace was entered
 */
export function hideHybridHierarchy(sys: Syscalls, directory: string): boolean {
  const mounts = readMountInfo();
  const second = mounts.filter(
    (each) => each.type === 'cgroup2' && each.mountPoint !== '/sys/fs/cgroup',
  );
  if (second.length === 0 || !mounts.some((each) => each.type === 'cgroup')) return false;
  const pin = path.join(directory, PIN);
  // The file system view is shared with V8's threads; setns refuses while it is.
  sys.unshare(CLONE.FS);
  if (isMountPoint(pin)) {
    enter(sys, pin);
    return true;
  }
  const outside = openSync('/proc/self/ns/mnt', constants.O_RDONLY);
  try {
    sys.unshare(CLONE.NEWNS);
    sys.mount({ source: 'none', target: '/', flags: MS.REC | MS.SLAVE });
    for (const mount of second) sys.umount(mount.mountPoint, MNT.DETACH);
    pinNamespace(sys, { outside, directory, pin });
  } finally {
    closeSync(outside);
  }
  return true;
}

function enter(sys: Syscalls, pin: string): void {
  const fd = openSync(pin, constants.O_RDONLY);
  try {
    sys.setns(fd, CLONE.NEWNS);
  } finally {
    closeSync(fd);
  }
}

/** Binds this thread's namespace to a file outside of it, where a namespace may be bound. */
function pinNamespace(
  sys: Syscalls,
  at: { readonly outside: number; readonly directory: string; readonly pin: string },
): void {
  const inside = openSync('/proc/self/ns/mnt', constants.O_RDONLY);
  try {
    sys.setns(at.outside, CLONE.NEWNS);
    mkdirSync(at.directory, { recursive: true, mode: 0o700 });
    // A namespace cannot be bound where the mount would propagate into that very namespace.
    sys.mount({ source: at.directory, target: at.directory, flags: MS.BIND });
    sys.mount({ source: 'none', target: at.directory, flags: MS.PRIVATE });
    writeFileSync(at.pin, '');
    sys.mount({ source: `/proc/self/fd/${inside}`, target: at.pin, flags: MS.BIND });
    sys.setns(inside, CLONE.NEWNS);
  } finally {
    closeSync(inside);
  }
}
