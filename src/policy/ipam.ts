import { type EngineError, forbidden, invalidArgument, unavailable } from '../base/errors.ts';
import {
  bitsOf,
  type Cidr,
  contains,
  type Family,
  firstIp,
  formatIp,
  type Ip,
  lastIp,
  overlaps,
} from '../base/ip.ts';

/** Address management: which subnet a network gets, and which address of it a container. */

/** A network's subnet of one family, as it was asked for or chosen. */
export type Subnet = {
  readonly subnet: Cidr;
  /** Part of the subnet that containers get their addresses from. */
  readonly range?: Cidr;
  readonly gateway?: Ip;
  /** Addresses that others use, by name: never handed out. */
  readonly auxiliary: Readonly<Record<string, Ip>>;
};

/** Where subnets are taken from: `base` is cut into pieces of `size` bits. */
export type Pool = { readonly base: Cidr; readonly size: number };

/** Docker's texts; clients and tests of theirs match on them. */
export function poolOverlap(): EngineError {
  return forbidden('invalid pool request: Pool overlaps with other one on this address space');
}

/**
 * The first piece of the pools that overlaps nothing that is taken.
 * @throws unavailable when there is none, in Docker's words
 */
export function choosePool(pools: readonly Pool[], family: Family, taken: readonly Cidr[]): Cidr {
  for (const { base, size } of pools) {
    if (base.address.family !== family || size < base.prefix) continue;
    const step = 1n << BigInt(bitsOf(family) - size);
    const end = lastIp(base).value;
    let value = firstIp(base).value;
    while (value <= end) {
      const piece: Cidr = { address: { family, value }, prefix: size };
      const blocker = taken.find((each) => overlaps(each, piece));
      if (blocker === undefined) return piece;
      // Go on behind what is in the way: a /8 that is taken is one step, not 2^16.
      const behind = lastIp(blocker).value + 1n;
      value = ((behind + step - 1n) / step) * step;
    }
  }
  throw unavailable(
    `could not find an available, non-overlapping IPv${family} address pool among the defaults to assign to the network: all predefined address pools have been fully subnetted`,
  );
}

/** The addresses of one subnet. */
export class AddressPool {
  readonly subnet: Cidr;
  readonly #first: bigint;
  readonly #last: bigint;
  readonly #used = new Set<bigint>();
  /** No free address of the range lies below it. */
  #hint: bigint;

  /**
   * Gateway and auxiliary addresses are taken at once; so are an IPv4 subnet's network and broadcast
   * addresses (RFC 3021: not of a /31) and IPv6's subnet-router anycast address.
   */
  constructor({ subnet, range, gateway, auxiliary }: Subnet) {
    this.subnet = subnet;
    const { family } = subnet.address;
    if (subnet.prefix < bitsOf(family) - 1) {
      this.#used.add(firstIp(subnet).value);
      if (family === 4) this.#used.add(lastIp(subnet).value);
    }
    for (const ip of [...(gateway === undefined ? [] : [gateway]), ...Object.values(auxiliary)]) {
      if (contains(subnet, ip)) this.#used.add(ip.value);
    }
    this.#first = firstIp(range ?? subnet).value;
    this.#last = lastIp(range ?? subnet).value;
    this.#hint = this.#first;
  }

  get usedCount(): number {
    return this.#used.size;
  }

  isUsed(ip: Ip): boolean {
    return contains(this.subnet, ip) && this.#used.has(ip.value);
  }

  /** The lowest free address of the range, or undefined when there is none. */
  allocate(): Ip | undefined {
    let value = this.#hint;
    while (value <= this.#last && this.#used.has(value)) value += 1n;
    this.#hint = value;
    if (value > this.#last) return undefined;
    this.#used.add(value);
    return { family: this.subnet.address.family, value };
  }

  /**
   * Takes a certain address, within the range or not.
   * @throws invalidArgument outside the subnet, forbidden when it is taken: Docker's texts
   */
  claim(ip: Ip): Ip {
    if (!contains(this.subnet, ip)) {
      throw invalidArgument(
        `Invalid address ${formatIp(ip)}: It does not belong to any of this network's subnets`,
      );
    }
    if (this.#used.has(ip.value)) throw forbidden('Address already in use');
    this.#used.add(ip.value);
    return ip;
  }

  /** Gives an address back. */
  release(ip: Ip): void {
    if (!this.#used.delete(ip.value)) return;
    if (ip.value >= this.#first && ip.value < this.#hint) this.#hint = ip.value;
  }
}

/** `02:42` and the IPv4 address: no two containers of a network share one. */
export function macOf(ip: Ip): string {
  const bytes = [24, 16, 8, 0].map((shift) => Number((ip.value >> BigInt(shift)) & 0xffn));
  return [0x02, 0x42, ...bytes].map((b) => b.toString(16).padStart(2, '0')).join(':');
}

/** dockerd's default pools, in its order. */
export function defaultPools(): Pool[] {
  const four = (a: number, b: number, prefix: number, size: number): Pool => ({
    base: { address: { family: 4, value: BigInt(a * 256 + b) << 16n }, prefix },
    size,
  });
  return [
    four(172, 17, 16, 16),
    four(172, 18, 16, 16),
    four(172, 19, 16, 16),
    four(172, 20, 14, 16),
    four(172, 24, 14, 16),
    four(172, 28, 14, 16),
    four(192, 168, 16, 20),
  ];
}

/** A pool of unique local addresses (RFC 4193) for this host: `seed` are its 40 random bits. */
export function uniqueLocalPool(seed: Uint8Array): Pool {
  let value = 0xfdn;
  for (let i = 0; i < 5; i += 1) value = (value << 8n) | BigInt(seed[i] ?? 0);
  return { base: { address: { family: 6, value: value << 80n }, prefix: 48 }, size: 64 };
}
