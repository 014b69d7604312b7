import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { EngineError } from '../../base/errors.ts';
import { paddingBytes } from './head-codec.ts';
import { type BaseEntries, decodeLayer } from './layer-codec.ts';
import { type Coded, LayerEncoder, SourceIndex, type TargetEntry } from './layer-encoder.ts';

/** A header of the right length; its bytes need not be a tar's for the codec. */
function head(path: string, mtime: number, bytes: number): Uint8Array {
  const block = Buffer.alloc(512);
  block.write(path.slice(0, 99), 0);
  block.write(`${bytes.toString(8).padStart(11, '0')}\0`, 124);
  block.write(`${mtime.toString(8).padStart(11, '0')}\0`, 136);
  return block;
}

const file = (path: string, content: Uint8Array, mtime = 1): TargetEntry => ({
  path,
  head: head(path, mtime, content.length),
  content,
});

/** The archive's bytes that entries stand for. */
function archive(entries: readonly TargetEntry[], trailer: Uint8Array): Buffer {
  const parts = entries.flatMap((entry) => [
    entry.head,
    entry.content,
    new Uint8Array(paddingBytes(entry.content.length)),
  ]);
  return Buffer.concat([...parts, trailer]);
}

function encode(base: readonly TargetEntry[], target: readonly TargetEntry[], trailer: Uint8Array) {
  const sources = base.map(({ path, head: bytes, content }) => ({
    path,
    head: bytes,
    digest: content.length === 0 ? undefined : createHash('sha256').update(content).digest('hex'),
    contentBytes: content.length,
    read: () => content,
  }));
  const out: Uint8Array[] = [];
  const report: Coded[] = [];
  const encoder = new LayerEncoder(
    new SourceIndex(sources),
    (bytes) => void out.push(Uint8Array.from(bytes)),
    (coded) => void report.push(coded),
  );
  for (const entry of target) encoder.add(entry);
  encoder.end(trailer);
  return { bytes: Buffer.concat(out), report };
}

function entriesOf(base: readonly TargetEntry[]): BaseEntries {
  return {
    count: base.length,
    head: (i) => base[i]?.head ?? new Uint8Array(512),
    contentBytes: (i) => base[i]?.content.length || undefined,
    read: (i, into, position) => {
      const content = base[i]?.content ?? new Uint8Array();
      if (position + into.length > content.length) return false;
      into.set(content.subarray(position, position + into.length));
      return true;
    },
  };
}

function decode(base: readonly TargetEntry[], coded: Uint8Array): Buffer {
  const out: Uint8Array[] = [];
  const keep = (bytes: Uint8Array): void => void out.push(Uint8Array.from(bytes));
  const decoder = decodeLayer(entriesOf(base), {
    raw: keep,
    content: keep,
    copy: (i) => keep(base[i]?.content ?? new Uint8Array()),
  });
  let at = 0;
  for (let step = decoder.next(); step.done !== true; ) {
    const piece = coded.subarray(at, at + step.value);
    if (piece.length < step.value) throw new EngineError('dataLoss', 'cut off');
    at += step.value;
    step = decoder.next(piece);
  }
  assert.equal(at, coded.length, 'nothing is left over');
  return Buffer.concat(out);
}

const content = fc
  .tuple(fc.nat({ max: 4 }), fc.nat({ max: 3000 }), fc.nat({ max: 50 }))
  .map(([seed, bytes, edit]) => {
    const noise = createHash('shake256', { outputLength: bytes }).update(`${seed}`).digest();
    return edit === 0
      ? noise
      : Buffer.concat([noise.subarray(0, edit), Buffer.from('edit'), noise]);
  });
const entries = fc.uniqueArray(
  fc.tuple(fc.stringMatching(/^[a-d]{1,2}\/[ab][0-9]?$/), content, fc.nat({ max: 99 })),
  { selector: ([path]) => path, maxLength: 12 },
);
const make = (list: [string, Uint8Array, number][]): TargetEntry[] =>
  list.map(([path, bytes, mtime]) => file(path, bytes, mtime));

test('a layer comes back byte for byte, whatever the base and the order', () => {
  fc.assert(
    fc.property(entries, entries, fc.nat({ max: 2000 }), (a, b, trailerBytes) => {
      const [base, target] = [make(a), make(b)];
      const trailer = new Uint8Array(trailerBytes);
      const { bytes } = encode(base, target, trailer);
      assert.deepEqual(decode(base, bytes), archive(target, trailer));
      assert.deepEqual(
        encode(base, target, trailer).bytes,
        bytes,
        'the same input, the same bytes',
      );
    }),
    { numRuns: 300 },
  );
});

test('a layer of several groups comes back, however many entries each has', () => {
  const large = (seed: string): Buffer =>
    createHash('shake256', { outputLength: 4_200_000 }).update(seed).digest();
  const target = [
    file('large', large('1'), 5),
    file('larger', large('2'), 6),
    file('a', Buffer.from('a'), 7),
    file('ab', Buffer.from('ab'), 8),
    file('largest', large('3'), 9),
    file('abc', Buffer.from('abc'), 10),
  ];
  for (const base of [[], [file('ab', Buffer.from('x'), 1), file('larger', Buffer.from('y'), 2)]]) {
    const { bytes } = encode(base, target, new Uint8Array(1024));
    assert.ok(decode(base, bytes).equals(archive(target, new Uint8Array(1024))));
  }
});

test('each content is coded in the cheapest way there is', () => {
  const noise = (seed: string, bytes = 20_000): Buffer =>
    createHash('shake256', { outputLength: bytes }).update(seed).digest();
  const base = [file('same', noise('1')), file('lib-1.2/x', noise('2')), file('old', noise('3'))];
  const changed = (bytes: Buffer): Buffer =>
    Buffer.concat([bytes.subarray(0, 9000), Buffer.from('!'), bytes.subarray(9000)]);
  const target = [
    file('same', noise('1'), 99),
    file('moved', noise('1')),
    file('lib-1.3/x', changed(noise('2'))),
    file('elsewhere', changed(noise('3'))),
    file('new', noise('4')),
    file('empty', Buffer.alloc(0)),
  ];
  const { report, bytes } = encode(base, target, new Uint8Array(1024));
  assert.deepEqual(
    report.map(({ path, kind }) => [path, kind]),
    [
      ['same', 'same'],
      ['moved', 'copy'],
      ['lib-1.3/x', 'addOther'],
      ['elsewhere', 'addOther'],
      ['new', 'literal'],
      ['empty', 'none'],
    ],
  );
  assert.ok(bytes.length < 20_000 + 1700, `${bytes.length} bytes`);
});

test('every cut and every flipped byte of a delta is refused or gives other bytes, within bounds', () => {
  const base = [file('a', Buffer.alloc(700, 'a')), file('b', Buffer.alloc(5000, 'bcd'))];
  const target = [
    file(
      'b',
      Buffer.concat([Buffer.alloc(2000, 'bcd'), Buffer.from('new'), Buffer.alloc(3000, 'bcd')]),
      7,
    ),
    file('c', Buffer.from('literal')),
  ];
  const { bytes } = encode(base, target, new Uint8Array(1024));
  for (let at = 0; at < bytes.length; at++) {
    assert.throws(() => decode(base, bytes.subarray(0, at)), EngineError, `cut at ${at}`);
    for (const flip of [0x01, 0x40, 0x80, 0xff]) {
      const bad = Buffer.from(bytes);
      bad[at] = (bad[at] ?? 0) ^ flip;
      try {
        decode(base, bad);
      } catch (error) {
        const isRefusal = error instanceof EngineError && error.kind === 'dataLoss';
        assert.ok(isRefusal || error instanceof assert.AssertionError, String(error));
      }
    }
  }
});
