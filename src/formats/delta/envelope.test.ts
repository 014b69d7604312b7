import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { DiffId, Digest, ImageId } from '../../base/digest.ts';
import { EngineError } from '../../base/errors.ts';
import { type DeltaEnvelope, decodeEnvelope, encodeEnvelope } from './envelope.ts';

const sha = <T>(digit: string): T => `sha256:${digit.repeat(64)}` as T;
const envelope: DeltaEnvelope = {
  base: { id: sha<ImageId>('1'), diffIds: [sha<DiffId>('a'), sha<DiffId>('b')] },
  target: { id: sha<ImageId>('2'), diffIds: [sha<DiffId>('a'), sha<DiffId>('c')] },
  manifest: sha<Digest>('3'),
  config: Buffer.from('{"architecture":"arm64"}'),
  parts: [undefined, { digest: sha<Digest>('d'), sizeBytes: 9, frames: [4, 5], tarBytes: 2048 }],
};

test('an envelope comes back', () => {
  assert.deepEqual(decodeEnvelope(encodeEnvelope(envelope)), envelope);
});

test('a later version is told apart from damage', () => {
  const text = encodeEnvelope(envelope).replace('"version":1', '"version":2');
  assert.throws(
    () => decodeEnvelope(text),
    (error) =>
      error instanceof EngineError &&
      error.kind === 'notImplemented' &&
      /version 2/.test(error.message),
  );
});

test('a later version may say other things, and is told apart all the same', () => {
  assert.throws(
    () => decodeEnvelope('{"version":3,"parts":"elsewhere"}'),
    (error) => error instanceof EngineError && error.kind === 'notImplemented',
  );
});

test('envelopes that do not add up are refused', () => {
  const spoil = (change: Partial<DeltaEnvelope>) => encodeEnvelope({ ...envelope, ...change });
  const part = { digest: sha<Digest>('d'), sizeBytes: 9, frames: [9], tarBytes: 1 };
  const cases: [string, RegExp][] = [
    [spoil({ parts: [] }), /part for each layer/],
    [spoil({ parts: [undefined, undefined] }), /not in the base/],
    [spoil({ parts: [undefined, { ...part, tarBytes: 2 ** 51 }] }), /impossible length/],
    [spoil({ parts: [undefined, { ...part, sizeBytes: -1 }] }), /impossible length/],
    [spoil({ parts: [undefined, { ...part, frames: [] }] }), /frames of a part/],
    [spoil({ parts: [undefined, { ...part, frames: [8] }] }), /frames of a part/],
    [spoil({ parts: [undefined, { ...part, frames: [10, -1] }] }), /frames of a part/],
    [
      encodeEnvelope(envelope).replaceAll('sha256:a', 'sha512:a'),
      /unsupported digest|invalid diffID/,
    ],
    ['{', /invalid JSON/],
  ];
  for (const [text, message] of cases) assert.throws(() => decodeEnvelope(text), message);
});

test('a cut or a flipped bit anywhere in an envelope is a refusal, or an envelope that adds up', () => {
  const text = encodeEnvelope(envelope);
  const orRefused = (bad: string, why: string): boolean => {
    try {
      const { target, parts } = decodeEnvelope(bad);
      assert.equal(parts.length, target.diffIds.length, why);
      return false;
    } catch (error) {
      assert.ok(error instanceof EngineError, `${why}: ${String(error)}`);
      assert.equal(error.message.split('\n').length, 1, error.message);
      return true;
    }
  };
  let refused = 0;
  for (let at = 0; at < text.length; at++) {
    assert.ok(orRefused(text.slice(0, at), `cut at ${at}`), `cut at ${at}`);
    const flipped = Buffer.from(text);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << (at % 8));
    if (orRefused(flipped.toString('utf8'), `flipped at ${at}`)) refused += 1;
  }
  assert.ok(refused > text.length / 3, `${refused} of ${text.length}`);
});
