import { writeFileSync } from 'node:fs';
import { errnoOf } from '../../../base/errors.ts';
import type { Random } from '../../../base/id.ts';
import type { Logger } from '../../../base/log.ts';
import type { RouteSocket } from '../../../kernel/route-socket.ts';
import type { Syscalls } from '../../../kernel/syscalls.ts';
import type { Endpoint, Network } from '../network.ts';

/** What drivers work with: the host's network, or a namespace that plays the host in a test. */
export type DriverContext = {
  readonly sys: Syscalls;
  /** Of the host. */
  readonly route: RouteSocket;
  readonly log: Logger;
  readonly random: Random;
  /** Bytes that a packet may have on a network that does not say: the default route's. */
  readonly defaultMtu: () => number;
};

/** A container's network namespace while something is done to it. */
export type Namespace = {
  /** To hand to netlink. */
  readonly fd: number;
  /** Socket inside. */
  readonly inside: RouteSocket;
  /** Runs a synchronous body inside, for files below /proc/sys/net. */
  readonly enter: <T>(body: () => T) => T;
};

/**
 * How one kind of network is made of links. All calls but the asynchronous ones run on the main
 * thread and take at most a few ms.
 */
export type Driver = {
  /** What a new network does to the host. Throws, with nothing made, when it cannot be. */
  readonly create: (network: Network) => void;
  /** Makes or mends the host's side of a network that is there, at the daemon's start. */
  readonly restore: (network: Network, endpoints: readonly Endpoint[]) => void;
  /** Takes the host's side away; what is gone already is fine. */
  readonly remove: (network: Network) => Promise<void>;
  /** Makes the endpoint's link, named `endpoint.link`, inside the namespace. */
  readonly join: (network: Network, endpoint: Endpoint, namespace: Namespace) => void;
  /** Takes it away from a container that runs on. */
  readonly leave: (network: Network, endpoint: Endpoint, namespace: Namespace) => Promise<void>;
  /** How containers reach what is beyond their subnet. */
  readonly defaultRoute: (network: Network) => 'gateway' | 'link' | 'none';
  /** True when a container gets a link of its own for each network of this kind. */
  readonly hasLinks: boolean;
  /** True when the engine's firewall rules have a say. */
  readonly usesFirewall: boolean;
};

/** Names that no person chose, `veth1a2b3c4`. */
export function randomLinkName(random: Random, prefix: string): string {
  return prefix + Buffer.from(random.bytes(4)).toString('hex').slice(0, 7);
}

/** Sets a number below /proc/sys/net; false when the kernel has no such setting. */
export function setNetSysctl(name: string, value: number): boolean {
  try {
    writeFileSync(`/proc/sys/net/${name}`, String(value));
    return true;
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return false;
    throw error;
  }
}
