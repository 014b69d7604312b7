import { assert } from '../../base/errors.ts';
import { contains, formatCidr, formatIp, type Ip, parseCidr, parseIp } from '../../base/ip.ts';
import { AddressPool, type Subnet } from '../../policy/ipam.ts';
import { DRIVERS, type DriverName, OPTIONS } from '../../policy/network-options.ts';
import {
  array,
  bool,
  type Decoded,
  decodeJson,
  int,
  map,
  nullable,
  string,
  struct,
} from '../../spec/decode.ts';
import { endpointSettings } from '../../spec/docker/network.ts';
import type { NetworkView } from '../../spec/docker/network-view.ts';

/** A network's document in the database: what it was made of, subnets that were chosen included. */
const networkDocument = struct('Network', {
  /** RFC 3339, nanoseconds. */
  created: string,
  driver: string,
  enableIPv4: bool,
  enableIPv6: bool,
  internal: bool,
  attachable: bool,
  ipamDriver: string,
  ipamOptions: nullable(map(string)),
  subnets: array(
    struct('Subnet', {
      subnet: string,
      range: string,
      gateway: string,
      auxiliary: map(string),
      /** The user chose it, so that addresses in it can be chosen too. */
      configured: bool,
    }),
  ),
  options: map(string),
  labels: map(string),
  /** The host link (bridge, vlan, dummy) was there before: it is left when the network goes. */
  linkIsForeign: bool,
});
export type NetworkDocument = Decoded<typeof networkDocument>;

/** An address that an endpoint has; texts are canonical, '' is none. */
const endpointAddress = struct('EndpointAddress', {
  address: string,
  prefix: int,
  gateway: string,
});
export type EndpointAddress = Decoded<typeof endpointAddress>;

/** One container's place in one network while it runs. Kept in the exec root. */
export const endpoint = struct('Endpoint', {
  id: string,
  networkId: string,
  containerId: string,
  containerName: string,
  hostname: string,
  /** Link in the container: `eth0`. */
  link: string,
  /** The other end on the host; '' where there is none. */
  hostLink: string,
  mac: string,
  ipv4: nullable(endpointAddress),
  ipv6: nullable(endpointAddress),
  /** What was asked for. */
  wish: endpointSettings,
});
export type Endpoint = Decoded<typeof endpoint>;

/** A network that is there. */
export class Network {
  readonly id: string;
  readonly name: string;
  readonly document: NetworkDocument;
  readonly driver: DriverName;
  readonly subnets: readonly Subnet[];
  /** One for each subnet, in order. */
  readonly pools: readonly AddressPool[];
  /** By endpoint ID. Changed by {@link attach} and {@link detach} only. */
  readonly endpoints = new Map<string, Endpoint>();
  #names: Map<string, Endpoint[]> | undefined;

  constructor(id: string, name: string, document: NetworkDocument) {
    this.id = id;
    this.name = name;
    this.document = document;
    const driver = DRIVERS.find((each) => each === document.driver);
    assert(driver !== undefined, `network ${name} has a known driver`);
    this.driver = driver;
    this.subnets = document.subnets.map(readSubnet);
    this.pools = this.subnets.map((each) => new AddressPool(each));
  }

  /** Made by the engine itself: `bridge`, `host` or `none`. */
  get isPredefined(): boolean {
    return this.driver === 'host' || this.driver === 'null' || this.isDefaultBridge;
  }

  get isDefaultBridge(): boolean {
    return this.document.options[OPTIONS.defaultBridge] === 'true';
  }

  /** The link on the host that the network lives on. */
  get linkName(): string {
    return this.document.options[OPTIONS.bridgeName] || `br-${this.id.slice(0, 12)}`;
  }

  /** The host's link that a macvlan or ipvlan network's containers hang on; a dummy of its own without one. */
  get parentName(): string {
    const { options, internal } = this.document;
    const parent = options['parent'] ?? '';
    return parent === '' || internal ? this.dummyName : parent;
  }

  get dummyName(): string {
    return `dm-${this.id.slice(0, 12)}`;
  }

  /** True when the network's names are served by the embedded DNS server. */
  get hasDns(): boolean {
    return !this.isPredefined;
  }

  attach(endpoint: Endpoint): void {
    this.endpoints.set(endpoint.id, endpoint);
    this.#names = undefined;
  }

  /** Takes an endpoint out and gives its addresses back. */
  detach(endpoint: Endpoint): void {
    if (!this.endpoints.delete(endpoint.id)) return;
    this.#names = undefined;
    for (const address of [endpoint.ipv4, endpoint.ipv6]) {
      const ip = parseIp(address?.address ?? '');
      if (ip !== undefined) this.poolOf(ip)?.release(ip);
    }
  }

  /** The pool whose subnet holds the address. */
  poolOf(ip: Ip): AddressPool | undefined {
    return this.pools.find((pool) => contains(pool.subnet, ip));
  }

  /** Endpoints that answer to a name, in lower case. */
  byName(name: string): readonly Endpoint[] {
    if (this.#names === undefined) {
      this.#names = new Map();
      for (const each of this.endpoints.values()) {
        for (const own of dnsNames(each)) {
          const key = own.toLowerCase();
          this.#names.set(key, [...(this.#names.get(key) ?? []), each]);
        }
      }
    }
    return this.#names.get(name) ?? [];
  }

  /** The endpoint with an address, if any. */
  byAddress(ip: Ip): Endpoint | undefined {
    const text = formatIp(ip);
    for (const each of this.endpoints.values()) {
      if (each.ipv4?.address === text || each.ipv6?.address === text) return each;
    }
    return undefined;
  }

  gateway(family: 4 | 6): Ip | undefined {
    return this.subnets.find((each) => each.subnet.address.family === family)?.gateway;
  }
}

/** Names that other containers of the network find an endpoint by. */
export function dnsNames(each: Endpoint): string[] {
  const names = [each.containerName, ...(each.wish.Aliases ?? []), each.containerId.slice(0, 12)];
  if (each.hostname !== '') names.push(each.hostname);
  return [...new Set(names)];
}

function readSubnet(text: NetworkDocument['subnets'][number]): Subnet {
  const subnet = parseCidr(text.subnet);
  assert(subnet !== undefined, 'a stored subnet reads');
  const range = parseCidr(text.range);
  const gateway = parseIp(text.gateway);
  const auxiliary = Object.entries(text.auxiliary).flatMap(([name, each]) => {
    const ip = parseIp(each);
    return ip === undefined ? [] : [[name, ip] as const];
  });
  return {
    subnet,
    auxiliary: Object.fromEntries(auxiliary),
    ...(range === undefined ? {} : { range }),
    ...(gateway === undefined ? {} : { gateway }),
  };
}

export function writeSubnet(
  subnet: Subnet,
  configured: boolean,
): NetworkDocument['subnets'][number] {
  return {
    subnet: formatCidr(subnet.subnet),
    range: subnet.range === undefined ? '' : formatCidr(subnet.range),
    gateway: subnet.gateway === undefined ? '' : formatIp(subnet.gateway),
    auxiliary: Object.fromEntries(
      Object.entries(subnet.auxiliary).map(([name, ip]) => [name, formatIp(ip)]),
    ),
    configured,
  };
}

/** @throws invalidArgument when the text is not what this engine wrote */
export function decodeNetwork(id: string, name: string, text: string): Network {
  return new Network(id, name, decodeJson(networkDocument, text));
}

function withPrefix(address: EndpointAddress | null): string {
  return address === null ? '' : `${address.address}/${address.prefix}`;
}

/** A network as the API shows it; its endpoints only when asked for. */
export function viewOf(network: Network, withEndpoints: boolean): NetworkView {
  const { document } = network;
  return {
    Name: network.name,
    Id: network.id,
    Created: document.created,
    Scope: 'local',
    Driver: network.driver,
    EnableIPv4: document.enableIPv4,
    EnableIPv6: document.enableIPv6,
    IPAM: {
      Driver: document.ipamDriver,
      Options: document.ipamOptions,
      Config: document.subnets.map(({ subnet, range, gateway, auxiliary }) => ({
        Subnet: subnet,
        ...(range === '' ? {} : { IPRange: range }),
        ...(gateway === '' ? {} : { Gateway: gateway }),
        ...(Object.keys(auxiliary).length === 0 ? {} : { AuxiliaryAddresses: auxiliary }),
      })),
    },
    Internal: document.internal,
    Attachable: document.attachable,
    Ingress: false,
    ConfigFrom: { Network: '' },
    ConfigOnly: false,
    Containers: Object.fromEntries(
      [...(withEndpoints ? network.endpoints.values() : [])].map((each) => [
        each.containerId,
        {
          Name: each.containerName,
          EndpointID: each.id,
          MacAddress: each.mac,
          IPv4Address: withPrefix(each.ipv4),
          IPv6Address: withPrefix(each.ipv6),
        },
      ]),
    ),
    Options: document.options,
    Labels: document.labels,
  };
}
