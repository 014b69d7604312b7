import { type Ip, ipBytes } from '../base/ip.ts';
import { AF } from './constants.ts';

/** struct sockaddr_in or sockaddr_in6 (ip(7), ipv6(7)): family in host order, port in network order. */
export function socketAddress(ip: Ip, port: number): Buffer {
  const bytes = Buffer.alloc(ip.family === 4 ? 16 : 28);
  bytes.writeUInt16LE(ip.family === 4 ? AF.INET : AF.INET6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(ipBytes(ip), ip.family === 4 ? 4 : 8);
  return bytes;
}
