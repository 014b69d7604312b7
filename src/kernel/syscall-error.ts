import { EngineError } from '../base/errors.ts';
import { ERRNO } from './errno.ts';

/**
 * The error of a failed syscall: `internal`, detail `{ errno, syscall, path? }`. Who knows what it
 * means for a user (not found, in use, disk full) says so where the errno is looked at with
 * `errnoOf`.
 */
export function syscallError(syscall: string, errno: number, path?: string): EngineError {
  const [name, text] = ERRNO[errno] ?? [`E${errno}`, `error ${errno}`];
  const subject = path === undefined ? '' : ` ${path}`;
  return new EngineError('internal', `${syscall}${subject}: ${text}`, {
    detail: { errno: name, syscall, ...(path === undefined ? {} : { path }) },
  });
}
