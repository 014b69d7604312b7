import { errnoOf } from '../base/errors.ts';
import { forgetConnection, getUdpFlows, udpPortOf } from '../formats/conntrack.ts';
import { NETLINK, NetlinkSocket } from './netlink-socket.ts';
import type { Syscalls } from './syscalls.ts';

/**
 * Forgets tracked UDP flows to ports of the host. A sender that never pauses keeps the flow that
 * was there before the port was published, or led elsewhere; address translation looks only at a
 * flow's first packet. The kernel goes through its whole table once for all ports (10 ms where it is
 * large), on another thread.
 */
export async function forgetUdpFlows(
  sys: Syscalls,
  family: 4 | 6,
  ports: ReadonlySet<number>,
): Promise<void> {
  using socket = new NetlinkSocket(sys, NETLINK.NETFILTER);
  const { type, payload } = getUdpFlows(family, ports.size === 1 ? [...ports][0] : undefined);
  for (const message of await socket.dumpInBackground(type, payload)) {
    const port = udpPortOf(message);
    if (port === undefined || !ports.has(port)) continue;
    const request = forgetConnection(message);
    if (request === undefined) continue;
    try {
      socket.run(request);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error; // it ended meanwhile
    }
  }
}
