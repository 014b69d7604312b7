import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { brotliCompressSync, constants, gzipSync, zstdCompressSync } from 'node:zlib';
import { looksPacked } from './packed-bytes.ts';

test('what is packed is told from programs, text and what is half of each', () => {
  const program = readFileSync(process.execPath).subarray(1 << 20, 3 << 20);
  const pieces = (bytes: Buffer): Buffer[] =>
    Array.from({ length: bytes.length >> 18 }, (_, i) => bytes.subarray(i << 18, (i + 1) << 18));
  for (const packed of [
    randomBytes(1 << 20),
    gzipSync(program),
    zstdCompressSync(program),
    brotliCompressSync(program, { params: { [constants.BROTLI_PARAM_QUALITY]: 5 } }),
  ]) {
    const found = pieces(packed).map(looksPacked);
    assert(found.length > 0);
    assert(found.every(Boolean), found.join());
  }
  const noise = randomBytes(1 << 17);
  for (const plain of [
    program,
    Buffer.alloc(1 << 20),
    Buffer.alloc(1 << 20, 'some text, and some more of it\n'),
    Buffer.from(randomBytes(1 << 20).toString('base64')),
    Buffer.concat([noise, Buffer.alloc(1 << 17, 'text')]),
  ]) {
    assert(!pieces(plain).some(looksPacked));
  }
  assert(!looksPacked(randomBytes(4000)));
});
