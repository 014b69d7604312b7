import type { Libc } from './ffi-libc.ts';
import type { Syscalls } from './syscalls.ts';

/** Numbers are the same on all architectures from 403 on; libc does not wrap these everywhere. */
const NR = {
  pidfdSendSignal: 424,
  pidfdOpen: 434,
} as const;

/** Namespaces and processes. */
export function processCalls(libc: Libc) {
  const call = libc.call.bind(libc);
  return {
    setns: (fd, type) => {
      call('setns', undefined, 'int setns(int fd, int type)', fd, type);
    },
    unshare: (flags) => {
      call('unshare', undefined, 'int unshare(int flags)', flags);
    },
    pidfdOpen: (pid) =>
      call(
        'pidfd_open',
        String(pid),
        'long syscall(long number, long a, long b)',
        NR.pidfdOpen,
        pid,
        0,
      ),
    pidfdSendSignal: (pidFd, signal) => {
      call(
        'pidfd_send_signal',
        undefined,
        'long syscall(long number, long a, long b, const void *c, long d)',
        NR.pidfdSendSignal,
        pidFd,
        signal,
        null,
        0,
      );
    },
    prctl: (option, arg2) =>
      call(
        'prctl',
        undefined,
        'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
        option,
        arg2,
        0,
        0,
        0,
      ),
    setfsuid: (uid) => {
      call('setfsuid', undefined, 'int setfsuid(unsigned int uid)', uid);
    },
    setfsgid: (gid) => {
      call('setfsgid', undefined, 'int setfsgid(unsigned int gid)', gid);
    },
    prlimit: (pid, resource, limit) => {
      const bytes = Buffer.alloc(16);
      bytes.writeBigUInt64LE(BigInt.asUintN(64, limit.soft), 0);
      bytes.writeBigUInt64LE(BigInt.asUintN(64, limit.hard), 8);
      call(
        'prlimit',
        String(pid),
        'int prlimit64(int pid, int resource, const void *limit, void *old)',
        pid,
        resource,
        bytes,
        null,
      );
    },
  } satisfies Partial<Syscalls>;
}
