import { closeSync, openSync } from 'node:fs';
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

/** A namespace that is held: its path means it until it is disposed of. */
export type HeldNamespace = Disposable & { readonly path: string };

/**
 * A namespace of a process, for others to open by a path of this process's. A path of the process's
 * own would mean another's namespace, the host's perhaps, once its number is given anew. Undefined
 * when the process has ended.
 */
export function holdNamespace(
  holder: ProcessHandle,
  kind: 'pid' | 'ipc' | 'user',
): HeldNamespace | undefined {
  let fd: number;
  try {
    fd = openSync(`/proc/${holder.pid}/ns/${kind}`, 'r');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
  const held = {
    path: `/proc/${process.pid}/fd/${fd}`,
    [Symbol.dispose]: () => closeSync(fd),
  };
  // Asked after it was opened: as long as the process is there, the number was its own.
  if (holder.signal(0)) return held;
  held[Symbol.dispose]();
  return undefined;
}
