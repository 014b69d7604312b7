import { errnoOf } from '../base/errors.ts';
import type { NetlinkRequest } from '../formats/netlink.ts';
import {
  decodeAddress,
  decodeLink,
  decodeRoute,
  deleteLink,
  getFamily,
  getLink,
  type Link,
  type LinkAddress,
  type Route,
  RTM,
} from '../formats/netlink-route.ts';
import { NETLINK, NetlinkSocket } from './netlink-socket.ts';
import type { Syscalls } from './syscalls.ts';

/** Index of `lo` in every namespace. */
export const LOOPBACK_INDEX = 1;

function defined<T>(value: T | undefined): value is T {
  return value !== undefined;
}

/** Links, addresses and routes of the network namespace it was opened in. */
export class RouteSocket implements Disposable {
  readonly #sys: Syscalls;
  readonly #socket: NetlinkSocket;

  constructor(sys: Syscalls) {
    this.#sys = sys;
    this.#socket = new NetlinkSocket(sys, NETLINK.ROUTE);
  }

  [Symbol.dispose](): void {
    this.#socket[Symbol.dispose]();
  }

  /** Carries requests out in order. @throws the first failure */
  run(...requests: NetlinkRequest[]): void {
    this.#socket.run(...requests);
  }

  /** Undefined when there is no such link. */
  link(name: string): Link | undefined {
    try {
      return decodeLink(this.#socket.get(RTM.GETLINK, getLink(name)));
    } catch (error) {
      if (errnoOf(error) === 'ENODEV') return undefined;
      throw error;
    }
  }

  links(): Link[] {
    return this.#socket.dump(RTM.GETLINK, getLink()).map(decodeLink).filter(defined);
  }

  addresses(): LinkAddress[] {
    return this.#socket.dump(RTM.GETADDR, getFamily()).map(decodeAddress).filter(defined);
  }

  /** Unicast routes of the main table, both families. */
  routes(): Route[] {
    return this.#socket.dump(RTM.GETROUTE, getFamily()).map(decodeRoute).filter(defined);
  }

  /**
   * Removes a link without stopping this thread for it; one that is gone is fine. `enter` goes to
   * the namespace that this socket was opened in, when the thread is elsewhere.
   */
  async deleteLink(name: string, enter = <T>(body: () => T): T => body()): Promise<void> {
    const link = this.link(name);
    if (link === undefined) return;
    // A socket of its own: others may use this one before the answer comes.
    using socket = enter(() => new NetlinkSocket(this.#sys, NETLINK.ROUTE));
    try {
      await socket.runInBackground(deleteLink(link.index));
    } catch (error) {
      if (errnoOf(error) !== 'ENODEV') throw error;
    }
  }
}
