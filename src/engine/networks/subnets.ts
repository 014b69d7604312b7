import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { invalidArgument } from '../../base/errors.ts';
import {
  bitsOf,
  type Cidr,
  contains,
  type Family,
  firstIp,
  formatIp,
  networkOf,
  overlaps,
  parseCidr,
  parseIp,
  sameIp,
} from '../../base/ip.ts';
import {
  choosePool,
  defaultPools,
  type Pool,
  poolOverlap,
  type Subnet,
  uniqueLocalPool,
} from '../../policy/ipam.ts';
import {
  familiesOf,
  type NetworkWish,
  type SubnetWish,
  settleSubnet,
} from '../../policy/network-options.ts';
import { parseResolvConf } from '../../policy/resolv-conf.ts';
import type { EngineConfig } from '../../spec/engine-config.ts';
import type { NetworkContext } from './context.ts';
import type { Network } from './network.ts';

/** Which subnets networks get: as asked for, or from the pools, and never what is in use. */

/** Pools of the configuration, or dockerd's. IPv6 without a pool: a unique local one for this host. */
function poolsOf(config: EngineConfig, hostSeed: string): Pool[] {
  const configured = config.defaultAddressPools.flatMap(({ base, size }): Pool[] => {
    const cidr = parseCidr(base);
    return cidr === undefined ? [] : [{ base: cidr, size }];
  });
  const pools = configured.length > 0 ? configured : defaultPools();
  if (pools.some(({ base }) => base.address.family === 6)) return pools;
  const seed = createHash('sha256').update(hostSeed).digest();
  return [...pools, uniqueLocalPool(seed)];
}

/** Prefixes that the host itself uses: its addresses, its routes, its nameservers. */
function usedByHost({ route }: NetworkContext, exceptLink: string): Cidr[] {
  const own = route.link(exceptLink)?.index;
  const routes = route
    .routes()
    .flatMap(({ link, destination }) =>
      destination === undefined || link === own ? [] : [destination],
    );
  const addresses = route
    .addresses()
    .flatMap(({ index, cidr }) => (index === own ? [] : [networkOf(cidr)]));
  const servers = hostNameservers().flatMap((text): Cidr[] => {
    const address = parseIp(text);
    return address === undefined ? [] : [{ address, prefix: bitsOf(address.family) }];
  });
  return [...routes, ...addresses, ...servers];
}

function hostNameservers(): readonly string[] {
  try {
    return parseResolvConf(readFileSync('/etc/resolv.conf', 'utf8')).nameservers;
  } catch {
    return []; // a host without one has no nameservers to keep clear of
  }
}

/** Host-wide, so that networks made on different days get different unique local prefixes. */
function hostSeed(networks: readonly Network[]): string {
  return networks.find((each) => each.driver === 'null')?.id ?? '';
}

/**
 * Subnets for a new network. `except` is a network that gives its own back (the default bridge,
 * at start).
 * @throws forbidden on overlap, unavailable when the pools are used up: Docker's texts
 */
export function chooseSubnets(
  context: NetworkContext,
  wish: Pick<NetworkWish, 'enableIPv4' | 'enableIPv6' | 'driver' | 'ipam' | 'internal'>,
  networks: readonly Network[],
  linkName: string,
): Subnet[] {
  if (wish.ipam.driver === 'null') return [];
  const inUse = networks.flatMap((each) => each.subnets.map(({ subnet }) => subnet));
  const result: Subnet[] = [];
  for (const family of familiesOf(wish)) {
    const wishes = wishesOf(wish.ipam.subnets, family);
    for (const each of wishes) {
      const subnet =
        each.subnet ??
        choosePool(poolsOf(context.config(), hostSeed(networks)), family, [
          ...inUse,
          ...usedByHost(context, linkName),
        ]);
      if (inUse.some((other) => overlaps(other, subnet))) throw poolOverlap();
      inUse.push(subnet);
      result.push(settleSubnet(each, subnet, true));
    }
  }
  return result;
}

/** Wishes of one family; an IPv4 wish without a subnet counts for IPv4. None: the pools'. */
function wishesOf(wishes: readonly SubnetWish[], family: Family): readonly SubnetWish[] {
  const mine = wishes.filter(({ subnet }) => (subnet?.address.family ?? 4) === family);
  return mine.length > 0 ? mine : [{ auxiliary: {} }];
}

/**
 * The default bridge's subnets: `--bip`, else the address that the bridge has already, else what
 * it had last time, else the pools'. `--fixed-cidr`, `--default-gateway` and `--fixed-cidr-v6` on top.
 */
export function defaultBridgeSubnets(
  context: NetworkContext,
  before: Network | undefined,
  others: readonly Network[],
): Subnet[] {
  const config = context.config();
  const own = before?.subnets.find(({ subnet }) => subnet.address.family === 4);
  const found = config.bip === '' ? bridgeAddress(context, config.bridge) : parseCidr(config.bip);
  const range = parseCidr(config.fixedCidr);
  const defaultGateway = parseIp(config.defaultGateway);
  if (config.bip !== '' && found !== undefined && sameIp(found.address, firstIp(found))) {
    throw invalidArgument(`invalid --bip ${config.bip}: it is a network's address, not a host's`);
  }
  const wish = (subnet: Cidr | undefined): SubnetWish => ({
    ...(subnet === undefined ? {} : { subnet: networkOf(subnet) }),
    auxiliary: {},
  });
  const ipv6 = config.ipv6 ? parseCidr(config.fixedCidrV6) : undefined;
  const own6 = before?.subnets.find(({ subnet }) => subnet.address.family === 6);
  const subnets = chooseSubnets(
    context,
    {
      enableIPv4: true,
      enableIPv6: config.ipv6,
      driver: 'bridge',
      internal: false,
      ipam: {
        driver: 'default',
        options: null,
        subnets: [
          wish(found ?? own?.subnet ?? range),
          ...(config.ipv6 && (ipv6 ?? own6) !== undefined ? [wish(ipv6 ?? own6?.subnet)] : []),
        ],
      },
    },
    others,
    config.bridge,
  );
  return subnets.map((each): Subnet => {
    if (each.subnet.address.family === 6) return each;
    if (range !== undefined && !contains(each.subnet, range.address)) {
      throw invalidArgument(
        `invalid --fixed-cidr ${config.fixedCidr}: it is not within the bridge's subnet`,
      );
    }
    const auxiliary = defaultGateway === undefined ? {} : { DefaultGatewayIPv4: defaultGateway };
    return {
      subnet: each.subnet,
      auxiliary,
      ...(range === undefined ? {} : { range }),
      ...(found === undefined ? {} : { gateway: found.address }),
      ...(found === undefined && each.gateway !== undefined ? { gateway: each.gateway } : {}),
    };
  });
}

function bridgeAddress({ route }: NetworkContext, bridge: string): Cidr | undefined {
  const link = route.link(bridge);
  if (link === undefined) return undefined;
  return route
    .addresses()
    .find(({ index, cidr }) => index === link.index && cidr.address.family === 4)?.cidr;
}

/** Text of the address of the host that containers reach by `host-gateway`. */
export function hostGateway(config: EngineConfig, defaultBridge: Network | undefined): string {
  if (config.hostGatewayIp !== '') return config.hostGatewayIp.split(',')[0] ?? '';
  const gateway = defaultBridge?.gateway(4);
  return gateway === undefined ? '' : formatIp(gateway);
}
