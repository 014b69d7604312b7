import { BlockList, isIP } from 'node:net';
import { invalidArgument } from '../../../base/errors.ts';
import type { Loose } from '../../../client/client.ts';
import type { Ipam } from '../../../spec/docker/network.ts';

/** Flags of `network create` that speak of addresses. */
export type IpamFlags = {
  readonly subnets: readonly string[];
  readonly ranges: readonly string[];
  readonly gateways: readonly string[];
  /** Address by name. */
  readonly auxiliary: Readonly<Record<string, string>>;
};

type Subnet = {
  readonly text: string;
  readonly block: BlockList;
  readonly family: 'ipv4' | 'ipv6';
  range: string;
  gateway: string;
  readonly auxiliary: Record<string, string>;
};

function parseCidr(text: string): { address: string; bits: number; family: 'ipv4' | 'ipv6' } {
  const [address = '', bits = ''] = text.split('/');
  const version = isIP(address);
  const max = version === 4 ? 32 : 128;
  if (
    version === 0 ||
    !/^\d{1,3}$/.test(bits) ||
    Number(bits) > max ||
    text.split('/').length > 2
  ) {
    throw invalidArgument(`invalid CIDR address: ${text}`);
  }
  return { address, bits: Number(bits), family: version === 4 ? 'ipv4' : 'ipv6' };
}

function parseSubnet(text: string): Subnet {
  const { address, bits, family } = parseCidr(text);
  const block = new BlockList();
  block.addSubnet(address, bits, family);
  return { text, block, family, range: '', gateway: '', auxiliary: {} };
}

/** The subnet that an address lies in. @throws invalidArgument when none does */
function holder(subnets: readonly Subnet[], address: string, what: string): Subnet {
  const version = isIP(address);
  if (version === 0) throw invalidArgument(`invalid ${what} ${address}: not an IP address`);
  const family = version === 4 ? 'ipv4' : 'ipv6';
  const found = subnets.find((each) => each.family === family && each.block.check(address, family));
  if (found === undefined) throw invalidArgument(`no matching subnet for ${what} ${address}`);
  return found;
}

/** `IPAM.Config` of the flags: ranges, gateways and addresses each with their subnet. @throws invalidArgument */
export function ipamOf(flags: IpamFlags): Loose<Ipam['Config']> {
  if (flags.subnets.length < flags.ranges.length || flags.subnets.length < flags.gateways.length) {
    throw invalidArgument('every ip-range or gateway must have a corresponding subnet');
  }
  const subnets = flags.subnets.map(parseSubnet);
  for (const [i, subnet] of subnets.entries()) {
    const address = parseCidr(subnet.text).address;
    const other = subnets.find(
      (each, j) =>
        j < i &&
        each.family === subnet.family &&
        (each.block.check(address, each.family) ||
          subnet.block.check(parseCidr(each.text).address, subnet.family)),
    );
    if (other !== undefined)
      throw invalidArgument('multiple overlapping subnet configuration is not supported');
  }
  for (const range of flags.ranges) {
    const subnet = holder(subnets, parseCidr(range).address, 'ip-range');
    if (subnet.range !== '') {
      throw invalidArgument(
        `cannot configure multiple ranges (${range}, ${subnet.range}) on the same subnet (${subnet.text})`,
      );
    }
    subnet.range = range;
  }
  for (const gateway of flags.gateways) {
    const subnet = holder(subnets, gateway, 'gateway');
    if (subnet.gateway !== '') {
      throw invalidArgument(
        `cannot configure multiple gateways (${gateway}, ${subnet.gateway}) for the same subnet (${subnet.text})`,
      );
    }
    subnet.gateway = gateway;
  }
  for (const [name, address] of Object.entries(flags.auxiliary)) {
    holder(subnets, address, 'aux-address').auxiliary[name] = address;
  }
  return subnets.map((subnet) => ({
    Subnet: subnet.text,
    ...(subnet.range === '' ? {} : { IPRange: subnet.range }),
    ...(subnet.gateway === '' ? {} : { Gateway: subnet.gateway }),
    ...(Object.keys(subnet.auxiliary).length === 0 ? {} : { AuxiliaryAddresses: subnet.auxiliary }),
  }));
}
