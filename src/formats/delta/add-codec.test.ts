import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { deflateRawSync } from 'node:zlib';
import fc from 'fast-check';
import { EngineError } from '../../base/errors.ts';
import { checkAddHead, decodeAddBlock, encodeAdd, type ReadOld } from './add-codec.ts';
import { matchFiles } from './match.ts';
import { ByteReader, ByteWriter } from './varint.ts';

const reader =
  (old: Uint8Array): ReadOld =>
  (into, position) => {
    if (position + into.length > old.length) return false;
    into.set(old.subarray(position, position + into.length));
    return true;
  };

function decode(old: Uint8Array, coded: Uint8Array): Buffer {
  const from = new ByteReader(coded);
  const out: Uint8Array[] = [];
  let oldAt = 0;
  for (let outputBytes = from.unsigned(); outputBytes > 0; outputBytes = from.unsigned()) {
    const columns = [from.unsigned(), from.unsigned(), from.unsigned(), from.unsigned()];
    const head = checkAddHead({ outputBytes, columns });
    const body = from.take(columns.reduce((a, b) => a + b, 0));
    const block = new Uint8Array(outputBytes);
    oldAt = decodeAddBlock(head, body, block, oldAt, reader(old));
    out.push(block);
  }
  return Buffer.concat(out);
}

const code = (old: Uint8Array, target: Uint8Array): Buffer =>
  Buffer.concat([...encodeAdd(old, target, matchFiles(old, target))]);

const noise = (seed: string, bytes: number): Buffer =>
  createHash('shake256', { outputLength: bytes }).update(seed).digest();

test('what is coded comes back, whatever the files', () => {
  const edit = fc.record({
    at: fc.nat(),
    drop: fc.nat({ max: 300 }),
    insert: fc.uint8Array({ maxLength: 60 }),
  });
  const input = fc.tuple(
    fc.nat({ max: 8 }),
    fc.nat({ max: 5000 }),
    fc.array(edit, { maxLength: 8 }),
  );
  fc.assert(
    fc.property(input, ([seed, bytes, edits]) => {
      const old = seed === 0 ? Buffer.alloc(bytes) : noise(String(seed), bytes);
      let target: Buffer = old;
      for (const { at, drop, insert } of edits) {
        const from = at % (target.length + 1);
        target = Buffer.concat([target.subarray(0, from), insert, target.subarray(from + drop)]);
      }
      assert.deepEqual(decode(old, code(old, target)), target);
      assert.deepEqual(decode(target, code(target, old)), old);
    }),
    { numRuns: 500 },
  );
});

test('shifted addresses cost a few bytes each, across blocks too', () => {
  const old = noise('program', 5 << 20);
  const target = Buffer.concat([
    old.subarray(0, 1 << 20),
    noise('new', 100),
    old.subarray(1 << 20),
  ]);
  for (let at = 5000; at < target.length; at += 10_000) {
    target[at] = ((target[at] ?? 0) + 0x40) & 0xff;
  }
  const coded = code(old, target);
  assert.deepEqual(decode(old, coded), target);
  assert.ok(coded.length < 100 + 530 * 5, `${coded.length} bytes`);
});

test('what moves by the same distance has one correction, whichever bytes it changes', () => {
  const old = Buffer.alloc(4000);
  for (let at = 0; at < old.length; at += 8) old.writeUInt32LE(0x10_0000 + at * 977, at);
  const target = Buffer.from(old);
  for (let at = 0; at < old.length; at += 8) {
    target.writeUInt32LE(old.readUInt32LE(at) + 0x1fe43, at);
  }
  const coded = code(old, target);
  assert.deepEqual(decode(old, coded), target);
  assert.deepEqual(decode(target, code(target, old)), old);
  // Of each word the gap before it, a byte, and the same three bytes.
  assert.ok(coded.length < 500 * 4 + 20, `${coded.length} bytes`);
  assert.ok(deflateRawSync(coded).length < 60, `${deflateRawSync(coded).length} bytes packed`);
});

test('a block that lies is refused, within bounds', () => {
  const old = noise('old', 4000);
  const target = Buffer.concat([old.subarray(100, 3000), noise('x', 50), old.subarray(0, 900)]);
  const coded = code(old, target);
  for (let at = 0; at < coded.length; at++) {
    for (const flip of [0x01, 0x80, 0xff]) {
      const bad = Buffer.from(coded);
      bad[at] = (bad[at] ?? 0) ^ flip;
      try {
        decode(old, bad);
      } catch (error) {
        assert.ok(error instanceof EngineError && error.kind === 'dataLoss', String(error));
      }
    }
    assert.throws(() => decode(old, coded.subarray(0, at)), EngineError, `cut at ${at}`);
  }
});

test('integers come back; longer ones are refused', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), fc.integer(), (a, b) => {
      const writer = new ByteWriter();
      writer.unsigned(a);
      writer.signed(b);
      const from = new ByteReader(writer.finish());
      assert.deepEqual([from.unsigned(), from.signed(), from.atEnd], [a, b, true]);
    }),
  );
  assert.throws(() => new ByteReader(new Uint8Array(9).fill(0xff)).unsigned(), /too large/);
});
