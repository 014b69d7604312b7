/**
 * Numbers of the Linux ABI that the kernel room passes to syscalls. The same on every architecture
 * this project builds for (x86-64, arm64, arm, riscv64), except O_DIRECTORY, O_NOFOLLOW and the
 * like, which come from `node:fs` constants. Source: linux/uapi headers.
 */

export const MS = {
  RDONLY: 1,
  NOSUID: 2,
  NODEV: 4,
  NOEXEC: 8,
  SYNCHRONOUS: 16,
  REMOUNT: 32,
  MANDLOCK: 64,
  DIRSYNC: 128,
  NOATIME: 1024,
  NODIRATIME: 2048,
  BIND: 4096,
  MOVE: 8192,
  REC: 16384,
  UNBINDABLE: 1 << 17,
  PRIVATE: 1 << 18,
  SLAVE: 1 << 19,
  SHARED: 1 << 20,
  RELATIME: 1 << 21,
  STRICTATIME: 1 << 24,
} as const;

export const MNT = { FORCE: 1, DETACH: 2, EXPIRE: 4 } as const;
export const UMOUNT_NOFOLLOW = 8;

export const MOUNT_ATTR = {
  RDONLY: 0x1,
  NOSUID: 0x2,
  NODEV: 0x4,
  NOEXEC: 0x8,
  NOATIME: 0x10,
  STRICTATIME: 0x20,
  IDMAP: 0x00100000,
} as const;

export const OPEN_TREE_CLONE = 1;
export const AT = {
  SYMLINK_NOFOLLOW: 0x100,
  REMOVEDIR: 0x200,
  SYMLINK_FOLLOW: 0x400,
  EMPTY_PATH: 0x1000,
  RECURSIVE: 0x8000,
} as const;

export const RESOLVE = {
  NO_XDEV: 0x01,
  NO_MAGICLINKS: 0x02,
  NO_SYMLINKS: 0x04,
  BENEATH: 0x08,
  IN_ROOT: 0x10,
} as const;

export const O_PATH = 0o10000000;
export const O_CLOEXEC = 0o2000000;
export const F_DUPFD_CLOEXEC = 1030;
export const O_TMPFILE = 0o20000000;
/** Reading leaves the access time as it is: nothing is written for it. */
export const O_NOATIME = 0o1000000;

export const RENAME = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;

export const CLONE = {
  FS: 0x00000200,
  NEWNS: 0x00020000,
  NEWCGROUP: 0x02000000,
  NEWUTS: 0x04000000,
  NEWIPC: 0x08000000,
  NEWUSER: 0x10000000,
  NEWPID: 0x20000000,
  NEWNET: 0x40000000,
} as const;

export const LOCK = { SH: 1, EX: 2, NB: 4, UN: 8 } as const;

export const FADV = {
  NORMAL: 0,
  RANDOM: 1,
  SEQUENTIAL: 2,
  WILLNEED: 3,
  DONTNEED: 4,
  NOREUSE: 5,
} as const;
export const SYNC_FILE_RANGE = { WAIT_BEFORE: 1, WRITE: 2, WAIT_AFTER: 4 } as const;
export const MADV_DONTNEED = 4;
export const MADV_PAGEOUT = 21;
export const FALLOC_FL = { KEEP_SIZE: 1, PUNCH_HOLE: 2 } as const;

export const AF = { UNIX: 1, INET: 2, INET6: 10, NETLINK: 16, PACKET: 17 } as const;
export const SOCK = {
  STREAM: 1,
  DGRAM: 2,
  RAW: 3,
  SEQPACKET: 5,
  CLOEXEC: 0o2000000,
  NONBLOCK: 0o4000,
} as const;
export const SOL_SOCKET = 1;
export const SO = {
  REUSEADDR: 2,
  SNDBUF: 7,
  RCVBUF: 8,
  PEERCRED: 17,
  RCVTIMEO: 20,
  SNDTIMEO: 21,
} as const;
export const MSG = {
  PEEK: 2,
  DONTWAIT: 0x40,
  TRUNC: 0x20,
  NOSIGNAL: 0x4000,
  CMSG_CLOEXEC: 0x40000000,
} as const;

export const PR = {
  SET_PDEATHSIG: 1,
  GET_SECUREBITS: 27,
  SET_SECUREBITS: 28,
  SET_CHILD_SUBREAPER: 36,
} as const;
export const SECBIT_NO_SETUID_FIXUP = 4;

/** File types in st_mode. */
export const S = {
  IFMT: 0o170000,
  IFSOCK: 0o140000,
  IFLNK: 0o120000,
  IFREG: 0o100000,
  IFBLK: 0o060000,
  IFDIR: 0o040000,
  IFCHR: 0o020000,
  IFIFO: 0o010000,
} as const;

/** _IOR('X', 31, struct fsxattr) and _IOW('X', 32, struct fsxattr). */
export const FS_IOC_FSGETXATTR = 0x801c581f;
export const FS_IOC_FSSETXATTR = 0x401c5820;
/** ioctl requests. FICLONE = _IOW(0x94, 9, int). */
export const FICLONE = 0x40049409;
export const TIOCSWINSZ = 0x5414;

/** `whence` of lseek(2). */
export const SEEK = { SET: 0, DATA: 3, HOLE: 4 } as const;
