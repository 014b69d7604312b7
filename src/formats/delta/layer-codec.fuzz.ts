import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { isEngineError } from '../../base/errors.ts';
import { decodeEnvelope } from './envelope.ts';
import { COLUMNS_BYTES_MAX, decodeLayer } from './layer-codec.ts';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 2);
const seed = process.env['FUZZ_SEED'];
const options = {
  numRuns: Number.POSITIVE_INFINITY,
  interruptAfterTimeLimit: (seconds * 1000) / 2,
  ...(seed === undefined ? {} : { seed: Number(seed) }),
};

const known = (index: number): void => assert.ok(index >= 0 && index < 3, `entry ${index}`);
const base = {
  count: 3,
  head: (index: number) => {
    known(index);
    return new Uint8Array(512);
  },
  contentBytes: (index: number) => {
    known(index);
    return [10, undefined, 5000][index];
  },
  read: (index: number, into: Uint8Array, position: number) =>
    position >= 0 && position + into.length <= ([10, 0, 5000][index] ?? 0),
};

const leb = (value: number): number[] =>
  value < 128 ? [value] : [(value % 128) | 128, ...leb(Math.floor(value / 128))];
const length = fc.oneof(
  { weight: 20, arbitrary: fc.nat(12) },
  { weight: 1, arbitrary: fc.constantFrom(2 ** 22, 2 ** 25, 2 ** 50) },
);
/** A group with plausible lengths of its columns, or some that lie, and any bytes in them. */
const group = fc
  .tuple(
    fc.integer({ min: 1, max: 5 }),
    fc.array(length, { minLength: 10, maxLength: 10 }),
    fc.uint8Array({ minLength: 120, maxLength: 400 }),
  )
  .map(([entries, columns, rest]) => Uint8Array.from([entries, ...columns.flatMap(leb), ...rest]));
/** Small numbers, which mean something everywhere. */
const small = fc.array(fc.constantFrom(0, 0, 1, 1, 2, 3, 4, 5, 127, 128, 255), { maxLength: 300 });

test('no bytes make the decoder fail otherwise than by a refusal, or ask for too much', () => {
  const stream = fc.oneof(
    group,
    fc.uint8Array({ maxLength: 300 }),
    small.map((bytes) => Uint8Array.from(bytes)),
  );
  fc.assert(
    fc.property(stream, (bytes) => {
      const sink = { raw: () => undefined, content: () => undefined, copy: () => undefined };
      const decoder = decodeLayer(base, sink);
      try {
        let at = 0;
        for (let step = decoder.next(); step.done !== true; ) {
          assert.ok(step.value <= 2 * COLUMNS_BYTES_MAX, `${step.value} bytes at once`);
          if (at + step.value > bytes.length) return;
          at += step.value;
          step = decoder.next(bytes.subarray(at - step.value, at));
        }
      } catch (error) {
        if (!isEngineError(error, 'dataLoss')) throw error;
      }
    }),
    options,
  );
});

test('no text makes the reader of envelopes fail otherwise than by a refusal', () => {
  const digest = fc.constantFrom(`sha256:${'a'.repeat(64)}`, 'sha256:', '');
  const side = fc.record({ config: digest, diffIds: fc.array(digest, { maxLength: 3 }) });
  const number = fc.oneof(fc.integer(), fc.constantFrom(2 ** 50, 2 ** 53, -1));
  const frames = fc.array(number, { maxLength: 2 });
  const part = fc.oneof(
    fc.record({ digest, size: number, frames, tarBytes: number }),
    fc.record({ digest, size: number, tarBytes: number }).map((one) => ({
      ...one,
      frames: [one.size],
    })),
  );
  const envelope = fc.record({
    ...{ version: fc.constantFrom(1, 1, 1, 2, 0), base: side, target: side, manifest: digest },
    ...{ config: fc.string(), parts: fc.array(fc.option(part), { maxLength: 3 }) },
  });
  const text = fc.oneof(
    fc.json(),
    fc.string(),
    envelope.map((value) => JSON.stringify(value)),
  );
  fc.assert(
    fc.property(text, (json) => {
      try {
        const { parts } = decodeEnvelope(json);
        for (const each of parts) assert.ok((each?.tarBytes ?? 0) <= 2 ** 40);
      } catch (error) {
        if (!isEngineError(error)) throw error;
      }
    }),
    options,
  );
});
