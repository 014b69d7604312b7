import { closeSync, constants, openSync, rmSync } from 'node:fs';
import { errnoOf } from '../base/errors.ts';
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

/** For a database that was opened. */
export function reserveLog(sys: Syscalls, database: string): void {
  setAside(sys, `${database}-wal`, LOG_BYTES);
}

/** For a database that was closed, which took its log away. */
export function keepReserve(sys: Syscalls, database: string): void {
  setAside(sys, `${database}-reserve`, RESERVE_BYTES);
}

/** A disk that is full already, or has become read-only, keeps nobody from starting or stopping. */
const WITHOUT = new Set(['EOPNOTSUPP', 'ENOSYS', 'ENOSPC', 'EDQUOT', 'EROFS']);

function setAside(sys: Syscalls, file: string, bytes: number): void {
  let fd: number | undefined;
  try {
    fd = openSync(file, constants.O_RDWR | constants.O_CREAT, 0o600);
    sys.fallocate(fd, FALLOC_FL.KEEP_SIZE, 0, bytes);
  } catch (error) {
    if (!WITHOUT.has(errnoOf(error) ?? '')) throw error;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}
