import { closeSync } from 'node:fs';
import { errnoOf, messageOf } from '../../base/errors.ts';
import { formatIp, type Ip, isUnspecified, parseIp } from '../../base/ip.ts';
import type { Logger } from '../../base/log.ts';
import type { DnsPorts } from '../../formats/nft.ts';
import { boundSocket, localPort4 } from '../../kernel/ip-sockets.ts';
import { redirectDns } from '../../kernel/nft.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import { EMBEDDED_DNS } from '../../policy/resolv-conf.ts';
import type { NetworkContext } from './context.ts';
import { DnsServer } from './dns/dns-server.ts';
import type { Forwarder, Upstream } from './dns/forwarder.ts';
import type { HostResolver } from './dns/host-resolver.ts';
import { lookUp } from './dns/zone.ts';
import type { LiveSandbox } from './sandbox.ts';
import { dnsWishes } from './sandbox-files.ts';

/** The embedded DNS server of a sandbox: its sockets are made in the container's namespace. */

const ADDRESS: Ip = { family: 4, value: 0x7f00000bn };
const PORT = 53;
/** Table in the container's namespace. */
const TABLE = 'coracle-dns';
const BACKLOG = 16;

export type DnsSockets = {
  readonly udpFd: number;
  readonly tcpFd: number;
  readonly ports: DnsPorts;
};

function openSockets(sys: Syscalls, ports: DnsPorts): DnsSockets {
  const options = { ip: ADDRESS, nonBlocking: true, backlog: BACKLOG };
  const udpFd = boundSocket(sys, { ...options, protocol: 'udp', port: ports.udp });
  try {
    const tcpFd = boundSocket(sys, { ...options, protocol: 'tcp', port: ports.tcp });
    return { udpFd, tcpFd, ports: { udp: localPort4(sys, udpFd), tcp: localPort4(sys, tcpFd) } };
  } catch (error) {
    closeSync(udpFd);
    throw error;
  }
}

export function closeDnsSockets({ udpFd, tcpFd }: DnsSockets): void {
  closeSync(udpFd);
  closeSync(tcpFd);
}

/**
 * Sockets for a new server, in the namespace of the calling thread, where the loopback must be up.
 * Port 53 leads to ports that the kernel chose, so that a server of the container's own can have
 * it. A kernel without nftables has no such redirection: there the server takes port 53 itself.
 */
export function makeDnsSockets(sys: Syscalls, log: Logger): DnsSockets {
  const sockets = openSockets(sys, { udp: 0, tcp: 0 });
  try {
    redirectDns(sys, TABLE, ADDRESS, sockets.ports);
    return sockets;
  } catch (error) {
    closeDnsSockets(sockets);
    log.debug('the embedded DNS server takes port 53 itself', { cause: messageOf(error) });
    return openSockets(sys, { udp: PORT, tcp: PORT });
  }
}

/** Sockets of a server that an earlier daemon had: on the same ports, which the rules know. */
export function remakeDnsSockets(sys: Syscalls, ports: DnsPorts): DnsSockets {
  return openSockets(sys, ports);
}

/** Whom a container's questions for the world outside go to. */
function upstreamsOf(
  sandbox: LiveSandbox,
  context: NetworkContext,
  host: HostResolver,
): Upstream[] {
  // A container of internal networks only reaches nothing, not even by way of names.
  const leads = sandbox.joined.some(({ network }) => !network.document.internal);
  if (!leads) return [];
  const { dns } = dnsWishes(sandbox.client, context.config());
  const servers = dns.length > 0 ? dns : host.own().nameservers;
  return servers.flatMap((server) => {
    const [text = '', zone] = server.split('%', 2);
    const ip = parseIp(text);
    if (ip === undefined || isUnspecified(ip) || text === EMBEDDED_DNS) return [];
    // As the kernel writes a reply's sender, which has to be the one that was asked.
    const address = zone === undefined ? formatIp(ip) : `${formatIp(ip)}%${zone}`;
    return [{ address, port: PORT }];
  });
}

/** Serves on the sockets, which it takes over. What the sandbox has joined is read at each question. */
export function serveDns(
  sandbox: LiveSandbox,
  sockets: DnsSockets,
  parts: { context: NetworkContext; forwarder: Forwarder; host: HostResolver },
): DnsServer {
  const { context, forwarder, host } = parts;
  let turn = 0;
  return new DnsServer({
    ...sockets,
    forwarder,
    zone: {
      lookUp: (query) => {
        turn += 1;
        return lookUp(
          sandbox.joined.filter(({ network }) => network.hasDns),
          query,
          turn,
        );
      },
      upstreams: () => upstreamsOf(sandbox, context, host),
    },
    onError: (error) =>
      context.log.error('the embedded DNS server failed', {
        container: sandbox.client.id,
        errno: errnoOf(error),
        error: error.message,
      }),
  });
}
