/**
 * The syscalls that Node does not offer, as one interface. `ffi.ts` carries them out, `fake.ts`
 * records them and can fail at any step. All but those that give a promise are synchronous, none
 * retries: 0.3 to 3 µs a call, so fine per file and wrong per byte. Each throws `syscallError`
 * (detail.errno, detail.syscall).
 * Source of every entry: its man page, section 2.
 */

/** A directory to resolve a relative path against; `AT_FDCWD` is {@link CWD}. */
export type DirFd = number;
export const CWD: DirFd = -100;

/** A path: text, or the exact bytes of a name that is not UTF-8, with a NUL at their end. */
export type PathArg = string | Uint8Array;

/** A time with the kernel's resolution; `sec` may be negative, `nsec` is 0 … 999,999,999. */
export type TimeSpec = { readonly sec: number; readonly nsec: number };

export type Syscalls = {
  // --- mounts ---
  mount(args: {
    source: string;
    target: string;
    type?: string;
    flags?: number;
    data?: string;
  }): void;
  umount(target: string, flags?: number): void;
  pivotRoot(newRoot: string, putOld: string): void;
  fsopen(type: string): number;
  fsconfigString(fd: number, key: string, value: string): void;
  fsconfigFlag(fd: number, key: string): void;
  fsconfigCreate(fd: number): void;
  fsmount(fd: number, attributes: number): number;
  openTree(dirFd: DirFd, path: string, flags: number): number;
  moveMount(fromFd: number, toDirFd: DirFd, toPath: string): void;
  /** `attr` as in struct mount_attr; `userNsFd` makes the mount idmapped. */
  mountSetattr(
    dirFd: DirFd,
    path: string,
    flags: number,
    attr: { set?: number; clear?: number; propagation?: number; userNsFd?: number },
  ): void;

  // --- namespaces and processes ---
  setns(fd: number, type: number): void;
  unshare(flags: number): void;
  pidfdOpen(pid: number): number;
  pidfdSendSignal(pidFd: number, signal: number): void;
  prctl(option: number, arg2: number): number;
  /** Whom the calling thread's new files belong to, and who it is to filesystems. */
  setfsuid(uid: number): void;
  setfsgid(gid: number): void;
  /** Raises or lowers another process's limit: `resource` is RLIMIT_*. */
  prlimit(pid: number, resource: number, limit: { soft: bigint; hard: bigint }): void;

  // --- files ---
  /** Returns a new descriptor. `resolve` is a set of RESOLVE_* bits. */
  openat2(
    dirFd: DirFd,
    path: PathArg,
    how: { flags: number; mode?: number; resolve?: number },
  ): number;
  mkdirat(dirFd: DirFd, path: PathArg, mode: number): void;
  unlinkat(dirFd: DirFd, path: PathArg, flags: number): void;
  symlinkat(target: PathArg, dirFd: DirFd, path: PathArg): void;
  linkat(fromDirFd: DirFd, from: PathArg, toDirFd: DirFd, to: PathArg, flags?: number): void;
  renameat2(fromDirFd: DirFd, from: PathArg, toDirFd: DirFd, to: PathArg, flags: number): void;
  /** Obeys the umask: set it to 0 first. */
  mknodat(
    dirFd: DirFd,
    path: PathArg,
    mode: number,
    device: { major: number; minor: number },
  ): void;
  fchownat(dirFd: DirFd, path: PathArg, uid: number, gid: number, flags: number): void;
  fchmodat(dirFd: DirFd, path: PathArg, mode: number): void;
  /** Does not follow a symlink at the end of the path. */
  utimensat(dirFd: DirFd, path: PathArg, atime: TimeSpec, mtime: TimeSpec): void;
  futimens(fd: number, atime: TimeSpec, mtime: TimeSpec): void;
  /** Undefined when the file has no such attribute. */
  fgetxattr(fd: number, name: string): Uint8Array | undefined;
  /** None of the xattr calls follows a symlink at the end of the path. */
  lsetxattr(path: PathArg, name: string, value: Uint8Array): void;
  fsetxattr(fd: number, name: string, value: Uint8Array): void;
  /** Undefined when the file has no such attribute. */
  lgetxattr(path: PathArg, name: string): Uint8Array | undefined;
  llistxattr(path: PathArg): string[];
  lremovexattr(path: PathArg, name: string): void;
  flock(fd: number, operation: number): void;
  /** An ioctl whose argument is a buffer that the kernel reads and may write. Returns its result. */
  ioctl(fd: number, request: number, argument: Uint8Array | number): number;
  /** Quotas of the filesystem of a descriptor (Linux 5.14), or of a block device by its path. */
  quotactlFd(fd: number, command: number, id: number, argument: Uint8Array): void;
  quotactl(command: number, device: string, id: number, argument: Uint8Array): void;
  /** Reflinks `from` into `to` (FICLONE). */
  clone(toFd: number, fromFd: number): void;
  /** Returns the bytes copied. */
  copyFileRange(fromFd: number, toFd: number, bytes: number): number;
  /** lseek(2): returns the new offset; undefined behind the last data (ENXIO). */
  lseek(fd: number, offset: number, whence: number): number | undefined;

  // --- page cache and durability ---
  fadvise(fd: number, offset: number, bytes: number, advice: number): void;
  /** Pages of a whole file that are in the page cache (cachestat, Linux 6.5); undefined on others. */
  cachedPages(fd: number): number | undefined;
  syncFileRange(fd: number, offset: number, bytes: number, flags: number): void;
  /** syncfs on a thread of the pool: it waits for the disk. Keep `fd` open meanwhile. */
  syncfsAsync(fd: number): Promise<void>;
  /**
   * Makes this process's table of descriptors hold `count` at least, on a thread of the pool: each
   * time that a table with threads grows, the kernel waits 10 ms. `fd` is any open one. Resolves also
   * where so many are not allowed (RLIMIT_NOFILE).
   */
  roomForDescriptors(fd: number, count: number): Promise<void>;
  fallocate(fd: number, mode: number, offset: number, bytes: number): void;
  madvise(address: bigint, bytes: number, advice: number): void;
  /** Fills a byte for each page of a map: odd when it is in memory. */
  mincore(address: bigint, bytes: number, pages: Uint8Array): void;

  // --- sockets ---
  socket(domain: number, type: number, protocol: number): number;
  /** `address` is a whole struct sockaddr. */
  bind(fd: number, address: Uint8Array): void;
  connect(fd: number, address: Uint8Array): void;
  listen(fd: number, backlog: number): void;
  /** The struct sockaddr that the socket is bound to; `bytes` is room for it. */
  getsockname(fd: number, bytes: number): Buffer;
  setsockopt(fd: number, level: number, name: number, value: Uint8Array | number): void;
  getsockopt(fd: number, level: number, name: number, bytes: number): Uint8Array;
  send(fd: number, bytes: Uint8Array, flags: number): number;
  /** Returns the bytes received into `into`; with MSG_TRUNC the real length of the message. */
  recv(fd: number, into: Uint8Array, flags: number): number;
  /** Sends bytes with descriptors (SCM_RIGHTS). */
  sendFds(fd: number, bytes: Uint8Array, fds: readonly number[]): void;
  /** Receives bytes and up to `fdsMax` descriptors, close-on-exec. */
  recvFds(fd: number, into: Uint8Array, fdsMax: number): { bytes: number; fds: number[] };
  /** Ends of a socketpair(AF_UNIX, type | SOCK_CLOEXEC). */
  socketpair(type: number): [number, number];
};
