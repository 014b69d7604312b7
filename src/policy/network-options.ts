import { forbidden, invalidArgument, notFound, notImplemented } from '../base/errors.ts';
import {
  type Cidr,
  contains,
  type Family,
  firstIp,
  formatCidr,
  type Ip,
  networkOf,
  parseCidr,
  parseIp,
  sameIp,
} from '../base/ip.ts';
import type { Ipam, NetworkCreate } from '../spec/docker/network.ts';
import type { Subnet } from './ipam.ts';

/** What `POST /networks/create` asks for, checked. Texts are Docker's where clients know them. */

export const DRIVERS = ['bridge', 'host', 'null', 'macvlan', 'ipvlan'] as const;
export type DriverName = (typeof DRIVERS)[number];

/** A subnet as it was asked for: without one, the pools give it. */
export type SubnetWish = {
  readonly subnet?: Cidr;
  readonly range?: Cidr;
  readonly gateway?: Ip;
  readonly auxiliary: Readonly<Record<string, Ip>>;
};

export type NetworkWish = {
  readonly name: string;
  readonly driver: DriverName;
  readonly enableIPv4: boolean;
  readonly enableIPv6: boolean;
  readonly internal: boolean;
  readonly attachable: boolean;
  readonly ipam: {
    readonly driver: string;
    readonly options: Readonly<Record<string, string>> | null;
    readonly subnets: readonly SubnetWish[];
  };
  readonly options: Readonly<Record<string, string>>;
  readonly labels: Readonly<Record<string, string>>;
};

const PREDEFINED = ['bridge', 'host', 'none', 'default'];

/** The networks that the engine makes by itself. */
export function isPredefined(name: string): boolean {
  return PREDEFINED.includes(name);
}

function driverOf(body: NetworkCreate): DriverName {
  const word = body.Driver === '' ? 'bridge' : body.Driver;
  if (word === 'overlay' || body.Scope === 'swarm' || body.Ingress) {
    throw notImplemented(
      'overlay networks are not supported: this engine runs on one host. Use a bridge, macvlan or ipvlan network',
    );
  }
  if (body.ConfigOnly) {
    throw notImplemented('config-only networks are not supported: give each network its settings');
  }
  if (word === 'host' || word === 'null') {
    throw forbidden(`only one instance of "${word}" network is allowed`);
  }
  const driver = DRIVERS.find((each) => each === word);
  if (driver === undefined) throw notFound(`plugin "${word}" not found`);
  return driver;
}

/** The wish of a request's body. @throws invalidArgument, forbidden, notFound, notImplemented */
export function networkWish(body: NetworkCreate): NetworkWish {
  const name = body.Name;
  if (isPredefined(name)) {
    throw forbidden(`operation is not permitted on predefined ${name} network`);
  }
  if (!/^[a-zA-Z0-9](?:[a-zA-Z0-9_. -]*[a-zA-Z0-9_])?$/.test(name)) {
    throw invalidArgument(
      `invalid network name: "${name}": use letters, digits, '_', '.' and '-', beginning with a letter or digit`,
    );
  }
  const driver = driverOf(body);
  const enableIPv4 = body.EnableIPv4 ?? true;
  const subnets = subnetWishes(body.IPAM);
  const enableIPv6 = body.EnableIPv6 ?? false;
  if (!enableIPv4 && !enableIPv6) {
    throw invalidArgument('IPv4 or IPv6 must be enabled');
  }
  const ipamDriver = body.IPAM?.Driver ?? '';
  if (!['', 'default', 'null'].includes(ipamDriver)) {
    throw notFound(`plugin "${ipamDriver}" not found: IPAM plugins are not supported`);
  }
  if (driver === 'bridge') {
    checkBridgeOptions(body.Options);
    for (const family of [4, 6] as const) {
      if (subnets.filter((each) => each.subnet?.address.family === family).length > 1) {
        throw invalidArgument(`bridge driver doesn't support multiple subnets`);
      }
    }
  }
  checkMtu(body.Options);
  return {
    name,
    driver,
    enableIPv4,
    enableIPv6,
    internal: body.Internal,
    attachable: body.Attachable,
    ipam: { driver: ipamDriver || 'default', options: body.IPAM?.Options ?? null, subnets },
    options: body.Options,
    labels: body.Labels,
  };
}

/** Reads IPAM.Config; all that is wrong with it in one error, one line each. @throws invalidArgument */
function subnetWishes(ipam: Ipam | null): SubnetWish[] {
  const wrong: string[] = [];
  const wishes = (ipam?.Config ?? []).map((config) => subnetWish(config, wrong));
  if (wrong.length > 0) throw invalidArgument(`invalid network config:\n${wrong.join('\n')}`);
  return wishes;
}

function exactNetwork(text: string, what: string, wrong: string[]): Cidr | undefined {
  const cidr = parseCidr(text);
  if (cidr === undefined) {
    wrong.push(`invalid ${what} ${text}: invalid CIDR block notation`);
    return undefined;
  }
  const network = networkOf(cidr);
  if (!sameIp(network.address, cidr.address)) {
    wrong.push(`invalid ${what} ${text}: it should be ${formatCidr(network)}`);
  }
  return network;
}

function subnetWish(config: Ipam['Config'][number], wrong: string[]): SubnetWish {
  const subnet = config.Subnet === '' ? undefined : exactNetwork(config.Subnet, 'subnet', wrong);
  const inSubnet = (text: string, what: string): Ip | undefined => {
    const ip = parseIp(text);
    if (ip === undefined) wrong.push(`invalid ${what} ${text}: invalid address`);
    else if (subnet !== undefined && !contains(subnet, ip)) {
      wrong.push(
        `invalid ${what} ${text}: parent subnet ${formatCidr(subnet)} doesn't contain this address`,
      );
    }
    return ip;
  };
  let range: Cidr | undefined;
  if (config.IPRange !== '') {
    range = exactNetwork(config.IPRange, 'ip-range', wrong);
    if (range !== undefined && subnet !== undefined) {
      if (range.prefix < subnet.prefix) {
        wrong.push(
          `invalid ip-range ${config.IPRange}: CIDR block is bigger than its parent subnet ${formatCidr(subnet)}`,
        );
      } else if (!contains(subnet, range.address)) {
        wrong.push(
          `invalid ip-range ${config.IPRange}: parent subnet ${formatCidr(subnet)} doesn't contain ip-range`,
        );
      }
    } else if (subnet === undefined) {
      wrong.push(`invalid ip-range ${config.IPRange}: a subnet has to be specified too`);
    }
  }
  const gateway = config.Gateway === '' ? undefined : inSubnet(config.Gateway, 'gateway');
  const auxiliary: Record<string, Ip> = {};
  for (const [name, text] of Object.entries(config.AuxiliaryAddresses)) {
    const ip = inSubnet(text, 'auxiliary address');
    if (ip !== undefined) auxiliary[name] = ip;
  }
  return {
    ...(subnet === undefined ? {} : { subnet }),
    ...(range === undefined ? {} : { range }),
    ...(gateway === undefined ? {} : { gateway }),
    auxiliary,
  };
}

/** A wish with its subnet and, unless told otherwise, the subnet's first address as the gateway. */
export function settleSubnet(wish: SubnetWish, subnet: Cidr, withGateway: boolean): Subnet {
  const first = firstIp(subnet);
  const gateway =
    wish.gateway ?? (withGateway ? { family: first.family, value: first.value + 1n } : undefined);
  return {
    subnet,
    auxiliary: wish.auxiliary,
    ...(wish.range === undefined ? {} : { range: wish.range }),
    ...(gateway === undefined ? {} : { gateway }),
  };
}

// --- driver options ---

const BRIDGE = 'com.docker.network.bridge';
export const OPTIONS = {
  mtu: 'com.docker.network.driver.mtu',
  interfacePrefix: 'com.docker.network.container_iface_prefix',
  hostIpv4: 'com.docker.network.host_ipv4',
  hostIpv6: 'com.docker.network.host_ipv6',
  bridgeName: `${BRIDGE}.name`,
  icc: `${BRIDGE}.enable_icc`,
  masquerade: `${BRIDGE}.enable_ip_masquerade`,
  bindingIpv4: `${BRIDGE}.host_binding_ipv4`,
  inhibitIpv4: `${BRIDGE}.inhibit_ipv4`,
  defaultBridge: `${BRIDGE}.default_bridge`,
  gatewayModeIpv4: `${BRIDGE}.gateway_mode_ipv4`,
  gatewayModeIpv6: `${BRIDGE}.gateway_mode_ipv6`,
} as const;

type Options = Readonly<Record<string, string>>;

/** Go's strconv.ParseBool. Undefined for other text. */
function parseGoBool(text: string): boolean | undefined {
  if (['1', 't', 'T', 'true', 'TRUE', 'True'].includes(text)) return true;
  if (['0', 'f', 'F', 'false', 'FALSE', 'False'].includes(text)) return false;
  return undefined;
}

/** A boolean option of a network that was checked when it was made. */
export function flagOption(options: Options, key: string, otherwise: boolean): boolean {
  return parseGoBool(options[key] ?? '') ?? otherwise;
}

/** Bytes; 0 when nothing was asked for. */
export function mtuOption(options: Options): number {
  return Number(options[OPTIONS.mtu] ?? '0');
}

export function addressOption(options: Options, key: string): Ip | undefined {
  return parseIp(options[key] ?? '');
}

function checkMtu(options: Options): void {
  const mtu = options[OPTIONS.mtu];
  if (mtu !== undefined && (!/^\d{1,5}$/.test(mtu) || (Number(mtu) !== 0 && Number(mtu) < 68))) {
    throw invalidArgument(`invalid value for option ${OPTIONS.mtu}: ${mtu}`);
  }
}

/** A name that both Linux and nft(8) take as it is: up to 15 letters, digits, `_`, `.` and `-`. */
function isLinkName(name: string): boolean {
  return /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}$/.test(name);
}

function checkBridgeOptions(options: Options): void {
  const wrong = (key: string): Error =>
    invalidArgument(`failed to parse ${key} value: "${options[key]}"`);
  for (const key of [OPTIONS.icc, OPTIONS.masquerade, OPTIONS.inhibitIpv4]) {
    if (options[key] !== undefined && parseGoBool(options[key]) === undefined) throw wrong(key);
  }
  for (const key of [OPTIONS.bindingIpv4, OPTIONS.hostIpv4, OPTIONS.hostIpv6]) {
    const text = options[key];
    if (text !== undefined && text !== '' && parseIp(text) === undefined) throw wrong(key);
  }
  const name = options[OPTIONS.bridgeName];
  if (name !== undefined && name !== '' && !isLinkName(name)) throw wrong(OPTIONS.bridgeName);
  for (const key of [OPTIONS.gatewayModeIpv4, OPTIONS.gatewayModeIpv6]) {
    const mode = options[key];
    if (mode !== undefined && mode !== '' && mode !== 'nat') {
      throw notImplemented(
        `${key}=${mode} is not supported: ports are published by address translation (nat)`,
      );
    }
  }
}

/** `nat` networks need the family; a request with an IPv6 subnet and no IPv6 is a mistake Docker lets pass. */
export function familiesOf(wish: Pick<NetworkWish, 'enableIPv4' | 'enableIPv6'>): Family[] {
  return [...(wish.enableIPv4 ? ([4] as const) : []), ...(wish.enableIPv6 ? ([6] as const) : [])];
}
