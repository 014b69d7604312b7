import { invalidArgument } from '../../base/errors.ts';
import type { Loose } from '../../client/client.ts';
import type { EndpointSettings } from '../../spec/docker/network.ts';
import { parseInteger, splitCsv, splitPair } from '../flags.ts';

/** One `--network`: a name, or `name=…,alias=…,ip=…`. */
export type NetworkWish = {
  readonly target: string;
  readonly aliases: readonly string[];
  readonly links: readonly string[];
  readonly driverOptions: Readonly<Record<string, string>>;
  readonly ip: string;
  readonly ip6: string;
  readonly linkLocalIps: readonly string[];
  readonly macAddress: string;
  readonly gatewayPriority: number;
};

const NONE: Omit<NetworkWish, 'target'> = {
  aliases: [],
  links: [],
  driverOptions: {},
  ip: '',
  ip6: '',
  linkLocalIps: [],
  macAddress: '',
  gatewayPriority: 0,
};

/** @throws Error with the cause */
export function parseNetworkFlag(value: string): NetworkWish {
  if (!/^\w+=/.test(value)) return { ...NONE, target: value };
  const wish = { ...NONE, target: '', driverOptions: {} as Record<string, string> };
  for (const field of splitCsv(value)) {
    const [written, raw] = splitPair(field);
    if (!field.includes('=')) throw new Error(`invalid key/value pair format in driver options`);
    const each = raw.trim();
    switch (written.trim().toLowerCase()) {
      case 'name':
        wish.target = each;
        break;
      case 'alias':
        wish.aliases = [...wish.aliases, each];
        break;
      case 'ip':
        wish.ip = each;
        break;
      case 'ip6':
        wish.ip6 = each;
        break;
      case 'mac-address':
        wish.macAddress = each;
        break;
      case 'link-local-ip':
        wish.linkLocalIps = [...wish.linkLocalIps, each];
        break;
      case 'driver-opt': {
        const [key, option] = splitPair(each);
        if (!each.includes('=')) {
          throw new Error('invalid key value pair format in driver options');
        }
        wish.driverOptions[key.trim().toLowerCase()] = option.trim();
        break;
      }
      case 'gw-priority':
        wish.gatewayPriority = priority(each);
        break;
      default:
        throw new Error(`invalid field key ${written.trim().toLowerCase()}`);
    }
  }
  if (wish.target === '') throw new Error('network name/id is not specified');
  return wish;
}

function priority(text: string): number {
  try {
    return parseInteger(text);
  } catch {
    throw new Error(`invalid gw-priority (${text}): invalid syntax`);
  }
}

/** The flags that speak of the (first) network. */
export type NetworkFlags = {
  readonly networks: readonly NetworkWish[];
  readonly aliases: readonly string[];
  readonly links: readonly string[];
  readonly ip: string;
  readonly ip6: string;
  readonly linkLocalIps: readonly string[];
  readonly macAddress: string;
};

const RESERVED = new Set(['default', 'bridge', 'host', 'none', '']);
const isUserDefined = (name: string): boolean =>
  !RESERVED.has(name) && !name.startsWith('container:');

function conflict(flag: string, field: string): Error {
  return invalidArgument(
    `conflicting options: cannot specify both --${flag} and per-network ${field}`,
  );
}

/** The first network with what single flags say of it. @throws invalidArgument when both say it */
function withFlags(wish: NetworkWish, flags: NetworkFlags): NetworkWish {
  if (flags.aliases.length > 0 && wish.aliases.length > 0) {
    throw conflict('network-alias', 'alias');
  }
  if (flags.ip !== '' && wish.ip !== '') throw conflict('ip', 'IPv4 address');
  if (flags.ip6 !== '' && wish.ip6 !== '') throw conflict('ip6', 'IPv6 address');
  if (flags.macAddress !== '' && wish.macAddress !== '') {
    throw conflict('mac-address', 'MAC address');
  }
  if (flags.linkLocalIps.length > 0 && wish.linkLocalIps.length > 0) {
    throw conflict('link-local-ip', 'link-local IP addresses');
  }
  return {
    ...wish,
    aliases: [...wish.aliases, ...flags.aliases],
    links: flags.links,
    ip: wish.ip || flags.ip,
    ip6: wish.ip6 || flags.ip6,
    linkLocalIps: [...wish.linkLocalIps, ...flags.linkLocalIps],
    macAddress: wish.macAddress || flags.macAddress,
  };
}

/** The API's form of a wish. */
export function endpointOf(wish: NetworkWish): Loose<EndpointSettings> {
  const { ip, ip6, linkLocalIps } = wish;
  const addressed = ip !== '' || ip6 !== '' || linkLocalIps.length > 0;
  return {
    IPAMConfig: addressed
      ? {
          ...(ip === '' ? {} : { IPv4Address: ip }),
          ...(ip6 === '' ? {} : { IPv6Address: ip6 }),
          ...(linkLocalIps.length === 0 ? {} : { LinkLocalIPs: linkLocalIps }),
        }
      : null,
    Links: wish.links.length > 0 && isUserDefined(wish.target) ? wish.links : null,
    Aliases: wish.aliases.length > 0 ? wish.aliases : null,
    MacAddress: wish.macAddress,
    DriverOpts: Object.keys(wish.driverOptions).length > 0 ? wish.driverOptions : null,
    GwPriority: wish.gatewayPriority,
  };
}

/** Modes that give no place in a network. */
const PRIVATE = /^(?:host|none|container:.*)$/;

/**
 * NetworkMode and EndpointsConfig of the flags.
 * @throws invalidArgument for what contradicts itself
 */
export function networkingOf(flags: NetworkFlags): {
  readonly mode: string;
  readonly endpoints: Readonly<Record<string, Loose<EndpointSettings>>>;
} {
  const wishes = flags.networks.length > 0 ? flags.networks : [{ ...NONE, target: 'default' }];
  const merged = wishes.map((wish, i) => (i === 0 ? withFlags(wish, flags) : wish));
  const endpoints: Record<string, Loose<EndpointSettings>> = {};
  for (const wish of merged) {
    if (Object.hasOwn(endpoints, wish.target)) {
      throw invalidArgument(`network "${wish.target}" is specified multiple times`);
    }
    if (
      merged.length > 1 &&
      (wish.target === 'host' || wish.target === 'none' || wish.target.startsWith('container:'))
    ) {
      throw invalidArgument(
        'conflicting options: cannot attach both user-defined and non-user-defined network-modes',
      );
    }
    if (wish.aliases.length > 0 && !isUserDefined(wish.target)) {
      throw invalidArgument('network-scoped aliases are only supported for user-defined networks');
    }
    const endpoint = endpointOf(wish);
    if (PRIVATE.test(wish.target) && endpoint.IPAMConfig == null) continue;
    endpoints[wish.target] = endpoint;
  }
  return { mode: merged[0]?.target ?? 'default', endpoints };
}
