import { assert } from '../base/errors.ts';
import { FICLONE, SOCK, SOL_SOCKET } from './constants.ts';
import { type Koffi, loadKoffi } from './native-library.ts';
import { syscallError } from './syscall-error.ts';
import type { PathArg, Syscalls, TimeSpec } from './syscalls.ts';

/**
 * {@link Syscalls} by foreign function calls into libc. The only file of the tree that knows koffi,
 * so that another FFI can take its place.
 *
 * Notes on koffi: it has no `ssize_t` (`long` is the same on Linux); variadic functions (`syscall`,
 * `ioctl`) want each argument's type at the call, so fixed-arity prototypes of `syscall` are
 * declared instead; pointers inside structs are written by hand with `koffi.address`.
 */

type Native = (...args: unknown[]) => number | bigint;

/** Syscalls that libc has no wrapper for (or not everywhere). The numbers above 403 are the same on all architectures. */
const NR = {
  pidfdSendSignal: 424,
  openTree: 428,
  moveMount: 429,
  fsopen: 430,
  fsconfig: 431,
  fsmount: 432,
  pidfdOpen: 434,
  openat2: 437,
  mountSetattr: 442,
  quotactlFd: 443,
  cachestat: 451,
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
const SCM_RIGHTS = 1;
const XATTR_BYTES_MAX = 64 << 10;

class Libc {
  readonly koffi: Koffi = loadKoffi();
  readonly #library = this.koffi.load(null);
  readonly #functions = new Map<string, Native>();
  readonly #xattrValue = Buffer.allocUnsafeSlow(XATTR_BYTES_MAX);

  /** The function with this C prototype, declared at first use. */
  get(prototype: string): Native {
    let native = this.#functions.get(prototype);
    if (native === undefined) {
      native = this.#library.func(prototype) as Native;
      this.#functions.set(prototype, native);
    }
    return native;
  }

  /** The same function, to be called on a thread of the pool; its last argument is `(error, result)`. */
  getAsync(prototype: string): (...args: unknown[]) => void {
    return (this.get(prototype) as Native & { async: (...args: unknown[]) => void }).async;
  }

  /** Calls, and throws on -1. */
  call(name: string, path: PathArg | undefined, prototype: string, ...args: unknown[]): number {
    const result = Number(this.get(prototype)(...args));
    if (result === -1) throw syscallError(name, this.koffi.errno(), textOf(path));
    return result;
  }

  /** The value of an extended attribute of `file`; undefined when there is none. */
  xattr(
    name: string,
    path: PathArg | undefined,
    prototype: string,
    file: PathArg | number,
    attribute: string,
  ): Uint8Array | undefined {
    const value = this.#xattrValue;
    const length = Number(this.get(prototype)(file, attribute, value, value.length));
    if (length >= 0) return Uint8Array.prototype.slice.call(value, 0, length);
    const errno = this.koffi.errno();
    if (errno === 61 || errno === 95) return undefined; // ENODATA, EOPNOTSUPP
    throw syscallError(name, errno, textOf(path));
  }
}

/** A path for an error's sentence. */
function textOf(path: PathArg | undefined): string | undefined {
  if (path === undefined || typeof path === 'string') return path;
  return Buffer.from(path.buffer, path.byteOffset, Math.max(0, path.length - 1)).toString();
}

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

/** Buffers of one msghdr with one iovec and room for `fdsMax` descriptors; keep them referenced during the call. */
function messageHeader(
  koffi: Koffi,
  data: Uint8Array,
  control: Buffer,
): { header: Buffer; iovec: Buffer } {
  const wide = process.arch !== 'arm' && process.arch !== 'ia32';
  const word = wide ? 8 : 4;
  const put = (to: Buffer, value: bigint, at: number): void => {
    if (wide) to.writeBigUInt64LE(value, at);
    else to.writeUInt32LE(Number(value), at);
  };
  const iovec = Buffer.alloc(2 * word);
  put(iovec, koffi.address(data), 0);
  put(iovec, BigInt(data.length), word);
  // msg_name, msg_namelen (padded to a word), msg_iov, msg_iovlen, msg_control, msg_controllen, msg_flags
  const header = Buffer.alloc(7 * word);
  put(header, koffi.address(iovec), 2 * word);
  put(header, 1n, 3 * word);
  put(header, koffi.address(control), 4 * word);
  put(header, BigInt(control.length), 5 * word);
  return { header, iovec };
}

function controlBytes(fds: number): { header: number; space: number; length: number } {
  const word = process.arch !== 'arm' && process.arch !== 'ia32' ? 8 : 4;
  const header = word + 8;
  const length = header + fds * 4;
  return { header, length, space: Math.ceil(length / word) * word };
}

/** The real syscalls of this process. Loads the addon. */
export function openSyscalls(): Syscalls {
  const libc = new Libc();
  const { koffi } = libc;
  const call = libc.call.bind(libc);
  const names = Buffer.allocUnsafeSlow(XATTR_BYTES_MAX);

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

    setns: (fd, type) => {
      call('setns', undefined, 'int setns(int fd, int type)', fd, type);
    },
    unshare: (flags) => {
      call('unshare', undefined, 'int unshare(int flags)', flags);
    },
    pidfdOpen: (pid) =>
      call(
        'pidfd_open',
        String(pid),
        'long syscall(long number, long a, long b)',
        NR.pidfdOpen,
        pid,
        0,
      ),
    pidfdSendSignal: (pidFd, signal) => {
      call(
        'pidfd_send_signal',
        undefined,
        'long syscall(long number, long a, long b, const void *c, long d)',
        NR.pidfdSendSignal,
        pidFd,
        signal,
        null,
        0,
      );
    },
    prctl: (option, arg2) =>
      call(
        'prctl',
        undefined,
        'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
        option,
        arg2,
        0,
        0,
        0,
      ),
    setfsuid: (uid) => {
      call('setfsuid', undefined, 'int setfsuid(unsigned int uid)', uid);
    },
    setfsgid: (gid) => {
      call('setfsgid', undefined, 'int setfsgid(unsigned int gid)', gid);
    },
    prlimit: (pid, resource, limit) => {
      const bytes = Buffer.alloc(16);
      bytes.writeBigUInt64LE(BigInt.asUintN(64, limit.soft), 0);
      bytes.writeBigUInt64LE(BigInt.asUintN(64, limit.hard), 8);
      call(
        'prlimit',
        String(pid),
        'int prlimit64(int pid, int resource, const void *limit, void *old)',
        pid,
        resource,
        bytes,
        null,
      );
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

    cachedPages: (fd) => {
      const range = Buffer.alloc(16); // from 0, 0 bytes: to the end
      const stat = Buffer.alloc(40);
      const result = libc.get(
        'long syscall(long number, unsigned int fd, void *range, void *stat, unsigned int flags)',
      )(NR.cachestat, fd, range, stat, 0);
      return Number(result) === 0 ? Number(stat.readBigUInt64LE(0)) : undefined;
    },
    fadvise: (fd, offset, bytes, advice) => {
      // posix_fadvise returns its errno instead of setting it.
      const errno = Number(
        libc.get('int posix_fadvise64(int fd, int64_t offset, int64_t bytes, int advice)')(
          fd,
          offset,
          bytes,
          advice,
        ),
      );
      if (errno !== 0) throw syscallError('fadvise', errno);
    },
    syncFileRange: (fd, offset, bytes, flags) => {
      call(
        'sync_file_range',
        undefined,
        'int sync_file_range(int fd, int64_t offset, int64_t bytes, unsigned int flags)',
        fd,
        offset,
        bytes,
        flags,
      );
    },
    syncfsAsync: (fd) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      // The call and the reading of its errno happen on one thread of the pool.
      const done = (error: unknown, result: number): void => {
        if (error !== null && error !== undefined) reject(error);
        else if (result === -1) reject(syscallError('syncfs', koffi.errno()));
        else resolve();
      };
      libc.getAsync('int syncfs(int fd)')(fd, done);
      return promise;
    },
    fallocate: (fd, mode, offset, bytes) => {
      call(
        'fallocate',
        undefined,
        'int fallocate64(int fd, int mode, int64_t offset, int64_t bytes)',
        fd,
        mode,
        offset,
        bytes,
      );
    },
    madvise: (address, bytes, advice) => {
      call(
        'madvise',
        undefined,
        'int madvise(uintptr_t address, unsigned long bytes, int advice)',
        address,
        bytes,
        advice,
      );
    },

    socket: (domain, type, protocol) =>
      call(
        'socket',
        undefined,
        'int socket(int domain, int type, int protocol)',
        domain,
        type,
        protocol,
      ),
    bind: (fd, address) => {
      call(
        'bind',
        undefined,
        'int bind(int fd, const void *address, unsigned int bytes)',
        fd,
        address,
        address.length,
      );
    },
    connect: (fd, address) => {
      call(
        'connect',
        undefined,
        'int connect(int fd, const void *address, unsigned int bytes)',
        fd,
        address,
        address.length,
      );
    },
    listen: (fd, backlog) => {
      call('listen', undefined, 'int listen(int fd, int backlog)', fd, backlog);
    },
    getsockname: (fd, bytes) => {
      const address = Buffer.alloc(bytes);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes);
      call(
        'getsockname',
        undefined,
        'int getsockname(int fd, void *address, void *bytes)',
        fd,
        address,
        length,
      );
      return address;
    },
    setsockopt: (fd, level, name, value) => {
      let bytes = value;
      if (typeof bytes === 'number') {
        const word = Buffer.alloc(4);
        word.writeInt32LE(bytes);
        bytes = word;
      }
      call(
        'setsockopt',
        undefined,
        'int setsockopt(int fd, int level, int name, const void *value, unsigned int bytes)',
        fd,
        level,
        name,
        bytes,
        bytes.length,
      );
    },
    getsockopt: (fd, level, name, bytes) => {
      const value = Buffer.alloc(bytes);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes);
      call(
        'getsockopt',
        undefined,
        'int getsockopt(int fd, int level, int name, void *value, void *bytes)',
        fd,
        level,
        name,
        value,
        length,
      );
      return value.subarray(0, length.readUInt32LE());
    },
    send: (fd, bytes, flags) =>
      call(
        'send',
        undefined,
        'long send(int fd, const void *bytes, unsigned long length, int flags)',
        fd,
        bytes,
        bytes.length,
        flags,
      ),
    recv: (fd, into, flags) =>
      call(
        'recv',
        undefined,
        'long recv(int fd, void *bytes, unsigned long length, int flags)',
        fd,
        into,
        into.length,
        flags,
      ),
    sendFds: (fd, bytes, fds) => {
      assert(bytes.length > 0, 'descriptors travel with at least one byte');
      const { header: at, space, length } = controlBytes(fds.length);
      const control = Buffer.alloc(space);
      control.writeUInt32LE(length, 0);
      control.writeInt32LE(SOL_SOCKET, at - 8);
      control.writeInt32LE(SCM_RIGHTS, at - 4);
      for (const [i, each] of fds.entries()) control.writeInt32LE(each, at + 4 * i);
      const { header, iovec } = messageHeader(koffi, bytes, control);
      call(
        'sendmsg',
        undefined,
        'long sendmsg(int fd, const void *header, int flags)',
        fd,
        header,
        0x4000,
      );
      assert(iovec.length > 0, 'the iovec lives until here');
    },
    recvFds: (fd, into, fdsMax) => {
      const { header: at, space } = controlBytes(fdsMax);
      const control = Buffer.alloc(space);
      const { header, iovec } = messageHeader(koffi, into, control);
      const bytes = call(
        'recvmsg',
        undefined,
        'long recvmsg(int fd, void *header, int flags)',
        fd,
        header,
        0x40000000,
      );
      assert(iovec.length > 0, 'the iovec lives until here');
      const fds: number[] = [];
      const length = control.readUInt32LE(0);
      if (length > at && control.readInt32LE(at - 4) === SCM_RIGHTS) {
        for (let offset = at; offset + 4 <= length; offset += 4)
          fds.push(control.readInt32LE(offset));
      }
      return { bytes, fds };
    },
    socketpair: (type) => {
      const pair = Buffer.alloc(8);
      call(
        'socketpair',
        undefined,
        'int socketpair(int domain, int type, int protocol, void *pair)',
        1,
        type | SOCK.CLOEXEC,
        0,
        pair,
      );
      return [pair.readInt32LE(0), pair.readInt32LE(4)];
    },
  };
}
