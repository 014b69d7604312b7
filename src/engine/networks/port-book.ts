import { closeSync, readFileSync } from 'node:fs';
import { errnoOf, internal, messageOf } from '../../base/errors.ts';
import { type Ip, parseIp } from '../../base/ip.ts';
import type { Logger } from '../../base/log.ts';
import { holdPort } from '../../kernel/ip-sockets.ts';
import type { Syscalls } from '../../kernel/syscalls.ts';
import {
  candidates,
  collides,
  formatEndpoint,
  type PortWish,
  type PublishedPort,
} from '../../policy/ports.ts';

type Held = PublishedPort & { readonly fd: number | undefined };

const EPHEMERAL_FALLBACK = { first: 49_153, last: 65_535 };

/** The kernel's range of ports that are given to whoever asks for any. */
function ephemeralRange(): { first: number; last: number } {
  const m = /^(\d+)\s+(\d+)/.exec(readFileSync('/proc/sys/net/ipv4/ip_local_port_range', 'utf8'));
  if (m === null) return EPHEMERAL_FALLBACK;
  return { first: Number(m[1]), last: Number(m[2]) };
}

/**
 * The host's ports that containers have. For each the daemon holds a bound socket, so that no other
 * program takes it; packets never reach it, the firewall's rules lead them to the container.
 */
export class PortBook {
  readonly #sys: Syscalls;
  readonly #log: Logger;
  /** By who has them: container IDs. */
  readonly #held = new Map<string, Held[]>();
  /** The same by `80/tcp`, to find what collides. */
  readonly #byPort = new Map<string, PublishedPort[]>();
  #previous = 0;

  readonly #holds: () => boolean;

  /** `holds` false: without firewall rules a held port would only swallow connections. */
  constructor(sys: Syscalls, log: Logger, holds: () => boolean) {
    this.#sys = sys;
    this.#log = log;
    this.#holds = holds;
  }

  /**
   * Takes what was wished for, all of it or nothing.
   * @param families those that the container can be reached by
   * @param endpoint `NAME (ID)`, for the error
   * @throws internal in Docker's words
   */
  take(
    owner: string,
    wishes: readonly PortWish[],
    options: { families: readonly (4 | 6)[]; endpoint: string; defaultIp: Ip },
  ): readonly PublishedPort[] {
    const held: Held[] = [];
    this.#held.set(owner, held);
    try {
      for (const wish of wishes) held.push(...this.#takeOne(wish, options));
    } catch (error) {
      this.release(owner);
      throw internal(
        `driver failed programming external connectivity on endpoint ${options.endpoint}: ${messageOf(error)}`,
        { cause: error },
      );
    }
    return held.map(
      ({ protocol, containerPort, hostIp, hostPort }): PublishedPort => ({
        protocol,
        containerPort,
        hostIp,
        hostPort,
      }),
    );
  }

  #takeOne(
    wish: PortWish,
    { families, defaultIp }: { families: readonly (4 | 6)[]; defaultIp: Ip },
  ): Held[] {
    const ips = this.#hostIps(wish, defaultIp).filter((ip) => families.includes(ip.family));
    if (ips.length === 0) return [];
    const range = { ...ephemeralRange(), previous: this.#previous };
    let failure: unknown;
    for (const hostPort of candidates(wish, range)) {
      const { protocol, containerPort } = wish;
      const taken: Held[] = [];
      try {
        for (const hostIp of ips) {
          taken.push(this.#hold({ protocol, containerPort, hostIp, hostPort }));
        }
        if (wish.hostPorts === undefined) this.#previous = hostPort;
        return taken;
      } catch (error) {
        for (const each of taken) this.#letGo(each);
        failure ??= error;
        if (errnoOf(failure) !== undefined && errnoOf(failure) !== 'EADDRINUSE') break;
      }
    }
    throw failure;
  }

  #hostIps(wish: PortWish, defaultIp: Ip): Ip[] {
    if (wish.hostIp !== undefined) return [wish.hostIp];
    if (defaultIp.family === 4 && defaultIp.value === 0n) {
      return [defaultIp, { family: 6, value: 0n }];
    }
    return [defaultIp];
  }

  #hold(port: PublishedPort): Held {
    const { protocol, hostIp: ip, hostPort } = port;
    const where = formatEndpoint(ip, hostPort);
    const key = `${hostPort}/${protocol}`;
    const others = this.#byPort.get(key) ?? [];
    if (others.some((other) => collides(other, port))) {
      throw internal(`Bind for ${where} failed: port is already allocated`, {
        detail: { errno: 'EADDRINUSE' },
      });
    }
    try {
      const wanted = { protocol, ip, port: hostPort };
      const held = { ...port, fd: this.#holds() ? holdPort(this.#sys, wanted) : undefined };
      this.#byPort.set(key, [...others, held]);
      return held;
    } catch (error) {
      throw internal(
        `Error starting userland proxy: listen ${protocol}${ip.family} ${where}: ${messageOf(error)}`,
        { cause: error, detail: { errno: errnoOf(error) ?? '' } },
      );
    }
  }

  /**
   * Takes back what a running container had before the daemon was restarted. A port that somebody
   * took meanwhile is told of, and still leads to the container.
   */
  retake(owner: string, ports: readonly PublishedPort[]): void {
    const held = ports.map((port): Held => {
      try {
        return this.#hold(port);
      } catch (error) {
        this.#log.warn('cannot hold a published port', { error: messageOf(error) });
        return { ...port, fd: undefined };
      }
    });
    this.#held.set(owner, held);
  }

  #letGo(held: Held): void {
    if (held.fd !== undefined) closeSync(held.fd);
    const key = `${held.hostPort}/${held.protocol}`;
    const others = (this.#byPort.get(key) ?? []).filter((each) => each !== held);
    if (others.length > 0) this.#byPort.set(key, others);
    else this.#byPort.delete(key);
  }

  release(owner: string): void {
    for (const each of this.#held.get(owner) ?? []) this.#letGo(each);
    this.#held.delete(owner);
  }

  /** Lets go of the sockets at shutdown. */
  close(): void {
    for (const owner of [...this.#held.keys()]) this.release(owner);
  }
}

/** The configuration's default address to publish on. */
export function defaultBindIp(text: string): Ip {
  return parseIp(text) ?? { family: 4, value: 0n };
}
