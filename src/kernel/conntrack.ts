import { errnoOf } from '../base/errors.ts';
import { forgetConnection, getUdpTo, isUdpTo } from '../formats/conntrack.ts';
import { NETLINK, NetlinkSocket } from './netlink-socket.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * Forgets tracked UDP flows to a port of the host. A sender that never pauses keeps the flow that
 * was there before the port was published, or led elsewhere; address translation looks only at a
 * flow's first packet.
 */
export function forgetUdpFlows(sys: Syscalls, family: 4 | 6, port: number): void {
  using socket = new NetlinkSocket(sys, NETLINK.NETFILTER);
  const { type, payload } = getUdpTo(family, port);
  for (const message of socket.dump(type, payload)) {
    const request = isUdpTo(message, port) ? forgetConnection(message) : undefined;
    if (request === undefined) continue;
    try {
      socket.run(request);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error; // it ended meanwhile
    }
  }
}
