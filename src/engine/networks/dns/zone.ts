import { type Ip, parseIp } from '../../../base/ip.ts';
import {
  DNS_CLASS_IN,
  DNS_TYPE,
  type DnsAnswer,
  type DnsQuery,
  RCODE,
  reverseAddress,
} from '../../../formats/dns.ts';
import type { Endpoint, Network } from '../network.ts';
import type { LocalAnswer } from './dns-server.ts';

/** A container's place in a network that has names. */
export type Joined = { readonly network: Network; readonly endpoint: Endpoint };

/** `target:alias` of a network-scoped link. */
function linkTarget(links: readonly string[] | null, alias: string): string | undefined {
  for (const link of links ?? []) {
    const [target = '', as] = link.split(':', 2);
    if ((as ?? target).toLowerCase() === alias) return target.replace(/^\//, '').toLowerCase();
  }
  return undefined;
}

/** Endpoints that a name means to this container; `web.net` is `web` in the network `net`. */
function endpointsOf(joined: readonly Joined[], name: string): Endpoint[] {
  const found = new Map<string, Endpoint>();
  for (const { network, endpoint } of joined) {
    const suffix = `.${network.name.toLowerCase()}`;
    const plain = name.endsWith(suffix) ? name.slice(0, -suffix.length) : undefined;
    for (const each of [name, ...(plain === undefined ? [] : [plain])]) {
      const target = linkTarget(endpoint.wish.Links, each) ?? each;
      for (const one of network.byName(target)) found.set(one.id, one);
    }
  }
  return [...found.values()];
}

function addressesOf(endpoints: readonly Endpoint[], type: number): Ip[] {
  const texts = endpoints.flatMap(({ ipv4, ipv6 }) => [
    ...(type === DNS_TYPE.A || type === DNS_TYPE.ANY ? [ipv4?.address ?? ''] : []),
    ...(type === DNS_TYPE.AAAA || type === DNS_TYPE.ANY ? [ipv6?.address ?? ''] : []),
  ]);
  return texts.flatMap((text) => parseIp(text) ?? []);
}

/**
 * Answers from the names and addresses of the networks that a container has joined. A known name
 * without an address of the wanted kind is an empty answer: nobody outside would know better.
 * Several addresses come in another order each time.
 */
export function lookUp(
  joined: readonly Joined[],
  query: Pick<DnsQuery, 'name' | 'type' | 'class'>,
  turn: number,
): LocalAnswer {
  if (query.class !== DNS_CLASS_IN || query.name === '') return 'forward';
  if (query.type === DNS_TYPE.PTR) {
    const ip = reverseAddress(query.name);
    if (ip === undefined) return 'forward';
    for (const { network } of joined) {
      const endpoint = network.byAddress(ip);
      if (endpoint !== undefined) {
        const name = `${endpoint.containerName}.${network.name}`;
        return { rcode: RCODE.OK, answers: [{ name }] };
      }
    }
    return 'forward';
  }
  const endpoints = endpointsOf(joined, query.name);
  if (endpoints.length === 0) return 'forward';
  const answers = addressesOf(endpoints, query.type).map((ip): DnsAnswer => ({ ip }));
  const first = answers.length === 0 ? 0 : turn % answers.length;
  return { rcode: RCODE.OK, answers: [...answers.slice(first), ...answers.slice(0, first)] };
}
