import { closeSync } from 'node:fs';
import { errnoOf } from '../base/errors.ts';
import type { Ip } from '../base/ip.ts';
import { AF, SO, SOCK, SOL_SOCKET } from './constants.ts';
import { socketAddress } from './socket-address.ts';
import type { Syscalls } from './syscalls.ts';

const IPPROTO_IPV6 = 41;
const IPPROTO_SCTP = 132;
const IPV6_V6ONLY = 26;
const IP_FREEBIND = 15;
const IPPROTO_IP = 0;

/** A socket that is bound, and listens where its protocol does so. The caller closes it. */
export function boundSocket(
  sys: Syscalls,
  options: {
    readonly protocol: 'tcp' | 'udp' | 'sctp';
    readonly ip: Ip;
    /** 0: any free one. */
    readonly port: number;
    readonly nonBlocking?: boolean;
    readonly backlog?: number;
    /** Bind also to an address that no link has yet. */
    readonly freeBind?: boolean;
  },
): number {
  const { protocol, ip, port } = options;
  const domain = ip.family === 4 ? AF.INET : AF.INET6;
  const type = protocol === 'udp' ? SOCK.DGRAM : SOCK.STREAM;
  const flags = SOCK.CLOEXEC | (options.nonBlocking === true ? SOCK.NONBLOCK : 0);
  const fd = sys.socket(domain, type | flags, protocol === 'sctp' ? IPPROTO_SCTP : 0);
  try {
    if (ip.family === 6) sys.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, 1);
    if (options.freeBind === true) sys.setsockopt(fd, IPPROTO_IP, IP_FREEBIND, 1);
    // As every server: connections of an earlier one that linger in TIME_WAIT are no hindrance.
    if (protocol !== 'udp') sys.setsockopt(fd, SOL_SOCKET, SO.REUSEADDR, 1);
    sys.bind(fd, socketAddress(ip, port));
    if (protocol !== 'udp') sys.listen(fd, options.backlog ?? 1);
    return fd;
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/**
 * Holds a port of the host so that no other program takes it; nothing is ever read. Undefined where
 * the kernel has no such protocol (SCTP is a module): then nobody else can take it either.
 */
export function holdPort(
  sys: Syscalls,
  port: { protocol: 'tcp' | 'udp' | 'sctp'; ip: Ip; port: number },
): number | undefined {
  try {
    return boundSocket(sys, port);
  } catch (error) {
    const errno = errnoOf(error);
    if (port.protocol === 'sctp' && errno === 'EPROTONOSUPPORT') return undefined;
    throw error;
  }
}

/** Port that a bound IPv4 socket has. */
export function localPort4(sys: Syscalls, fd: number): number {
  return sys.getsockname(fd, 16).readUInt16BE(2);
}
