import { assert } from '../base/errors.ts';
import type { Libc } from './ffi-libc.ts';
import type { Syscalls } from './syscalls.ts';

/** Numbers are the same on all architectures from 403 on; libc does not wrap these everywhere. */
const NR = {
  openTree: 428,
  moveMount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  mountSetattr: 442,
} as const;

/** pivot_root(2) has no wrapper in musl and differs between architectures. */
const NR_PIVOT_ROOT: Readonly<Record<string, number>> = {
  x64: 155,
  arm64: 41,
  arm: 218,
  riscv64: 41,
  ia32: 217,
};

const FSCONFIG = { flag: 0, string: 1, create: 6 } as const;
const AT_EMPTY_PATH_MOVE = 0x4; // MOVE_MOUNT_F_EMPTY_PATH
const FSMOUNT_CLOEXEC = 1;
const FSOPEN_CLOEXEC = 1;

/** Mounts, by the calls of 1991 and of 2019. */
export function mountCalls(libc: Libc) {
  const call = libc.call.bind(libc);
  return {
    mount: ({ source, target, type, flags, data }) => {
      call(
        'mount',
        target,
        'int mount(const char *source, const char *target, const char *type, unsigned long flags, const char *data)',
        source,
        target,
        type ?? null,
        flags ?? 0,
        data ?? null,
      );
    },
    umount: (target, flags) => {
      call('umount', target, 'int umount2(const char *target, int flags)', target, flags ?? 0);
    },
    pivotRoot: (newRoot, putOld) => {
      const number = NR_PIVOT_ROOT[process.arch];
      assert(number !== undefined, `no syscall number of pivot_root for ${process.arch}`);
      call(
        'pivot_root',
        newRoot,
        'long syscall(long number, const char *a, const char *b)',
        number,
        newRoot,
        putOld,
      );
    },
    fsopen: (type) =>
      call(
        'fsopen',
        type,
        'long syscall(long number, const char *type, unsigned long flags)',
        NR.fsopen,
        type,
        FSOPEN_CLOEXEC,
      ),
    fsconfigString: (fd, key, value) => {
      call(
        'fsconfig',
        `${key}=${value}`,
        'long syscall(long number, int fd, unsigned long command, const char *key, const char *value, long aux)',
        NR.fsconfig,
        fd,
        FSCONFIG.string,
        key,
        value,
        0,
      );
    },
    fsconfigFlag: (fd, key) => {
      call(
        'fsconfig',
        key,
        'long syscall(long number, int fd, unsigned long command, const char *key, const char *value, long aux)',
        NR.fsconfig,
        fd,
        FSCONFIG.flag,
        key,
        null,
        0,
      );
    },
    fsconfigCreate: (fd) => {
      call(
        'fsconfig',
        undefined,
        'long syscall(long number, int fd, unsigned long command, const char *key, const char *value, long aux)',
        NR.fsconfig,
        fd,
        FSCONFIG.create,
        null,
        null,
        0,
      );
    },
    fsmount: (fd, attributes) =>
      call(
        'fsmount',
        undefined,
        'long syscall(long number, int fd, unsigned long flags, unsigned long attributes)',
        NR.fsmount,
        fd,
        FSMOUNT_CLOEXEC,
        attributes,
      ),
    openTree: (dirFd, path, flags) =>
      call(
        'open_tree',
        path,
        'long syscall(long number, int fd, const char *path, unsigned long flags)',
        NR.openTree,
        dirFd,
        path,
        flags,
      ),
    moveMount: (fromFd, toDirFd, toPath) => {
      call(
        'move_mount',
        toPath,
        'long syscall(long number, int from, const char *fromPath, int to, const char *toPath, unsigned long flags)',
        NR.moveMount,
        fromFd,
        '',
        toDirFd,
        toPath,
        AT_EMPTY_PATH_MOVE,
      );
    },
    mountSetattr: (dirFd, path, flags, attr) => {
      const bytes = Buffer.alloc(32);
      bytes.writeBigUInt64LE(BigInt(attr.set ?? 0), 0);
      bytes.writeBigUInt64LE(BigInt(attr.clear ?? 0), 8);
      bytes.writeBigUInt64LE(BigInt(attr.propagation ?? 0), 16);
      bytes.writeBigUInt64LE(BigInt(attr.userNsFd ?? 0), 24);
      call(
        'mount_setattr',
        path,
        'long syscall(long number, int fd, const char *path, unsigned long flags, const void *attr, unsigned long size)',
        NR.mountSetattr,
        dirFd,
        path,
        flags,
        bytes,
        bytes.length,
      );
    },
  } satisfies Partial<Syscalls>;
}
