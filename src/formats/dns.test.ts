import assert from 'node:assert/strict';
import { test } from 'node:test';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { formatIp, parseIp } from '../base/ip.ts';
import {
  DNS_TYPE,
  encodeAnswer,
  isReplyTo,
  isStandardQuery,
  parseQuery,
  parseReply,
  RCODE,
  readdress,
  reverseAddress,
  withId,
} from './dns.ts';

const label = fc
  .array(fc.constantFrom('a', 'b', 'X', 'Y', '0', '9', '-', '_'), { minLength: 1, maxLength: 63 })
  .map((letters) => letters.join(''));
const name = fc
  .array(label, { minLength: 1, maxLength: 6 })
  .map((labels) => labels.join('.'))
  .filter((text) => text.length < 250);

function question(given: {
  name: string;
  type?: 'A' | 'AAAA' | 'PTR' | 'MX';
  id?: number;
  edns?: boolean;
}) {
  return dnsPacket.encode({
    type: 'query',
    id: given.id ?? 7,
    flags: dnsPacket.RECURSION_DESIRED,
    questions: [{ type: given.type ?? 'A', name: given.name }],
    ...(given.edns === true
      ? {
          additionals: [
            { type: 'OPT', name: '.', udpPayloadSize: 1232, flags: 0x8000, options: [] },
          ],
        }
      : {}),
  } as object);
}

function query(given: Parameters<typeof question>[0]) {
  const parsed = parseQuery(question(given));
  assert.ok(parsed !== undefined);
  return parsed;
}

function ip(text: string) {
  const parsed = parseIp(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

test('questions of another codec are read', () => {
  fc.assert(
    fc.property(name, fc.nat(65_535), fc.boolean(), (text, id, edns) => {
      const parsed = query({ name: text, type: 'AAAA', id, edns });
      assert.equal(parsed.name, text.toLowerCase());
      assert.deepEqual([parsed.id, parsed.type, parsed.class], [id, DNS_TYPE.AAAA, 1]);
      assert.ok(isStandardQuery(parsed));
      assert.equal(parsed.udpBytes, edns ? 1232 : 512);
      assert.equal(parsed.edns?.flags, edns ? 0x8000 : undefined);
    }),
  );
});

test('answers are read by another codec', () => {
  fc.assert(
    fc.property(name, fc.array(fc.ipV4(), { maxLength: 8 }), fc.boolean(), (text, ips, edns) => {
      const asked = query({ name: text, edns });
      const answers = ips.map((each) => ({ ip: ip(each) }));
      const bytes = encodeAnswer(asked, { rcode: RCODE.OK, answers, ttlSec: 60, bytesMax: 4096 });
      const decoded = dnsPacket.decode(bytes);
      assert.equal(decoded.id, asked.id);
      assert.deepEqual(
        decoded.answers?.map((each) =>
          'data' in each ? [each.name, each.data, 'ttl' in each ? each.ttl : 0] : [],
        ),
        ips.map((each) => [text, each, 60]),
      );
      assert.equal(decoded.additionals?.length, edns ? 1 : 0);
      assert.ok(isReplyTo(bytes, asked.id, asked.question));
    }),
  );
});

test('names and IPv6 addresses are answers too; what does not fit is marked', () => {
  const ptr = encodeAnswer(query({ name: '2.0.17.172.in-addr.arpa', type: 'PTR' }), {
    ...{ rcode: RCODE.OK, answers: [{ name: 'web.app' }], ttlSec: 1, bytesMax: 512 },
  });
  const first = dnsPacket.decode(ptr).answers?.[0];
  assert.equal(first !== undefined && 'data' in first ? first.data : '', 'web.app');
  const many = Array.from({ length: 40 }, (_, i) => ({ ip: ip(`fd00::${i.toString(16)}`) }));
  const cut = encodeAnswer(query({ name: 'web', type: 'AAAA' }), {
    ...{ rcode: RCODE.OK, answers: many, ttlSec: 1, bytesMax: 512 },
  });
  assert.ok(cut.length <= 512);
  assert.ok(dnsPacket.decode(cut).flag_tc);
  assert.ok((dnsPacket.decode(cut).answers?.length ?? 0) > 10);
});

test('what is not one question of a client is not taken', () => {
  const good = question({ name: 'web.example' });
  const bad = (change: (bytes: Buffer) => Buffer | undefined) => {
    const copy = Buffer.from(good);
    assert.equal(parseQuery(change(copy) ?? copy), undefined);
  };
  bad((b) => void b.writeUInt16BE(0x8100, 2)); // an answer
  bad((b) => void b.writeUInt16BE(2, 4)); // two questions
  bad((b) => void b.writeUInt16BE(0, 4));
  bad((b) => void b.writeUInt16BE(1, 6)); // with an answer
  bad((b) => void b.writeUInt8(0xc0, 12)); // a pointer in the question
  bad((b) => void b.writeUInt8(64, 12)); // a label that is too long
  bad((b) => b.subarray(0, b.length - 1));
  bad((b) => b.subarray(0, 11));
  bad((b) => void b.writeUInt16BE(9, 10)); // records that are not there
  const update = Buffer.from(good);
  update.writeUInt16BE(5 << 11, 2);
  const parsed = parseQuery(update);
  assert.ok(parsed !== undefined && !isStandardQuery(parsed));
});

test('a reply is kept as long as its records say', () => {
  const asked = query({ name: 'a.example' });
  const reply = (packet: object) =>
    dnsPacket.encode({
      type: 'response',
      id: 7,
      questions: [{ type: 'A', name: 'a.example' }],
      ...packet,
    });
  const record = (ttl: number, data: string) => ({ type: 'A', name: 'a.example', ttl, data });
  const bytes = asked.question.length;
  const positive = reply({ answers: [record(300, '1.1.1.1'), record(60, '1.1.1.2')] });
  const facts = parseReply(positive, bytes);
  assert.equal(facts?.ttlSec, 60);
  const soa = { mname: 'ns', rname: 'h', serial: 1, refresh: 1, retry: 1, expire: 1, minimum: 30 };
  const negative = reply({
    flags: 3,
    authorities: [{ type: 'SOA', name: 'example', ttl: 900, data: soa }],
  });
  assert.equal(parseReply(negative, bytes)?.ttlSec, 30);
  assert.equal(parseReply(reply({ flags: 2 }), bytes)?.ttlSec, 0, 'a failure is not kept');
  assert.equal(
    parseReply(reply({ flags: 0x200, answers: [record(9, '1.1.1.1')] }), bytes)?.ttlSec,
    0,
  );
  assert.equal(parseReply(positive.subarray(0, positive.length - 1), bytes), undefined);

  const other = query({ name: 'A.Example', id: 99 });
  const aged = dnsPacket.decode(readdress(positive, other, facts?.ttlOffsets ?? [], 45));
  assert.equal(aged.id, 99);
  assert.equal(aged.questions?.[0]?.name, 'A.Example');
  assert.deepEqual(
    aged.answers?.map((each) => ('ttl' in each ? each.ttl : 0)),
    [255, 15],
  );
});

test('only a reply to the question counts', () => {
  const asked = query({ name: 'a.example' });
  const reply = encodeAnswer(asked, { rcode: 0, answers: [], ttlSec: 0, bytesMax: 512 });
  assert.ok(isReplyTo(reply, 7, asked.question));
  assert.ok(isReplyTo(reply, 7, query({ name: 'A.EXAMPLE' }).question), 'letters of any case');
  assert.ok(!isReplyTo(reply, 8, asked.question));
  assert.ok(!isReplyTo(reply, 7, query({ name: 'b.example' }).question));
  assert.ok(!isReplyTo(reply, 7, query({ name: 'a.example', type: 'AAAA' }).question));
  assert.ok(!isReplyTo(question({ name: 'a.example' }), 7, asked.question), 'a question is none');
  assert.equal(withId(reply, 513).readUInt16BE(0), 513);
});

test('reverse names give their addresses back', () => {
  fc.assert(
    fc.property(fc.ipV4(), (text) => {
      const found = reverseAddress(`${text.split('.').reverse().join('.')}.in-addr.arpa`);
      assert.equal(found === undefined ? '' : formatIp(found), text);
    }),
  );
  const digits = '2'.padEnd(32, '0').split('').join('.');
  const found = reverseAddress(`${digits}.ip6.arpa`);
  assert.equal(found === undefined ? '' : formatIp(found), '::2');
  assert.equal(reverseAddress('300.1.1.1.in-addr.arpa'), undefined);
  assert.equal(reverseAddress('web'), undefined);
});
