import { closeSync, existsSync, openSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
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

/** True on hosts whose control groups are hybrid, as this process's namespace shows them. */
export function hasHybridCgroups(): boolean {
  return existsSync('/sys/fs/cgroup/memory') && isMountPoint(UNIFIED);
}

function pinOf(execRoot: string): string {
  return path.join(execRoot, 'mounts.ns');
}

/**
 * Moves the calling thread into the daemon's mount namespace, made at the first call. Returns a
 * descriptor of the host's, close-on-exec. `execRoot` must exist.
 */
export function enterMountNamespace(sys: Syscalls, execRoot: string): number {
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
    return host;
  }
  sys.unshare(CLONE.NEWNS);
  // What the host mounts later still arrives here; nothing goes back.
  sys.mount({ source: 'none', target: '/', flags: MS.SLAVE | MS.REC });
  sys.umount(UNIFIED, MNT.DETACH);
  const own = openSync('/proc/thread-self/ns/mnt', 'r');
  try {
    // A namespace can only be bound in an older one.
    sys.setns(host, CLONE.NEWNS);
    writeFileSync(pin, '', { mode: 0o400 });
    sys.mount({ source: `/proc/self/fd/${own}`, target: pin, flags: MS.BIND });
    sys.setns(own, CLONE.NEWNS);
  } finally {
    closeSync(own);
  }
  return host;
}

/** Lets go of the namespace when nothing runs in it any more; `host` is what entering it gave. */
export function forgetMountNamespace(sys: Syscalls, execRoot: string, host: number): void {
  const pin = pinOf(execRoot);
  const own = openSync('/proc/thread-self/ns/mnt', 'r');
  try {
    sys.unshare(CLONE_FS);
    sys.setns(host, CLONE.NEWNS);
    if (isMountPoint(pin)) sys.umount(pin, MNT.DETACH);
    rmSync(pin, { force: true });
    sys.setns(own, CLONE.NEWNS);
  } finally {
    closeSync(own);
  }
}
