import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeAnswer, isReplyTo, parseQuery, parseReply, RCODE, readdress } from './dns.ts';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 2);
const seed = process.env['FUZZ_SEED'];
const options = {
  numRuns: Number.POSITIVE_INFINITY,
  interruptAfterTimeLimit: (seconds * 1000) / 2,
  ...(seed === undefined ? {} : { seed: Number(seed) }),
};

/** Bytes that look like DNS: a small header, then labels, pointers and record heads. */
const message = fc
  .tuple(
    fc.array(fc.constantFrom(0, 0, 0, 1, 1, 2, 0x80, 0xff), { minLength: 12, maxLength: 12 }),
    fc.array(
      fc.oneof(
        fc.constantFrom(
          [0],
          [0xc0, 12],
          [0xc0, 0xff],
          [63],
          [64],
          [1, 0x61],
          [3, 0x77, 0x77, 0x77],
        ),
        fc.constantFrom([0, 1, 0, 1], [0, 41, 4, 208, 0, 0, 0x80, 0, 0, 0], [0, 6, 0, 1]),
        fc.array(fc.nat(255), { maxLength: 8 }),
      ),
      { maxLength: 40 },
    ),
  )
  .map(([header, rest]) => Buffer.from([...header, ...rest.flat()]));

test('no message makes the reader of questions fail, and what it takes can be answered', () => {
  fc.assert(
    fc.property(fc.oneof(message, fc.uint8Array({ maxLength: 600 })), (bytes) => {
      const query = parseQuery(bytes);
      if (query === undefined) return;
      assert.ok(query.name.length <= 255 && query.question.length <= 259);
      const answer = { rcode: RCODE.NXDOMAIN, answers: [], ttlSec: 0, bytesMax: 512 };
      const reply = encodeAnswer(query, answer);
      assert.ok(isReplyTo(reply, query.id, query.question));
      assert.ok(parseReply(reply, query.question.length) !== undefined);
    }),
    options,
  );
});

test('no reply makes the reader of replies fail, and its TTLs lie within', () => {
  fc.assert(
    fc.property(fc.oneof(message, fc.uint8Array({ maxLength: 600 })), fc.nat(40), (bytes, q) => {
      isReplyTo(bytes, 0, bytes.subarray(12, 12 + q));
      const facts = parseReply(bytes, q);
      if (facts === undefined) return;
      for (const at of facts.ttlOffsets) assert.ok(at >= 12 && at + 4 <= bytes.length);
      const question = bytes.subarray(12, 12 + q);
      assert.equal(readdress(bytes, { id: 1, question }, facts.ttlOffsets, 5).length, bytes.length);
    }),
    options,
  );
});
