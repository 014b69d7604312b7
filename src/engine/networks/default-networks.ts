import { formatTimeNs } from '../../base/clock.ts';
import { newId } from '../../base/id.ts';
import { OPTIONS } from '../../policy/network-options.ts';
import type { NetworkContext } from './context.ts';
import { Network, type NetworkDocument, writeSubnet } from './network.ts';
import { defaultBridgeSubnets } from './subnets.ts';

/**
 * The networks that are always there: `none`, `host` and, unless it is turned off, `bridge`. Their
 * IDs and the bridge's subnet are kept; the rest follows the configuration. Nothing is written when
 * nothing changed.
 */
export function loadPredefined(context: NetworkContext, networks: Map<string, Network>): void {
  for (const [name, driver] of [
    ['none', 'null'],
    ['host', 'host'],
  ] as const) {
    const before = [...networks.values()].find((each) => each.name === name);
    keep(context, networks, before, name, { ...blank(driver), driver });
  }
  const before = [...networks.values()].find((each) => each.isDefaultBridge);
  const config = context.config();
  if (config.bridge === 'none') {
    if (before !== undefined) {
      networks.delete(before.id);
      context.store.networks.remove(before.id);
    }
    return;
  }
  const others = [...networks.values()].filter((each) => each !== before);
  const subnets = defaultBridgeSubnets(context, before, others);
  const exists = context.route.link(config.bridge) !== undefined;
  const isOurs = before !== undefined && !before.document.linkIsForeign;
  keep(context, networks, before, 'bridge', {
    ...blank('bridge'),
    enableIPv6: config.ipv6,
    subnets: subnets.map((each) => writeSubnet(each, false)),
    linkIsForeign: exists && !isOurs,
    options: {
      [OPTIONS.defaultBridge]: 'true',
      [OPTIONS.icc]: String(config.icc),
      [OPTIONS.masquerade]: String(config.ipMasq),
      [OPTIONS.bindingIpv4]: config.defaultBindIp,
      [OPTIONS.bridgeName]: config.bridge,
      ...(config.mtu === 0 ? {} : { [OPTIONS.mtu]: String(config.mtu) }),
    },
  });
}

function blank(driver: string): NetworkDocument {
  return {
    created: '',
    driver,
    enableIPv4: true,
    enableIPv6: false,
    internal: false,
    attachable: false,
    ipamDriver: 'default',
    ipamOptions: null,
    subnets: [],
    options: {},
    labels: {},
    linkIsForeign: false,
  };
}

function keep(
  { random, clock, store }: NetworkContext,
  networks: Map<string, Network>,
  before: Network | undefined,
  name: string,
  document: NetworkDocument,
): void {
  const id = before?.id ?? newId(random);
  const created = before?.document.created ?? formatTimeNs(clock.nowNs());
  const network = new Network(id, name, { ...document, created });
  networks.set(id, network);
  store.networks.put(id, name, JSON.stringify(network.document));
}
