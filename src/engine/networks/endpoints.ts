import {
  conflict,
  type EngineError,
  forbidden,
  invalidArgument,
  unavailable,
} from '../../base/errors.ts';
import { newId, type Random } from '../../base/id.ts';
import { formatIp, type Ip, isUnspecified, parseIp, parseMac } from '../../base/ip.ts';
import { macOf } from '../../policy/ipam.ts';
import { OPTIONS } from '../../policy/network-options.ts';
import type { EndpointSettings } from '../../spec/docker/network.ts';
import { randomLinkName } from './drivers/driver.ts';
import { dnsNames, type Endpoint, type EndpointAddress, type Network } from './network.ts';
import type { NetworkClient } from './networks.ts';

/** Endpoints: what is checked, given out and shown when a container joins a network. */

function wishedAddress(wish: EndpointSettings, family: 4 | 6): Ip | undefined {
  const text = (family === 4 ? wish.IPAMConfig?.IPv4Address : wish.IPAMConfig?.IPv6Address) ?? '';
  if (text === '') return undefined;
  const ip = parseIp(text);
  if (ip?.family !== family) throw invalidArgument(`invalid IPv${family} address: ${text}`);
  return ip;
}

/** @throws invalidArgument for a wish that this network can never fulfil; Docker's texts */
export function checkWish(network: Network, wish: EndpointSettings): void {
  if (wish.MacAddress !== '' && parseMac(wish.MacAddress) === undefined) {
    throw invalidArgument(`invalid MAC address: ${wish.MacAddress}`);
  }
  const ips = ([4, 6] as const).flatMap((family) => wishedAddress(wish, family) ?? []);
  if (network.isPredefined) {
    if (ips.length > 0) {
      throw invalidArgument('user specified IP address is supported on user defined networks only');
    }
    if ((wish.Aliases ?? []).length > 0) {
      throw invalidArgument(
        'network-scoped alias is supported only for containers in user defined networks',
      );
    }
    return;
  }
  for (const ip of ips) {
    const pool = network.poolOf(ip);
    const at = pool === undefined ? -1 : network.pools.indexOf(pool);
    if (at < 0) {
      throw invalidArgument(
        `Invalid address ${formatIp(ip)}: It does not belong to any of this network's subnets`,
      );
    }
    if (network.document.subnets[at]?.configured !== true) {
      throw invalidArgument(
        'user specified IP address is supported only when connecting to networks with user configured subnets',
      );
    }
  }
}

function exhausted(network: Network, family: 4 | 6): EngineError {
  return unavailable(
    `no available IPv${family} addresses on this network's address pools: ${network.name} (${network.id})`,
  );
}

function takeAddress(
  network: Network,
  wish: Ip | undefined,
  family: 4 | 6,
): EndpointAddress | null {
  const at = (ip: Ip): EndpointAddress => {
    const pool = network.poolOf(ip);
    const i = pool === undefined ? -1 : network.pools.indexOf(pool);
    const gateway =
      network.subnets[i]?.auxiliary['DefaultGatewayIPv4'] ?? network.subnets[i]?.gateway;
    return {
      address: formatIp(ip),
      prefix: network.subnets[i]?.subnet.prefix ?? (family === 4 ? 32 : 128),
      gateway: gateway === undefined || isUnspecified(gateway) ? '' : formatIp(gateway),
    };
  };
  if (wish !== undefined) {
    const pool = network.poolOf(wish);
    if (pool === undefined) {
      throw invalidArgument(
        `Invalid address ${formatIp(wish)}: It does not belong to any of this network's subnets`,
      );
    }
    return at(pool.claim(wish));
  }
  const pools = network.pools.filter((pool) => pool.subnet.address.family === family);
  if (pools.length === 0) return null;
  for (const pool of pools) {
    const ip = pool.allocate();
    if (ip !== undefined) return at(ip);
  }
  throw exhausted(network, family);
}

/**
 * Takes addresses for a container's endpoint and puts it on the network's list; nothing is made.
 * `network.detach` is the reverse.
 * @throws forbidden, invalidArgument, unavailable, conflict in Docker's words
 */
export function addEndpoint(args: {
  network: Network;
  client: NetworkClient;
  wish: EndpointSettings;
  link: string;
  random: Random;
}): Endpoint {
  const { network, client, wish, link, random } = args;
  for (const other of network.endpoints.values()) {
    if (other.containerId === client.id) {
      throw forbidden(
        `endpoint with name ${client.name} already exists in network ${network.name}`,
      );
    }
  }
  checkWish(network, wish);
  const ipv4 = takeAddress(network, wishedAddress(wish, 4), 4);
  let endpoint: Endpoint = {
    id: newId(random),
    networkId: network.id,
    containerId: client.id,
    containerName: client.name,
    hostname: client.hostname,
    link,
    hostLink: network.driver === 'bridge' ? randomLinkName(random, 'veth') : '',
    mac: '',
    ipv4,
    ipv6: null,
    wish,
  };
  network.attach(endpoint);
  try {
    const ipv6 = takeAddress(network, wishedAddress(wish, 6), 6);
    endpoint = { ...endpoint, ipv6, mac: macFor(network, wish, ipv4, random) };
    network.attach(endpoint);
    if (wish.MacAddress !== '') checkMacIsFree(network, endpoint);
    return endpoint;
  } catch (error) {
    network.detach(endpoint);
    throw error;
  }
}

/** As wished; '' where the container has no link, or its parent's address (ipvlan). */
function macFor(
  network: Network,
  wish: EndpointSettings,
  ipv4: EndpointAddress | null,
  random: Random,
): string {
  if (network.driver !== 'bridge' && network.driver !== 'macvlan') return '';
  return parseMac(wish.MacAddress) ?? defaultMac(ipv4, random);
}

function defaultMac(ipv4: EndpointAddress | null, random: Random): string {
  const ip = parseIp(ipv4?.address ?? '');
  if (ip !== undefined) return macOf(ip);
  const value = random.bytes(4).reduce((sum, byte) => sum * 256 + byte, 0);
  return macOf({ family: 4, value: BigInt(value) });
}

function checkMacIsFree(network: Network, endpoint: Endpoint): void {
  for (const other of network.endpoints.values()) {
    if (other.id !== endpoint.id && other.mac === endpoint.mac) {
      throw conflict(
        `MAC address ${endpoint.mac} is already in use by container ${other.containerName} in network ${network.name}`,
      );
    }
  }
}

/** Takes back the addresses of an endpoint that an earlier daemon made. */
export function readdEndpoint(network: Network, endpoint: Endpoint): void {
  for (const address of [endpoint.ipv4, endpoint.ipv6]) {
    const ip = parseIp(address?.address ?? '');
    const pool = ip === undefined ? undefined : network.poolOf(ip);
    if (ip !== undefined && pool?.isUsed(ip) === false) pool.claim(ip);
  }
  network.attach(endpoint);
}

/** An endpoint as inspect shows it. */
export function endpointSettingsOf(network: Network, endpoint: Endpoint): EndpointSettings {
  const { wish, ipv4, ipv6 } = endpoint;
  const aliases = [...(wish.Aliases ?? [])];
  if (network.hasDns) aliases.push(endpoint.containerId.slice(0, 12));
  return {
    IPAMConfig: wish.IPAMConfig,
    Links: wish.Links,
    Aliases: aliases.length > 0 ? aliases : null,
    MacAddress: endpoint.mac,
    DriverOpts: wish.DriverOpts,
    GwPriority: wish.GwPriority,
    NetworkID: network.id,
    EndpointID: endpoint.id,
    Gateway: network.document.internal ? '' : (ipv4?.gateway ?? ''),
    IPAddress: ipv4?.address ?? '',
    IPPrefixLen: ipv4?.prefix ?? 0,
    IPv6Gateway: network.document.internal ? '' : (ipv6?.gateway ?? ''),
    GlobalIPv6Address: ipv6?.address ?? '',
    GlobalIPv6PrefixLen: ipv6?.prefix ?? 0,
    DNSNames: network.hasDns ? dnsNames(endpoint) : null,
  };
}

/**
 * The endpoint whose gateway becomes the default route: the highest priority, then networks that
 * lead somewhere, then by name, as Docker chooses.
 */
export function gatewayEndpoint(
  joined: readonly { readonly network: Network; readonly endpoint: Endpoint }[],
  leads: (network: Network) => boolean,
): { readonly network: Network; readonly endpoint: Endpoint } | undefined {
  return [...joined]
    .filter(({ network }) => leads(network))
    .sort((a, b) => {
      const priority = b.endpoint.wish.GwPriority - a.endpoint.wish.GwPriority;
      if (priority !== 0) return priority;
      return a.network.name < b.network.name ? -1 : 1;
    })[0];
}

/** Prefix of link names in containers: `eth`, unless the network says another. */
export function linkPrefix(network: Network): string {
  return network.document.options[OPTIONS.interfacePrefix] || 'eth';
}
