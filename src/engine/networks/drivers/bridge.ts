import { readFileSync } from 'node:fs';
import { conflict, errnoOf } from '../../../base/errors.ts';
import type { Cidr } from '../../../base/ip.ts';
import { formatMac, isUnspecified } from '../../../base/ip.ts';
import type { Link } from '../../../formats/netlink-route.ts';
import { addAddress, newLink, setBridgePort, setLink } from '../../../formats/netlink-route.ts';
import { flagOption, mtuOption, OPTIONS } from '../../../policy/network-options.ts';
import type { Endpoint, Network } from '../network.ts';
import { type Driver, type DriverContext, setNetSysctl } from './driver.ts';

/** True when br_netfilter has bridged packets seen by the IP rules: Docker and Kubernetes turn it on. */
function bridgeFilterIsOn(): boolean {
  try {
    return readFileSync('/proc/sys/net/bridge/bridge-nf-call-iptables', 'utf8').startsWith('1');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}

/**
 * Bridge networks: a bridge on the host that has the gateway's address, and for each container a
 * veth pair, one end a port of the bridge. What leaves is masqueraded by the firewall's rules.
 */
export function bridgeDriver(context: DriverContext): Driver {
  const { route } = context;

  const mtuOf = (network: Network): number =>
    mtuOption(network.document.options) || context.defaultMtu();

  const find = (name: string): Link | undefined => {
    const link = route.link(name);
    if (link !== undefined && link.kind !== 'bridge') {
      throw conflict(
        `cannot use ${name} for a bridge network: there is a network device of this name that is no bridge`,
      );
    }
    return link;
  };

  const make = (network: Network): Link => {
    const name = network.linkName;
    // A fixed address: a bridge without one takes its lowest port's, which comes and goes.
    const mac = formatMac(Buffer.from([0x02, 0x42, ...context.random.bytes(4)]));
    route.run(newLink({ kind: 'bridge' }, { name, mac, mtu: mtuOf(network), up: true }));
    const link = find(name);
    if (link === undefined) throw conflict(`cannot make the bridge ${name}: it went away at once`);
    return link;
  };

  const configure = (network: Network, link: Link): void => {
    const name = network.linkName;
    // Published ports answer on 127.0.0.1 too; a packet from there leaves through the bridge.
    setNetSysctl(`ipv4/conf/${name}/route_localnet`, 1);
    setNetSysctl(`ipv6/conf/${name}/accept_ra`, 0);
    if (network.document.enableIPv6) setNetSysctl(`ipv6/conf/${name}/disable_ipv6`, 0);
    const inhibit4 = flagOption(network.document.options, OPTIONS.inhibitIpv4, false);
    const addresses = network.subnets.flatMap(({ subnet, gateway }): Cidr[] => {
      if (gateway === undefined || isUnspecified(gateway)) return [];
      if (gateway.family === 4 && inhibit4) return [];
      return [{ address: gateway, prefix: subnet.prefix }];
    });
    route.run(
      ...addresses.map((cidr) => addAddress(link.index, cidr)),
      setLink(link.index, { up: true }),
    );
  };

  /**
   * Settings of a port that differ from the kernel's. Ports of a network whose containers must not
   * talk are isolated from each other. With br_netfilter it is the firewall's rules that keep them
   * apart: they see bridged packets then, and have to let published ports through; and a packet
   * that address translation sends back to its own container takes a hairpin.
   */
  const configurePort = (network: Network, hostLink: string): void => {
    const hairpin = bridgeFilterIsOn();
    const isolated = !hairpin && !flagOption(network.document.options, OPTIONS.icc, true);
    if (!isolated && !hairpin) return;
    const port = route.link(hostLink);
    if (port !== undefined) route.run(setBridgePort(port.index, { isolated, hairpin }));
  };

  /** Makes a link that is there a port of the bridge again. */
  const attach = (network: Network, hostLink: string, master: number): void => {
    const port = route.link(hostLink);
    if (port === undefined) return;
    if (port.master !== master) route.run(setLink(port.index, { master, up: true }));
    configurePort(network, hostLink);
  };

  const drop = async (network: Network): Promise<void> => {
    if (!network.document.linkIsForeign) await route.deleteLink(network.linkName);
  };

  return {
    hasLinks: true,
    usesFirewall: true,
    defaultRoute: (network) => (network.document.internal ? 'none' : 'gateway'),

    create: (network) => {
      const link = find(network.linkName);
      configure(network, link ?? make(network));
    },

    restore: (network, endpoints) => {
      const link = find(network.linkName) ?? make(network);
      configure(network, link);
      for (const { hostLink } of endpoints) attach(network, hostLink, link.index);
    },

    remove: drop,

    join: (network, endpoint: Endpoint, { fd }) => {
      const bridge = find(network.linkName) ?? make(network);
      const { mtu } = bridge;
      route.run(
        newLink(
          { kind: 'veth', peer: { name: endpoint.link, mac: endpoint.mac, mtu, netnsFd: fd } },
          { name: endpoint.hostLink, mtu, master: bridge.index, up: true },
        ),
      );
      configurePort(network, endpoint.hostLink);
    },

    leave: async (_network, endpoint) => {
      await route.deleteLink(endpoint.hostLink);
    },
  };
}
