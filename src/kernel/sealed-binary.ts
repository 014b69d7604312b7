import { mkdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { MNT, MS } from './constants.ts';
import { isMountPoint } from './mountinfo.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * Before anything else crun and runc make a copy of their own executable that a container cannot
 * write to (CVE-2019-5736), and execute it: at every call, for half a dozen shared libraries twice.
 * One that runs from a read-only mount made for it, and is told so, leaves that out
 * (`is_self_cloned` in their `cloned_binary.c`); where the mount is missing it copies itself all the
 * same.
 */
export const SEALED_ENVIRONMENT = { _LIBCONTAINER_CLONED_BINARY: '1' } as const;

/**
 * Binds `binary` read-only below `folder`, under its own base name, and returns that path. One that
 * is there from an earlier daemon is kept while it is still the same file.
 */
export function sealBinary(sys: Syscalls, binary: string, folder: string): string {
  const sealed = path.join(folder, path.basename(binary));
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  if (isMountPoint(sealed)) {
    const [now, then] = [statSync(binary), statSync(sealed)];
    if (now.dev === then.dev && now.ino === then.ino) return sealed;
    sys.umount(sealed, MNT.DETACH);
  }
  writeFileSync(sealed, '', { mode: 0o500 });
  sys.mount({ source: binary, target: sealed, flags: MS.BIND });
  try {
    sys.mount({
      source: 'none',
      target: sealed,
      flags: MS.BIND | MS.REMOUNT | MS.RDONLY | MS.NOSUID,
    });
  } catch (error) {
    unsealBinary(sys, sealed);
    throw error;
  }
  return sealed;
}

/** Takes the mount away; what runs from it goes on. */
export function unsealBinary(sys: Syscalls, sealed: string): void {
  if (isMountPoint(sealed)) sys.umount(sealed, MNT.DETACH);
  rmSync(sealed, { force: true });
}
