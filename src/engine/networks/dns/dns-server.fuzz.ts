import assert from 'node:assert/strict';
import { test } from 'node:test';
import dnsPacket from 'dns-packet';
import fc from 'fast-check';
import { RCODE } from '../../../formats/dns.ts';
import { askTcp, askUdp, serveUpstream, serveZone } from './fixture.ts';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 2);
const seed = process.env['FUZZ_SEED'];

const good = dnsPacket.encode({
  type: 'query',
  id: 0x600d,
  questions: [{ type: 'A', name: 'web' }],
});

/** A question with some bytes changed, cut or added, or just bytes. */
const hostile = fc.oneof(
  fc.uint8Array({ maxLength: 700 }),
  fc
    .tuple(
      fc.array(fc.tuple(fc.nat(40), fc.nat(255)), { maxLength: 6 }),
      fc.nat(40),
      fc.uint8Array(),
    )
    .map(([changes, cut, tail]) => {
      const bytes = Buffer.concat([good, tail]);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return bytes.subarray(0, Math.max(1, bytes.length - cut));
    }),
);

test('hostile clients and resolvers leave the server serving', async () => {
  // The resolver answers with what was made up for the question, whatever that is.
  let replies: readonly Uint8Array[] = [];
  using outside = await serveUpstream((query) =>
    replies.map((each) => Buffer.concat([query.subarray(0, 2), each])),
  );
  using server = serveZone({
    lookUp: ({ name, type }) =>
      name === 'web' && type === 1
        ? { rcode: RCODE.OK, answers: [{ ip: { family: 4, value: 1n } }] }
        : 'forward',
    upstreams: () => [outside.upstream],
  });
  await fc.assert(
    fc.asyncProperty(
      fc.array(hostile, { maxLength: 10 }),
      fc.array(hostile, { maxLength: 3 }),
      fc.boolean(),
      async (messages, answers, overTcp) => {
        replies = answers;
        if (overTcp) await askTcp(server.tcp, Buffer.concat(messages), 30);
        else await askUdp(server.udp, messages, 5);
        const reply = await askUdp(server.udp, [good]);
        assert.ok(reply !== undefined, 'it answers no more');
        assert.equal(dnsPacket.decode(reply).answers?.length, 1);
        assert.deepEqual(server.errors, []);
      },
    ),
    {
      numRuns: Number.POSITIVE_INFINITY,
      interruptAfterTimeLimit: seconds * 1000,
      ...(seed === undefined ? {} : { seed: Number(seed) }),
    },
  );
});
