import { closeSync } from 'node:fs';
import { errnoOf } from '../base/errors.ts';
import type { Syscalls } from './syscalls.ts';

/** A process that is not this one's child, held so that its number cannot come to mean another. */
export type ProcessHandle = {
  readonly pid: number;
  /** False when the process is gone. @throws EPERM and the like */
  readonly signal: (signal: number) => boolean;
  /** Lets go of the descriptor; signals are refused from then on. */
  readonly close: () => void;
};

/** A handle of a process; of one that is gone, a handle that signals nothing. */
export function openProcess(sys: Syscalls, pid: number): ProcessHandle {
  let fd: number;
  try {
    fd = sys.pidfdOpen(pid);
  } catch (error) {
    if (errnoOf(error) !== 'ESRCH') throw error;
    return { pid, signal: () => false, close: () => undefined };
  }
  let isOpen = true;
  return {
    pid,
    signal: (signal) => {
      if (!isOpen) return false;
      try {
        sys.pidfdSendSignal(fd, signal);
        return true;
      } catch (error) {
        if (errnoOf(error) === 'ESRCH') return false;
        throw error;
      }
    },
    close: () => {
      if (!isOpen) return;
      isOpen = false;
      closeSync(fd);
    },
  };
}
