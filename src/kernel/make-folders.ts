import { mkdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { EngineError, errnoOf, messageOf } from '../base/errors.ts';

/**
 * Makes a folder whose name is the user's, and those above it. Node's own `recursive` never ends
 * where the kernel makes no folders in one that is there, as below /proc.
 * @throws internal in the words of Go (`mkdir /proc/x: no such file or directory`)
 */
export function makeFolders(folder: string, mode = 0o777): void {
  try {
    mkdirSync(folder, { mode });
    return;
  } catch (error) {
    if (statSync(folder, { throwIfNoEntry: false })?.isDirectory() === true) return;
    const parent = path.dirname(folder);
    if (errnoOf(error) !== 'ENOENT' || parent === folder) throw told(folder, error);
    makeFolders(parent, mode);
  }
  try {
    mkdirSync(folder, { mode });
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw told(folder, error);
  }
}

/** Node says `ENOENT: no such file or directory, mkdir '/x'`. */
function told(folder: string, cause: unknown): EngineError {
  const errno = errnoOf(cause) ?? '';
  const reason =
    errno === 'EEXIST'
      ? 'not a directory'
      : (/^\w+: (.*), mkdir /.exec(messageOf(cause))?.[1] ?? messageOf(cause));
  return new EngineError('internal', `mkdir ${folder}: ${reason}`, {
    cause,
    detail: { errno, syscall: 'mkdir', path: folder },
  });
}
