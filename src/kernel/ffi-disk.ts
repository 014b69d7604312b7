import type { Libc } from './ffi-libc.ts';
import { syscallError } from './syscall-error.ts';
import type { Syscalls } from './syscalls.ts';

/** Numbers are the same on all architectures from 403 on; libc does not wrap these everywhere. */
const NR = {
  cachestat: 451,
} as const;

/** The page cache, and what is on the disk. */
export function diskCalls(libc: Libc) {
  const { koffi } = libc;
  const call = libc.call.bind(libc);
  return {
    cachedPages: (fd) => {
      const range = Buffer.alloc(16); // from 0, 0 bytes: to the end
      const stat = Buffer.alloc(40);
      const result = libc.get(
        'long syscall(long number, unsigned int fd, void *range, void *stat, unsigned int flags)',
      )(NR.cachestat, fd, range, stat, 0);
      return Number(result) === 0 ? Number(stat.readBigUInt64LE(0)) : undefined;
    },
    fadvise: (fd, offset, bytes, advice) => {
      // posix_fadvise returns its errno instead of setting it.
      const errno = Number(
        libc.get('int posix_fadvise64(int fd, int64_t offset, int64_t bytes, int advice)')(
          fd,
          offset,
          bytes,
          advice,
        ),
      );
      if (errno !== 0) throw syscallError('fadvise', errno);
    },
    syncFileRange: (fd, offset, bytes, flags) => {
      call(
        'sync_file_range',
        undefined,
        'int sync_file_range(int fd, int64_t offset, int64_t bytes, unsigned int flags)',
        fd,
        offset,
        bytes,
        flags,
      );
    },
    syncfsAsync: (fd) => {
      const { promise, resolve, reject } = Promise.withResolvers<void>();
      // The call and the reading of its errno happen on one thread of the pool.
      const done = (error: unknown, result: number): void => {
        if (error !== null && error !== undefined) reject(error);
        else if (result === -1) reject(syscallError('syncfs', koffi.errno()));
        else resolve();
      };
      libc.getAsync('int syncfs(int fd)')(fd, done);
      return promise;
    },
    fallocate: (fd, mode, offset, bytes) => {
      call(
        'fallocate',
        undefined,
        'int fallocate64(int fd, int mode, int64_t offset, int64_t bytes)',
        fd,
        mode,
        offset,
        bytes,
      );
    },
    mincore: (address, bytes, pages) => {
      const prototype = 'int mincore(uintptr_t address, unsigned long bytes, void *pages)';
      call('mincore', undefined, prototype, address, bytes, pages);
    },
    madvise: (address, bytes, advice) => {
      call(
        'madvise',
        undefined,
        'int madvise(uintptr_t address, unsigned long bytes, int advice)',
        address,
        bytes,
        advice,
      );
    },
  } satisfies Partial<Syscalls>;
}
