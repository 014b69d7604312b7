import { assert } from '../base/errors.ts';
import { SOCK, SOL_SOCKET } from './constants.ts';
import type { Libc } from './ffi-libc.ts';
import type { Koffi } from './native-library.ts';
import type { Syscalls } from './syscalls.ts';

const SCM_RIGHTS = 1;

/** Buffers of one msghdr with one iovec and room for `fdsMax` descriptors; keep them referenced during the call. */
function messageHeader(
  koffi: Koffi,
  data: Uint8Array,
  control: Buffer,
): { header: Buffer; iovec: Buffer } {
  const wide = process.arch !== 'arm' && process.arch !== 'ia32';
  const word = wide ? 8 : 4;
  const put = (to: Buffer, value: bigint, at: number): void => {
    if (wide) to.writeBigUInt64LE(value, at);
    else to.writeUInt32LE(Number(value), at);
  };
  const iovec = Buffer.alloc(2 * word);
  put(iovec, koffi.address(data), 0);
  put(iovec, BigInt(data.length), word);
  // msg_name, msg_namelen (padded to a word), msg_iov, msg_iovlen, msg_control, msg_controllen, msg_flags
  const header = Buffer.alloc(7 * word);
  put(header, koffi.address(iovec), 2 * word);
  put(header, 1n, 3 * word);
  put(header, koffi.address(control), 4 * word);
  put(header, BigInt(control.length), 5 * word);
  return { header, iovec };
}

function controlBytes(fds: number): { header: number; space: number; length: number } {
  const word = process.arch !== 'arm' && process.arch !== 'ia32' ? 8 : 4;
  const header = word + 8;
  const length = header + fds * 4;
  return { header, length, space: Math.ceil(length / word) * word };
}

/** Sockets, and descriptors that travel through them. */
export function socketCalls(libc: Libc) {
  const { koffi } = libc;
  const call = libc.call.bind(libc);
  return {
    socket: (domain, type, protocol) =>
      call(
        'socket',
        undefined,
        'int socket(int domain, int type, int protocol)',
        domain,
        type,
        protocol,
      ),
    bind: (fd, address) => {
      call(
        'bind',
        undefined,
        'int bind(int fd, const void *address, unsigned int bytes)',
        fd,
        address,
        address.length,
      );
    },
    connect: (fd, address) => {
      call(
        'connect',
        undefined,
        'int connect(int fd, const void *address, unsigned int bytes)',
        fd,
        address,
        address.length,
      );
    },
    listen: (fd, backlog) => {
      call('listen', undefined, 'int listen(int fd, int backlog)', fd, backlog);
    },
    getsockname: (fd, bytes) => {
      const address = Buffer.alloc(bytes);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes);
      call(
        'getsockname',
        undefined,
        'int getsockname(int fd, void *address, void *bytes)',
        fd,
        address,
        length,
      );
      return address;
    },
    setsockopt: (fd, level, name, value) => {
      let bytes = value;
      if (typeof bytes === 'number') {
        const word = Buffer.alloc(4);
        word.writeInt32LE(bytes);
        bytes = word;
      }
      call(
        'setsockopt',
        undefined,
        'int setsockopt(int fd, int level, int name, const void *value, unsigned int bytes)',
        fd,
        level,
        name,
        bytes,
        bytes.length,
      );
    },
    getsockopt: (fd, level, name, bytes) => {
      const value = Buffer.alloc(bytes);
      const length = Buffer.alloc(4);
      length.writeUInt32LE(bytes);
      call(
        'getsockopt',
        undefined,
        'int getsockopt(int fd, int level, int name, void *value, void *bytes)',
        fd,
        level,
        name,
        value,
        length,
      );
      return value.subarray(0, length.readUInt32LE());
    },
    send: (fd, bytes, flags) =>
      call(
        'send',
        undefined,
        'long send(int fd, const void *bytes, unsigned long length, int flags)',
        fd,
        bytes,
        bytes.length,
        flags,
      ),
    recv: (fd, into, flags) =>
      call(
        'recv',
        undefined,
        'long recv(int fd, void *bytes, unsigned long length, int flags)',
        fd,
        into,
        into.length,
        flags,
      ),
    sendFds: (fd, bytes, fds) => {
      assert(bytes.length > 0, 'descriptors travel with at least one byte');
      const { header: at, space, length } = controlBytes(fds.length);
      const control = Buffer.alloc(space);
      control.writeUInt32LE(length, 0);
      control.writeInt32LE(SOL_SOCKET, at - 8);
      control.writeInt32LE(SCM_RIGHTS, at - 4);
      for (const [i, each] of fds.entries()) control.writeInt32LE(each, at + 4 * i);
      const { header, iovec } = messageHeader(koffi, bytes, control);
      call(
        'sendmsg',
        undefined,
        'long sendmsg(int fd, const void *header, int flags)',
        fd,
        header,
        0x4000,
      );
      assert(iovec.length > 0, 'the iovec lives until here');
    },
    recvFds: (fd, into, fdsMax) => {
      const { header: at, space } = controlBytes(fdsMax);
      const control = Buffer.alloc(space);
      const { header, iovec } = messageHeader(koffi, into, control);
      const bytes = call(
        'recvmsg',
        undefined,
        'long recvmsg(int fd, void *header, int flags)',
        fd,
        header,
        0x40000000,
      );
      assert(iovec.length > 0, 'the iovec lives until here');
      const fds: number[] = [];
      const length = control.readUInt32LE(0);
      if (length > at && control.readInt32LE(at - 4) === SCM_RIGHTS) {
        for (let offset = at; offset + 4 <= length; offset += 4)
          fds.push(control.readInt32LE(offset));
      }
      return { bytes, fds };
    },
    socketpair: (type) => {
      const pair = Buffer.alloc(8);
      call(
        'socketpair',
        undefined,
        'int socketpair(int domain, int type, int protocol, void *pair)',
        1,
        type | SOCK.CLOEXEC,
        0,
        pair,
      );
      return [pair.readInt32LE(0), pair.readInt32LE(4)];
    },
  } satisfies Partial<Syscalls>;
}
