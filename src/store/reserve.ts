import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { errnoOf, messageOf } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import { FALLOC_FL } from '../kernel/constants.ts';
import type { Syscalls } from '../kernel/syscalls.ts';

/**
 * Room that nobody else's files can take. On a disk that is full to the last byte the way out is to
 * remove something, and a removal is a transaction, which needs room for its log; and a daemon that
 * starts there has to make that log. Nothing is written for it: blocks are set aside, in the log
 * itself while the database is open, else in a file beside it. Filesystems that cannot do that go
 * without.
 */

/** Several transactions, and the checkpoint that makes the log begin anew. */
const LOG_BYTES = 1 << 20;
/** That, and what SQLite has in memory that lies in a file. */
const RESERVE_BYTES = LOG_BYTES + (256 << 10);

/** For a database that is about to be opened: what is set aside becomes its log's. */
export function freeReserve(database: string): void {
  rmSync(`${database}-reserve`, { force: true });
}

type Context = { readonly sys: Syscalls; readonly log: Logger };

/** For a database that was opened. */
export function reserveLog(context: Context, database: string): void {
  setAside(context, `${database}-wal`, LOG_BYTES);
}

/** For a database that was closed, which took its log away. */
export function keepReserve(context: Context, database: string): void {
  setAside(context, `${database}-reserve`, RESERVE_BYTES);
}

/** Of filesystems that cannot do it, and of disks that are full already or have become read-only. */
const WITHOUT = new Set(['EOPNOTSUPP', 'ENOSYS', 'ENOSPC', 'EDQUOT', 'EROFS']);

/** Whatever comes of it keeps nobody from starting or stopping: it is only for bad times. */
function setAside({ sys, log }: Context, file: string, bytes: number): void {
  let fd: number | undefined;
  try {
    fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600);
    sys.fallocate(fd, FALLOC_FL.KEEP_SIZE, 0, bytes);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === undefined) throw error;
    if (!WITHOUT.has(errno)) {
      log.warn('cannot set room aside for the database', { file, error: messageOf(error) });
    }
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
