import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isEngineError } from '../base/errors.ts';
import { fromText } from './byte-string.ts';
import { LayerHeadersWriter, type LayerRecord, readLayerHeaders } from './layer-headers.ts';

function written(fill: (writer: LayerHeadersWriter) => void): Buffer {
  const parts: Buffer[] = [];
  const writer = new LayerHeadersWriter((bytes) => parts.push(Buffer.from(bytes)));
  fill(writer);
  writer.end(2 ** 40 + 5, Buffer.alloc(32, 7));
  return Buffer.concat(parts);
}

function records(file: Buffer): LayerRecord[] {
  let at = 0;
  const read = (n: number): Buffer => {
    at += n;
    return file.subarray(at - n, at);
  };
  return [...readLayerHeaders(read)].map((record) =>
    record.kind === 'raw' ? { ...record, bytes: Buffer.from(record.bytes) } : record,
  );
}

test('records come back in order, raw bytes together whatever their pieces were', () => {
  const pieces = fc.array(fc.uint8Array({ maxLength: 3000 }), { maxLength: 40 });
  fc.assert(
    fc.property(pieces, fc.nat({ max: 2 ** 31 }), (before, offset) => {
      const path = fromText('usr/lib/ä');
      const segments = Array.from({ length: 5000 }, (_, i) => ({
        offset: offset + i * 9,
        bytes: i,
      }));
      const file = written((writer) => {
        for (const piece of before) writer.raw(Buffer.from(piece));
        writer.contentsOf({ kind: 'content', path }, segments);
        writer.contentsOf({ kind: 'apart', number: 3 }, [{ offset: 2 ** 45, bytes: 1 }]);
        writer.moved(4, path);
      });
      const got = records(file);
      const raw = got.flatMap((record) => (record.kind === 'raw' ? [record.bytes] : []));
      assert.deepEqual(Buffer.concat(raw), Buffer.concat(before));
      const contents = got.filter((record) => record.kind === 'contents');
      assert.deepEqual(
        contents.flatMap((record) => record.segments),
        [...segments, { offset: 2 ** 45, bytes: 1 }],
      );
      assert.deepEqual(contents[0]?.place, { kind: 'content', path });
      assert.deepEqual(contents.at(-1)?.place, { kind: 'apart', number: 3 });
      assert.deepEqual(got.at(-2), { kind: 'moved', number: 4, count: 3, path });
      assert.deepEqual(got.at(-1), {
        kind: 'end',
        tarBytes: 2 ** 40 + 5,
        sha256: Buffer.alloc(32, 7),
      });
    }),
    { numRuns: 30 },
  );
});

test('a damaged file is one error, wherever the damage is', () => {
  const file = written((writer) => {
    writer.raw(Buffer.alloc(200, 'header'));
    writer.contentsOf({ kind: 'content', path: fromText('a') }, [{ offset: 0, bytes: 5 }]);
  });
  for (let at = 0; at < file.length; at += 1) {
    const isDamage = (error: unknown): boolean => isEngineError(error, 'dataLoss');
    assert.throws(() => records(file.subarray(0, at)), isDamage, `cut at ${at}`);
    const flipped = Buffer.from(file);
    flipped[at] = (flipped[at] ?? 0) ^ 0xff;
    try {
      records(flipped);
    } catch (error) {
      assert.ok(isDamage(error), `flipped at ${at}: ${String(error)}`);
    }
  }
});
