import {
  closeSync,
  constants,
  mkdtempSync,
  openSync,
  rmdirSync,
  statSync,
  unlinkSync,
} from 'node:fs';
import path from 'node:path';
import { splitDevice } from '../base/device-number.ts';
import { errnoOf } from '../base/errors.ts';
import { FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR, S } from './constants.ts';
import { CWD, type Syscalls } from './syscalls.ts';

/**
 * Project quotas of xfs (mounted with `pquota`) and ext4 (`prjquota`): a directory tree with a
 * number, and a limit for what has it. Files that are made in the tree inherit the number.
 * Source: quotactl(2), ioctl_xfs_fsgetxattr(2).
 */

/** struct fsxattr: xflags, extsize, nextents, projid, cowextsize, padding. */
const FSXATTR_BYTES = 28;
const FSXATTR_PROJECT = 12;
const XFLAG_PROJECT_INHERIT = 0x200;

/** struct fs_disk_quota of linux/dqblk_xfs.h. */
const DISK_QUOTA_BYTES = 112;
const DISK_QUOTA_VERSION = 1;
const FLAG_PROJECT = 2;
const FIELD_BLOCKS_SOFT = 4;
const FIELD_BLOCKS_HARD = 8;
const BLOCK_BYTES = 512;
/** QCMD(Q_XSETQLIM, PRJQUOTA). */
const SET_PROJECT_LIMIT = (0x5804 << 8) | 2;

/** The project of a folder; 0 for none. @throws ENOTTY or EOPNOTSUPP where the filesystem has none */
export function projectOf(sys: Syscalls, folder: string): number {
  return withFolder(folder, (fd) => readAttributes(sys, fd).readUInt32LE(FSXATTR_PROJECT));
}

/** Makes a folder, and what will be made in it, part of a project. */
export function setProject(sys: Syscalls, folder: string, project: number): void {
  withFolder(folder, (fd) => {
    const attributes = readAttributes(sys, fd);
    attributes.writeUInt32LE((attributes.readUInt32LE(0) | XFLAG_PROJECT_INHERIT) >>> 0, 0);
    attributes.writeUInt32LE(project, FSXATTR_PROJECT);
    sys.ioctl(fd, FS_IOC_FSSETXATTR, attributes);
  });
}

/**
 * Limits what a project may have on the filesystem of `folder`; 0 bytes take the limit away.
 * @throws a syscall error where quotas of projects are off (ESRCH, ENOSYS, EINVAL …)
 */
export function limitProject(
  sys: Syscalls,
  folder: string,
  limit: { readonly project: number; readonly bytes: number },
): void {
  const quota = Buffer.alloc(DISK_QUOTA_BYTES);
  const blocks = BigInt(Math.ceil(limit.bytes / BLOCK_BYTES));
  quota.writeInt8(DISK_QUOTA_VERSION, 0);
  quota.writeInt8(FLAG_PROJECT, 1);
  quota.writeUInt16LE(FIELD_BLOCKS_SOFT | FIELD_BLOCKS_HARD, 2);
  quota.writeUInt32LE(limit.project, 4);
  quota.writeBigUInt64LE(blocks, 8);
  quota.writeBigUInt64LE(blocks, 16);
  const { project } = limit;
  withFolder(folder, (fd) => {
    try {
      sys.quotactlFd(fd, SET_PROJECT_LIMIT, project, quota);
    } catch (error) {
      if (errnoOf(error) !== 'ENOSYS') throw error;
      // Before Linux 5.14 the filesystem is named by its block device.
      withDeviceNode(sys, folder, (device) =>
        sys.quotactl(SET_PROJECT_LIMIT, device, project, quota),
      );
    }
  });
}

function withFolder<T>(folder: string, body: (fd: number) => T): T {
  const fd = openSync(folder, constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW);
  try {
    return body(fd);
  } finally {
    closeSync(fd);
  }
}

function readAttributes(sys: Syscalls, fd: number): Buffer {
  const attributes = Buffer.alloc(FSXATTR_BYTES);
  sys.ioctl(fd, FS_IOC_FSGETXATTR, attributes);
  return attributes;
}

/** A node of the device that a folder lies on, in that folder, where devices work. */
function withDeviceNode(sys: Syscalls, folder: string, body: (device: string) => void): void {
  const { dev } = statSync(folder);
  const own = mkdtempSync(path.join(folder, '.device-'));
  const node = path.join(own, 'node');
  try {
    sys.mknodat(CWD, node, S.IFBLK | 0o600, splitDevice(dev));
    try {
      body(node);
    } finally {
      unlinkSync(node);
    }
  } finally {
    rmdirSync(own);
  }
}
