import { diskCalls } from './ffi-disk.ts';
import { fileCalls } from './ffi-files.ts';
import { Libc } from './ffi-libc.ts';
import { mountCalls } from './ffi-mounts.ts';
import { processCalls } from './ffi-processes.ts';
import { socketCalls } from './ffi-sockets.ts';
import type { Syscalls } from './syscalls.ts';

/** The real syscalls of this process. Loads the addon. */
export function openSyscalls(): Syscalls {
  const libc = new Libc();
  return {
    ...mountCalls(libc),
    ...processCalls(libc),
    ...fileCalls(libc),
    ...diskCalls(libc),
    ...socketCalls(libc),
  };
}
