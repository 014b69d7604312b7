import { LIMITS } from '../../../base/limits.ts';
import { type DnsQuery, type DnsReply, readdress } from '../../../formats/dns.ts';

type Entry = {
  readonly reply: Uint8Array;
  readonly ttlOffsets: readonly number[];
  readonly storedMs: number;
  readonly untilMs: number;
};

/** What tells two queries apart: name, type, class, and the flags that change the answer. */
export function cacheKey({ name, type, class: cls, flags, edns }: DnsQuery): string {
  // RD, AD and CD; DO of EDNS.
  return `${name} ${type} ${cls} ${flags & 0x0130} ${edns === undefined ? '' : edns.flags & 0x8000}`;
}

/** Replies of the host's resolvers, least recently used out first. Bounded in count and bytes. */
export class DnsCache {
  readonly #entries = new Map<string, Entry>();
  readonly #nowMs: () => number;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  get size(): number {
    return this.#entries.size;
  }

  get(key: string, query: DnsQuery): Buffer | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    this.#entries.delete(key);
    const now = this.#nowMs();
    if (now >= entry.untilMs) return undefined;
    this.#entries.set(key, entry);
    const ageSec = Math.floor((now - entry.storedMs) / 1000);
    return readdress(entry.reply, query, entry.ttlOffsets, ageSec);
  }

  put(key: string, reply: Uint8Array, facts: DnsReply): void {
    const ttlSec = Math.min(facts.ttlSec, LIMITS.dnsCacheSecMax);
    if (ttlSec <= 0 || reply.length > LIMITS.dnsCachedReplyBytesMax) return;
    const storedMs = this.#nowMs();
    this.#entries.delete(key);
    this.#entries.set(key, {
      reply: Uint8Array.from(reply),
      ttlOffsets: facts.ttlOffsets,
      storedMs,
      untilMs: storedMs + ttlSec * 1000,
    });
    for (const oldest of this.#entries.keys()) {
      if (this.#entries.size <= LIMITS.dnsCacheEntriesMax) break;
      this.#entries.delete(oldest);
    }
  }

  clear(): void {
    this.#entries.clear();
  }
}
