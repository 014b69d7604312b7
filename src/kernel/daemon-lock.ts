import {
  closeSync,
  constants,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { conflict, errnoOf, invalidArgument, messageOf } from '../base/errors.ts';
import { LOCK } from './constants.ts';
import { makeFolders } from './make-folders.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * One daemon for each data root, exec root and PID file. The kernel drops the locks with the
 * process, so a crash leaves none behind, and a PID that was given to another process since does no
 * harm.
 */

/** Makes one of the daemon's two folders. @throws invalidArgument naming it */
export function makeRoot(folder: string, what: string): void {
  try {
    makeFolders(folder, 0o711);
  } catch (cause) {
    throw invalidArgument(`cannot use the ${what} ${folder}: ${messageOf(cause)}`, { cause });
  }
}

/** Takes the lock of a folder, which must exist. @throws conflict naming the daemon that has it */
export function lockFolder(sys: Syscalls, folder: string, what: string): Disposable {
  const file = path.join(folder, 'lock');
  return lockFile(sys, file, {
    taken: (pid) =>
      `cannot use the ${what} ${folder}: another daemon${pid} uses it. Stop that one, or give this one folders of its own with --data-root, --exec-root and --host`,
    keep: true,
  });
}

/**
 * Writes our PID into a file and holds it; it goes away when disposed.
 * @throws conflict; internal where its folder cannot be made
 */
export function lockPidFile(sys: Syscalls, file: string): Disposable {
  makeFolders(path.dirname(file), 0o755);
  return lockFile(sys, file, {
    taken: (pid) => `cannot use the PID file ${file}: the process${pid} is still running`,
    keep: false,
  });
}

function openLock(file: string): number {
  try {
    return openSync(file, constants.O_RDWR | constants.O_CREAT, 0o644);
  } catch (cause) {
    throw invalidArgument(`cannot write ${file}: ${messageOf(cause)}`, { cause });
  }
}

function lockFile(
  sys: Syscalls,
  file: string,
  { taken, keep }: { taken: (pid: string) => string; keep: boolean },
): Disposable {
  const fd = openLock(file);
  try {
    sys.flock(fd, LOCK.EX | LOCK.NB);
  } catch (cause) {
    closeSync(fd);
    if (errnoOf(cause) !== 'EAGAIN') throw cause;
    const pid = readFileSync(file, 'utf8').trim();
    throw conflict(taken(pid === '' ? '' : ` with PID ${pid}`), { cause });
  }
  ftruncateSync(fd, 0);
  writeSync(fd, `${process.pid}\n`, 0);
  return {
    [Symbol.dispose]: () => {
      if (!keep) rmSync(file, { force: true });
      closeSync(fd);
    },
  };
}
