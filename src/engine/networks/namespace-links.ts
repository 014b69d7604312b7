import { assert, errnoOf, internal } from '../../base/errors.ts';
import { type Cidr, parseIp } from '../../base/ip.ts';
import type { NetlinkRequest } from '../../formats/netlink.ts';
import { addAddress, addRoute, deleteRoute, setLink } from '../../formats/netlink-route.ts';
import type { Driver, Namespace } from './drivers/driver.ts';
import { setNetSysctl } from './drivers/driver.ts';
import type { Endpoint, EndpointAddress, Network } from './network.ts';

/** What is done inside a container's network namespace. */

function cidrOf(address: EndpointAddress | null): Cidr | undefined {
  const ip = parseIp(address?.address ?? '');
  return ip === undefined || address === null ? undefined : { address: ip, prefix: address.prefix };
}

/** Makes the endpoint's link and gives it its addresses. */
export function joinNetwork(
  driver: Driver,
  network: Network,
  endpoint: Endpoint,
  namespace: Namespace,
): void {
  driver.join(network, endpoint, namespace);
  const { inside } = namespace;
  const link = inside.link(endpoint.link);
  if (link === undefined) throw internal(`cannot find ${endpoint.link} in the container's network`);
  if (endpoint.ipv6 !== null) {
    namespace.enter(() => setNetSysctl(`ipv6/conf/${endpoint.link}/disable_ipv6`, 0));
  }
  const addresses = [cidrOf(endpoint.ipv4), cidrOf(endpoint.ipv6)].filter(
    (each) => each !== undefined,
  );
  inside.run(
    setLink(link.index, { up: true }),
    ...addresses.map((cidr) => addAddress(link.index, cidr)),
  );
}

/**
 * Frees the name of a link that is about to be removed, and silences it. The kernel takes its time
 * to remove a link; nobody need wait for it. Returns the name it has now.
 */
export function retireLink({ inside }: Namespace, name: string): string {
  const link = inside.link(name);
  if (link === undefined) return name;
  const retired = `gone${link.index}`;
  inside.run(setLink(link.index, { up: false }), setLink(link.index, { name: retired }));
  return retired;
}

/** Default routes that a namespace has had so far. */
function oldDefaultRoutes({ inside }: Namespace): NetlinkRequest[] {
  return inside
    .routes()
    .filter(({ destination }) => destination === undefined)
    .map(deleteRoute);
}

/** Makes the default routes lead through this endpoint, or nowhere. */
export function setDefaultRoutes(
  namespace: Namespace,
  chosen: { endpoint: Endpoint; how: 'gateway' | 'link' } | undefined,
  options: { isNew: boolean },
): void {
  const { inside } = namespace;
  const requests = options.isNew ? [] : oldDefaultRoutes(namespace);
  if (chosen !== undefined) {
    const { endpoint, how } = chosen;
    const link = inside.link(endpoint.link);
    assert(link !== undefined, 'the endpoint has a link');
    for (const address of [endpoint.ipv4, endpoint.ipv6]) {
      if (address === null) continue;
      const gateway = parseIp(address.gateway);
      const family = address.address.includes(':') ? 6 : 4;
      if (how === 'link') requests.push(addRoute({ family, link: link.index }));
      else if (gateway !== undefined) {
        requests.push(addRoute({ family, link: link.index, gateway }));
      }
    }
  }
  try {
    if (requests.length > 0) inside.run(...requests);
  } catch (error) {
    if (errnoOf(error) !== 'ENETUNREACH') throw error;
    throw internal(
      `cannot set the default gateway ${chosen?.endpoint.ipv4?.gateway ?? ''}: it is not within the network's subnet`,
      { cause: error },
    );
  }
}
