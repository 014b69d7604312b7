import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { forgetConnection, udpPortOf } from './conntrack.ts';
import {
  attribute,
  decodeAttributes,
  decodeError,
  decodeMessages,
  encodeMessage,
  NLMSG,
  nested,
  textOf,
  u32,
  u32Of,
} from './netlink.ts';
import { decodeAddress, decodeLink, decodeRoute, RTM } from './netlink-route.ts';
import { decodeGeneration, decodeTableUse } from './nft.ts';

// ctnetlink's new connection, nftables' new generation and new table.
const [CONNECTION, GENERATION, TABLE] = [0x100, 0xa0f, 0xa00];

const bytes = fc.uint8Array({ maxLength: 40 });

test('messages and attributes come back as they went, whatever their padding', () => {
  const attributes = fc.uniqueArray(fc.tuple(fc.integer({ min: 1, max: 0x3fff }), bytes), {
    selector: ([type]) => type,
    maxLength: 8,
  });
  fc.assert(
    fc.property(fc.array(attributes, { maxLength: 5 }), (messages) => {
      const datagram = Buffer.concat(
        messages.map((list, i) =>
          encodeMessage(
            {
              type: 100 + i,
              flags: i,
              payload: Buffer.concat(list.map(([t, v]) => attribute(t, v))),
            },
            i,
          ),
        ),
      );
      const decoded = decodeMessages(datagram);
      assert.equal(decoded.length, messages.length);
      for (const [i, list] of messages.entries()) {
        const message = decoded[i];
        assert.ok(message !== undefined);
        assert.deepEqual([message.type, message.flags, message.sequence], [100 + i, i, i]);
        const found = decodeAttributes(message.payload);
        assert.equal(found.size, list.length);
        for (const [type, value] of list)
          assert.deepEqual([...(found.get(type) ?? [])], [...value]);
      }
    }),
  );
});

test('nested attributes lose their flag', () => {
  const outer = decodeAttributes(nested(9, attribute(1, u32(77))));
  const inner = decodeAttributes(outer.get(9) ?? Buffer.alloc(0));
  assert.equal(u32Of(inner.get(1)), 77);
});

test('an error gives errno and the words of the kernel', () => {
  const request = encodeMessage({ type: 16, flags: 5, payload: Buffer.alloc(0) }, 3);
  const errno = Buffer.alloc(4);
  errno.writeInt32LE(-17);
  const words = attribute(1, Buffer.from('no such thing\0'));
  const payload = Buffer.concat([errno, request, words]);
  const message = { type: NLMSG.ERROR, flags: 0x200 | 0x100, sequence: 3, payload };
  assert.deepEqual(decodeError(message), { errno: 17, text: 'no such thing' });
  assert.deepEqual(decodeError({ ...message, flags: 0 }), { errno: 17, text: '' });
});

test('no bytes make a decoder fail or read past the end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(40), (datagram, type) => {
      for (const message of decodeMessages(datagram)) {
        decodeError(message);
        for (const value of decodeAttributes(message.payload).values()) textOf(value);
      }
      for (const each of [
        RTM.NEWLINK,
        RTM.NEWADDR,
        RTM.NEWROUTE,
        CONNECTION,
        GENERATION,
        TABLE,
        type,
      ]) {
        const message = { type: each, flags: 0, sequence: 0, payload: datagram };
        decodeLink(message);
        decodeAddress(message);
        decodeRoute(message);
        decodeGeneration(message);
        decodeTableUse(message);
        udpPortOf(message);
        forgetConnection(message);
      }
    }),
    { numRuns: 2000 },
  );
});
