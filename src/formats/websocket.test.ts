import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import {
  isWebsocketKey,
  OPCODE,
  WebsocketReader,
  websocketAccept,
  websocketHeader,
} from './websocket.ts';

function clientFrame(opcode: number, payload: Uint8Array, key: Uint8Array, fin = true): Buffer {
  const header = websocketHeader(opcode, payload.length);
  header[0] = (fin ? 0x80 : 0) | opcode;
  header[1] = (header[1] ?? 0) | 0x80;
  const masked = payload.map((byte, i) => byte ^ (key[i & 3] ?? 0));
  return Buffer.concat([header, key, masked]);
}

test('the accept value is that of the example in RFC 6455, section 1.3', () => {
  assert.equal(websocketAccept('dGhlIHNhbXBsZSBub25jZQ=='), 's3pPLMBiTxaQ9kYGzzhZRbK+xOo=');
  assert.ok(isWebsocketKey('dGhlIHNhbXBsZSBub25jZQ=='));
  assert.ok(!isWebsocketKey('short'));
});

test('messages of a client come out, however they are framed and cut', () => {
  const message = fc.record({
    payload: fc.oneof(fc.uint8Array(), fc.uint8Array({ minLength: 120, maxLength: 70_000 })),
    key: fc.uint8Array({ minLength: 4, maxLength: 4 }),
    pingBetween: fc.boolean(),
  });
  fc.assert(
    fc.property(
      fc.array(message, { maxLength: 5 }),
      fc.integer({ min: 1, max: 9000 }),
      (all, n) => {
        const frames: Buffer[] = [];
        let pings = 0;
        for (const { payload, key, pingBetween } of all) {
          const half = payload.length >> 1;
          frames.push(clientFrame(OPCODE.binary, payload.subarray(0, half), key, false));
          if (pingBetween) {
            frames.push(clientFrame(OPCODE.ping, Buffer.from('p'), key));
            pings += 1;
          }
          frames.push(clientFrame(OPCODE.continuation, payload.subarray(half), key));
        }
        frames.push(clientFrame(OPCODE.close, Buffer.from([0x03, 0xe8]), Buffer.alloc(4)));
        const bytes = Buffer.concat(frames);
        const reader = new WebsocketReader();
        const events = [];
        for (let at = 0; at < bytes.length; at += n) {
          events.push(...reader.push(bytes.subarray(at, at + n)));
        }
        const data = events.flatMap((e) => (e.kind === 'data' ? [e.bytes] : []));
        assert.deepEqual(Buffer.concat(data), Buffer.concat(all.map((m) => m.payload)));
        assert.equal(events.filter((e) => e.kind === 'ping').length, pings);
        assert.deepEqual(events.at(-1), { kind: 'close', code: 1000 });
      },
    ),
    { numRuns: 60 },
  );
});

test('what RFC 6455 forbids is refused', () => {
  const key = Buffer.alloc(4);
  const unmasked = websocketHeader(OPCODE.text, 3);
  assert.throws(
    () => new WebsocketReader().push(Buffer.concat([unmasked, Buffer.alloc(9)])),
    /masked/,
  );
  assert.throws(
    () => new WebsocketReader().push(clientFrame(OPCODE.ping, Buffer.alloc(126), key)),
    /control/,
  );
  assert.throws(() => new WebsocketReader().push(clientFrame(3, Buffer.alloc(1), key)), /opcode/);
  assert.throws(
    () => new WebsocketReader().push(clientFrame(OPCODE.continuation, key, key)),
    /opcode/,
  );
});

test('any bytes give events or one error, never a hang', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 20 }), (chunks) => {
      const reader = new WebsocketReader();
      try {
        for (const chunk of chunks) reader.push(Buffer.from(chunk));
      } catch (error) {
        assert.match(String(error), /websocket: /);
      }
    }),
    { numRuns: 2000 },
  );
});
