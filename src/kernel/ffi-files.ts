import { closeSync } from 'node:fs';
import { F_DUPFD_CLOEXEC, FICLONE } from './constants.ts';
import { type Libc, textOf, XATTR_BYTES_MAX } from './ffi-libc.ts';
import { syscallError } from './syscall-error.ts';
import type { Syscalls, TimeSpec } from './syscalls.ts';

/** Numbers are the same on all architectures from 403 on; libc does not wrap these everywhere. */
const NR = {
  openat2: 437,
  quotactlFd: 443,
} as const;

function timespecs(atime: TimeSpec, mtime: TimeSpec): Uint8Array {
  // struct timespec[2]: two longs each, so 8 or 4 bytes wide.
  const wide = process.arch !== 'arm' && process.arch !== 'ia32';
  const bytes = Buffer.alloc(wide ? 32 : 16);
  for (const [i, t] of [atime, mtime].entries()) {
    if (wide) {
      bytes.writeBigInt64LE(BigInt(t.sec), i * 16);
      bytes.writeBigInt64LE(BigInt(t.nsec), i * 16 + 8);
    } else {
      bytes.writeInt32LE(Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, t.sec)), i * 8);
      bytes.writeInt32LE(t.nsec, i * 8 + 4);
    }
  }
  return bytes;
}

function makedev(major: number, minor: number): bigint {
  const ma = BigInt(major);
  const mi = BigInt(minor);
  return (
    ((ma & 0xfffff000n) << 32n) | ((ma & 0xfffn) << 8n) | ((mi & 0xffffff00n) << 12n) | (mi & 0xffn)
  );
}

/** Files: their names, attributes, locks and quotas, and copies that the kernel makes. */
export function fileCalls(libc: Libc) {
  const { koffi } = libc;
  const call = libc.call.bind(libc);
  const names = Buffer.allocUnsafeSlow(XATTR_BYTES_MAX);
  return {
    roomForDescriptors: (fd, count) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      const done = (_error: unknown, highest: number): void => {
        if (highest >= 0) closeSync(highest);
        resolve();
      };
      const duplicate = libc.getAsync('int fcntl(int fd, int what, int least)');
      duplicate(fd, F_DUPFD_CLOEXEC, count - 1, done);
      return promise;
    },
    openat2: (dirFd, path, how) => {
      const bytes = Buffer.alloc(24);
      bytes.writeBigUInt64LE(BigInt(how.flags), 0);
      bytes.writeBigUInt64LE(BigInt(how.mode ?? 0), 8);
      bytes.writeBigUInt64LE(BigInt(how.resolve ?? 0), 16);
      return call(
        'openat2',
        path,
        'long syscall(long number, int fd, const char *path, const void *how, unsigned long size)',
        NR.openat2,
        dirFd,
        path,
        bytes,
        bytes.length,
      );
    },
    mkdirat: (dirFd, path, mode) => {
      call(
        'mkdir',
        path,
        'int mkdirat(int fd, const char *path, unsigned int mode)',
        dirFd,
        path,
        mode,
      );
    },
    unlinkat: (dirFd, path, flags) => {
      call('unlink', path, 'int unlinkat(int fd, const char *path, int flags)', dirFd, path, flags);
    },
    symlinkat: (target, dirFd, path) => {
      call(
        'symlink',
        path,
        'int symlinkat(const char *target, int fd, const char *path)',
        target,
        dirFd,
        path,
      );
    },
    linkat: (fromDirFd, from, toDirFd, to, flags) => {
      call(
        'link',
        to,
        'int linkat(int a, const char *from, int b, const char *to, int flags)',
        fromDirFd,
        from,
        toDirFd,
        to,
        flags ?? 0,
      );
    },
    renameat2: (fromDirFd, from, toDirFd, to, flags) => {
      call(
        'rename',
        to,
        'int renameat2(int a, const char *from, int b, const char *to, unsigned int flags)',
        fromDirFd,
        from,
        toDirFd,
        to,
        flags,
      );
    },
    mknodat: (dirFd, path, mode, device) => {
      call(
        'mknod',
        path,
        'int mknodat(int fd, const char *path, unsigned int mode, uint64_t device)',
        dirFd,
        path,
        mode,
        makedev(device.major, device.minor),
      );
    },
    fchownat: (dirFd, path, uid, gid, flags) => {
      call(
        'chown',
        path,
        'int fchownat(int fd, const char *path, unsigned int uid, unsigned int gid, int flags)',
        dirFd,
        path,
        uid,
        gid,
        flags,
      );
    },
    fchmodat: (dirFd, path, mode) => {
      call(
        'chmod',
        path,
        'int fchmodat(int fd, const char *path, unsigned int mode, int flags)',
        dirFd,
        path,
        mode,
        0,
      );
    },
    utimensat: (dirFd, path, atime, mtime) => {
      call(
        'utimensat',
        path,
        'int utimensat(int fd, const char *path, const void *times, int flags)',
        dirFd,
        path,
        timespecs(atime, mtime),
        0x100,
      );
    },
    futimens: (fd, atime, mtime) => {
      call(
        'futimens',
        undefined,
        'int futimens(int fd, const void *times)',
        fd,
        timespecs(atime, mtime),
      );
    },
    lsetxattr: (path, name, value) => {
      call(
        'lsetxattr',
        path,
        'int lsetxattr(const char *path, const char *name, const void *value, unsigned long size, int flags)',
        path,
        name,
        value,
        value.length,
        0,
      );
    },
    fsetxattr: (fd, name, value) => {
      call(
        'fsetxattr',
        name,
        'int fsetxattr(int fd, const char *name, const void *value, unsigned long size, int flags)',
        fd,
        name,
        value,
        value.length,
        0,
      );
    },
    fgetxattr: (fd, name) =>
      libc.xattr(
        'fgetxattr',
        undefined,
        'long fgetxattr(int fd, const char *name, void *value, unsigned long size)',
        fd,
        name,
      ),
    lgetxattr: (path, name) =>
      libc.xattr(
        'lgetxattr',
        path,
        'long lgetxattr(const char *path, const char *name, void *value, unsigned long size)',
        path,
        name,
      ),
    llistxattr: (path) => {
      const list = libc.get('long llistxattr(const char *path, void *names, unsigned long size)');
      const length = Number(list(path, names, names.length));
      if (length < 0) {
        const errno = koffi.errno();
        if (errno === 95) return []; // EOPNOTSUPP
        throw syscallError('llistxattr', errno, textOf(path));
      }
      return names
        .toString('utf8', 0, length)
        .split('\0')
        .filter((name) => name !== '');
    },
    lremovexattr: (path, name) => {
      call(
        'lremovexattr',
        path,
        'int lremovexattr(const char *path, const char *name)',
        path,
        name,
      );
    },
    quotactlFd: (fd, command, id, argument) => {
      call(
        'quotactl',
        undefined,
        'long syscall(long number, int fd, unsigned int command, unsigned int id, void *argument)',
        NR.quotactlFd,
        fd,
        command,
        id,
        argument,
      );
    },
    quotactl: (command, device, id, argument) => {
      call(
        'quotactl',
        device,
        'int quotactl(int command, const char *device, int id, void *argument)',
        command,
        device,
        id,
        argument,
      );
    },
    flock: (fd, operation) => {
      call('flock', undefined, 'int flock(int fd, int operation)', fd, operation);
    },
    ioctl: (fd, request, argument) =>
      typeof argument === 'number'
        ? call(
            'ioctl',
            undefined,
            'int ioctl(int fd, unsigned long request, unsigned long argument)',
            fd,
            request,
            argument,
          )
        : call(
            'ioctl',
            undefined,
            'int ioctl(int fd, unsigned long request, void *argument)',
            fd,
            request,
            argument,
          ),
    clone: (toFd, fromFd) => {
      call(
        'ioctl(FICLONE)',
        undefined,
        'int ioctl(int fd, unsigned long request, unsigned long argument)',
        toFd,
        FICLONE,
        fromFd,
      );
    },
    lseek: (fd, offset, whence) => {
      const at = libc.get('int64_t lseek64(int fd, int64_t offset, int whence)')(
        fd,
        offset,
        whence,
      );
      if (Number(at) >= 0) return Number(at);
      const errno = libc.koffi.errno();
      if (errno === 6) return undefined; // ENXIO
      throw syscallError('lseek', errno, undefined);
    },
    copyFileRange: (fromFd, toFd, bytes) =>
      call(
        'copy_file_range',
        undefined,
        'long copy_file_range(int a, void *offA, int b, void *offB, unsigned long bytes, unsigned int flags)',
        fromFd,
        null,
        toFd,
        null,
        bytes,
        0,
      ),
  } satisfies Partial<Syscalls>;
}
