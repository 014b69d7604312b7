import assert from 'node:assert/strict';
import { test } from 'node:test';
import dnsPacket from 'dns-packet';
import { LIMITS } from '../../../base/limits.ts';
import { type DnsQuery, parseQuery, parseReply } from '../../../formats/dns.ts';
import { cacheKey, DnsCache } from './cache.ts';

function queryFor(name: string, type: 'A' | 'AAAA' = 'A'): DnsQuery {
  const query = parseQuery(
    dnsPacket.encode({ type: 'query', id: 7, flags: 0x100, questions: [{ type, name }] }),
  );
  assert.ok(query !== undefined);
  return query;
}

function replyFor(name: string, ttl: number): Buffer {
  return dnsPacket.encode({
    type: 'response',
    id: 1,
    flags: 0x180,
    questions: [{ type: 'A', name }],
    answers: [{ type: 'A', name, ttl, data: '192.0.2.1' }],
  });
}

function put(cache: DnsCache, name: string, ttl: number): void {
  const query = queryFor(name);
  const reply = replyFor(name, ttl);
  const facts = parseReply(reply, query.question.length);
  assert.ok(facts !== undefined);
  cache.put(cacheKey(query), reply, facts);
}

function ttlOf(cache: DnsCache, name: string): number | undefined {
  const query = queryFor(name);
  const found = cache.get(cacheKey(query), query);
  const answer = found === undefined ? undefined : dnsPacket.decode(found).answers?.[0];
  return answer?.type === 'A' ? answer.ttl : undefined;
}

test('a reply ages, and is gone with its time, five minutes at the latest', () => {
  let nowMs = 1000;
  const cache = new DnsCache(() => nowMs);
  put(cache, 'short.example', 10);
  put(cache, 'long.example', 86_400);
  put(cache, 'none.example', 0);
  assert.deepEqual([ttlOf(cache, 'short.example'), ttlOf(cache, 'none.example')], [10, undefined]);
  nowMs += 4000;
  assert.equal(ttlOf(cache, 'short.example'), 6);
  nowMs += 6000;
  assert.equal(ttlOf(cache, 'short.example'), undefined);
  assert.ok(ttlOf(cache, 'long.example') !== undefined);
  nowMs += LIMITS.dnsCacheSecMax * 1000;
  assert.equal(ttlOf(cache, 'long.example'), undefined);
  assert.equal(cache.size, 0, 'what is over is let go of');
});

test('it is bounded: what was asked for least recently goes first, and large replies stay out', () => {
  const cache = new DnsCache(() => 0);
  const count = LIMITS.dnsCacheEntriesMax;
  for (let i = 0; i < count; i += 1) put(cache, `n${i}.example`, 60);
  assert.equal(ttlOf(cache, 'n0.example'), 60);
  for (let i = count; i < count + 10; i += 1) put(cache, `n${i}.example`, 60);
  assert.equal(cache.size, count);
  assert.equal(ttlOf(cache, 'n0.example'), 60, 'asked for a moment ago');
  assert.equal(ttlOf(cache, 'n1.example'), undefined);
  const facts = { rcode: 0, truncated: false, ttlSec: 60, ttlOffsets: [] };
  cache.put('large', Buffer.alloc(LIMITS.dnsCachedReplyBytesMax + 1), facts);
  assert.equal(cache.size, count);
});

test('questions that may be answered differently are kept apart', () => {
  const keys = [
    cacheKey(queryFor('a.example')),
    cacheKey(queryFor('a.example', 'AAAA')),
    cacheKey(queryFor('b.example')),
  ];
  assert.equal(new Set(keys).size, 3);
  assert.equal(cacheKey(queryFor('A.Example')), keys[0]);
});
