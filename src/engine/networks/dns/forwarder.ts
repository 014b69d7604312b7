import { randomInt } from 'node:crypto';
import dgram from 'node:dgram';
import net from 'node:net';
import type { Clock } from '../../../base/clock.ts';
import { LIMITS } from '../../../base/limits.ts';
import { type DnsQuery, isReplyTo, parseReply, readdress, withId } from '../../../formats/dns.ts';
import { cacheKey, DnsCache } from './cache.ts';

/** A resolver to ask. */
export type Upstream = { readonly address: string; readonly port: number };

type Pending = {
  readonly question: Uint8Array;
  readonly upstream: Upstream;
  readonly settle: (reply: Buffer | undefined) => void;
};

/** One UDP socket with the questions that wait on it, by ID. */
type Channel = { readonly socket: dgram.Socket; readonly pending: Map<number, Pending> };

/** Sockets for each family: with their random ports and the IDs, a forged reply has to guess both. */
const CHANNELS = 4;
const SILENT_MS = 30_000;
const SILENT_MAX = 64;

/**
 * Asks the host's resolvers, from the host's network. UDP with a time-out for each resolver in
 * turn, TCP for what came by TCP. A reply counts only from the address that was asked, with the ID
 * and the question that were sent. Idle, it has no socket and no timer.
 */
export class Forwarder {
  readonly #cache: DnsCache;
  readonly #channels = new Map<string, Channel>();
  readonly #sharing = new Map<string, Promise<Buffer | undefined>>();
  readonly #nowMs: () => number;
  /** Resolvers that did not answer, and until when they are asked last. */
  readonly #silent = new Map<string, number>();
  #pendingCount = 0;
  #idle: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(clock: Pick<Clock, 'monotonicMs'>) {
    this.#nowMs = clock.monotonicMs;
    this.#cache = new DnsCache(clock.monotonicMs);
  }

  /** Questions under way. */
  get pending(): number {
    return this.#pendingCount;
  }

  /** The reply for the client, or undefined when no resolver gave one. */
  async ask(
    query: DnsQuery,
    message: Uint8Array,
    upstreams: readonly Upstream[],
    transport: 'udp' | 'tcp',
  ): Promise<Buffer | undefined> {
    const servers = upstreams.slice(0, LIMITS.dnsUpstreamsMax);
    const place = servers.map(({ address, port }) => `${address}#${port}`).join(',');
    const key = `${cacheKey(query)} ${transport} ${place}`;
    const cached = this.#cache.get(key, query);
    if (cached !== undefined) return cached;
    let shared = this.#sharing.get(key);
    if (shared === undefined) {
      if (this.#pendingCount >= LIMITS.dnsPendingMax || this.#closed) return undefined;
      shared = this.#askAll(query, message, servers, transport, key);
      this.#sharing.set(key, shared);
      void shared.finally(() => this.#sharing.delete(key));
    }
    const reply = await shared;
    return reply === undefined ? undefined : readdress(reply, query, [], 0);
  }

  async #askAll(
    query: DnsQuery,
    message: Uint8Array,
    servers: readonly Upstream[],
    transport: 'udp' | 'tcp',
    key: string,
  ): Promise<Buffer | undefined> {
    this.#pendingCount += 1;
    try {
      let last: Buffer | undefined;
      for (const upstream of this.#healthyFirst(servers)) {
        if (this.#closed) break;
        const reply =
          transport === 'udp'
            ? await this.#askUdp(query, message, upstream)
            : await askTcp(query, message, upstream);
        this.#remember(upstream, reply !== undefined);
        if (reply === undefined) continue;
        const facts = parseReply(reply, query.question.length);
        if (facts === undefined) continue;
        last = reply;
        // A resolver that is ill itself says SERVFAIL or REFUSED: the next one may know.
        if (facts.rcode === 2 || facts.rcode === 5) continue;
        this.#cache.put(key, reply, facts);
        return reply;
      }
      return last;
    } finally {
      this.#pendingCount -= 1;
      this.#scheduleIdle();
    }
  }

  /** In the order given, but those that were silent a while ago last. */
  #healthyFirst(servers: readonly Upstream[]): Upstream[] {
    const now = this.#nowMs();
    const isSilent = ({ address }: Upstream): boolean => (this.#silent.get(address) ?? 0) > now;
    return [...servers.filter((each) => !isSilent(each)), ...servers.filter(isSilent)];
  }

  #remember({ address }: Upstream, answered: boolean): void {
    this.#silent.delete(address);
    if (answered) return;
    if (this.#silent.size >= SILENT_MAX) this.#silent.clear();
    this.#silent.set(address, this.#nowMs() + SILENT_MS);
  }

  #channel(family: 4 | 6): Channel {
    const name = `${family}.${randomInt(CHANNELS)}`;
    const found = this.#channels.get(name);
    if (found !== undefined) return found;
    const socket = dgram.createSocket(family === 4 ? 'udp4' : 'udp6');
    const channel: Channel = { socket, pending: new Map() };
    socket.on('message', (reply, from) => {
      const waiting = reply.length < 2 ? undefined : channel.pending.get(reply.readUInt16BE(0));
      if (waiting === undefined) return;
      const { upstream, question, settle } = waiting;
      if (from.port !== upstream.port || from.address !== upstream.address) return;
      if (isReplyTo(reply, reply.readUInt16BE(0), question)) settle(reply);
    });
    socket.on('error', () => {
      this.#channels.delete(name);
      socket.close();
      for (const { settle } of channel.pending.values()) settle(undefined);
    });
    this.#channels.set(name, channel);
    return channel;
  }

  async #askUdp(
    query: DnsQuery,
    message: Uint8Array,
    upstream: Upstream,
  ): Promise<Buffer | undefined> {
    const { socket, pending } = this.#channel(net.isIPv6(upstream.address) ? 6 : 4);
    let id = randomInt(65_536);
    while (pending.has(id)) id = randomInt(65_536);
    return await new Promise<Buffer | undefined>((resolve) => {
      const timer = setTimeout(() => settle(undefined), LIMITS.dnsUpstreamTimeoutMs);
      const settle = (reply: Buffer | undefined): void => {
        clearTimeout(timer);
        pending.delete(id);
        resolve(reply);
      };
      pending.set(id, { question: query.question, upstream, settle });
      socket.send(withId(message, id), upstream.port, upstream.address, (error) => {
        if (error !== null) settle(undefined);
      });
    });
  }

  /** Closes the sockets a while after the last question. */
  #scheduleIdle(): void {
    clearTimeout(this.#idle);
    this.#idle = undefined;
    if (this.#pendingCount > 0 || this.#closed) return;
    this.#idle = setTimeout(() => this.#closeChannels(), LIMITS.dnsForwarderIdleMs);
    this.#idle.unref();
  }

  #closeChannels(): void {
    for (const { socket, pending } of this.#channels.values()) {
      socket.close();
      for (const { settle } of pending.values()) settle(undefined);
    }
    this.#channels.clear();
  }

  /** Forgets what was learnt: the host's resolvers changed. */
  clear(): void {
    this.#cache.clear();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#idle);
    this.#closeChannels();
    this.#cache.clear();
  }
}

/** One question over a connection of its own. */
async function askTcp(
  query: DnsQuery,
  message: Uint8Array,
  { address, port }: Upstream,
): Promise<Buffer | undefined> {
  const id = randomInt(65_536);
  const socket = net.connect({ host: address, port });
  return await new Promise<Buffer | undefined>((resolve) => {
    let got = Buffer.alloc(0);
    const done = (reply: Buffer | undefined): void => {
      socket.destroy();
      resolve(reply);
    };
    socket.setTimeout(LIMITS.dnsUpstreamTimeoutMs, () => done(undefined));
    socket.on('error', () => done(undefined));
    socket.on('close', () => done(undefined));
    socket.on('data', (chunk: Buffer) => {
      got = Buffer.concat([got, chunk]);
      const length = got.length < 2 ? 0 : got.readUInt16BE(0);
      if (got.length < 2 || got.length < 2 + length) return;
      const reply = got.subarray(2, 2 + length);
      done(isReplyTo(reply, id, query.question) ? reply : undefined);
    });
    const frame = Buffer.alloc(2);
    frame.writeUInt16BE(message.length);
    socket.write(Buffer.concat([frame, withId(message, id)]));
  });
}
