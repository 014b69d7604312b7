import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { extract } from 'tar-stream';
import { isEngineError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { byteString, fromText, toText } from './byte-string.ts';
import type { TarEntry } from './tar-entry.ts';
import { checksums } from './tar-header.ts';
import { TarReader } from './tar-reader.ts';
import { encodeTarHeader, type NewTarEntry, TAR_END, tarPadding } from './tar-writer.ts';

type Read = { readonly entry: TarEntry; readonly content: Buffer };

function read(archive: Uint8Array, chunkBytes = archive.length): { entries: Read[]; raw: Buffer } {
  const entries: Read[] = [];
  const raw: Buffer[] = [];
  let content = Buffer.alloc(0);
  const reader = new TarReader({
    entry: (entry) => {
      content = Buffer.alloc(entry.sizeBytes);
      entries.push({ entry, content });
    },
    content: (bytes, offset) => void bytes.copy(content, offset),
    entryEnd: () => undefined,
    raw: (bytes) => raw.push(Buffer.from(bytes)),
  });
  for (let at = 0; at < archive.length; at += chunkBytes) {
    reader.push(archive.subarray(at, at + chunkBytes));
  }
  reader.end();
  return { entries, raw: Buffer.concat(raw) };
}

function archive(...entries: readonly (NewTarEntry & { readonly content?: Uint8Array })[]): Buffer {
  const parts = entries.flatMap(({ content, ...entry }) => {
    const sizeBytes = content?.length ?? 0;
    return [encodeTarHeader({ ...entry, sizeBytes }), content ?? '', tarPadding(sizeBytes)];
  });
  return Buffer.concat([...parts.map((part) => Buffer.from(part)), TAR_END]);
}

const name = fc
  .array(fc.string({ unit: 'binary', minLength: 1, maxLength: 60 }), { minLength: 1, maxLength: 8 })
  .map((parts) => fromText(parts.join('/').replaceAll('\0', '_')))
  .filter((path) => path.length < LIMITS.tarPathBytesMax && !path.endsWith('/') && path !== '');
const PLAIN_OBJECTS = { noNullPrototype: true };
const time = fc.record(
  {
    sec: fc.integer({ min: -(2 ** 40), max: 2 ** 40 }),
    nsec: fc.oneof(fc.constant(0), fc.integer({ min: 0, max: 999_999_999 })),
  },
  PLAIN_OBJECTS,
);
const common = {
  path: name,
  mode: fc.integer({ min: 0, max: 0o7777 }),
  uid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  gid: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  mtime: time,
  uname: fc.string({ maxLength: 40 }).map((text) => fromText(text.replaceAll('\0', ''))),
  xattrs: fc.uniqueArray(
    fc.record(
      {
        name: fc.stringMatching(/^(user|security)\.[a-z.]{1,20}$/),
        value: fc.uint8Array({ maxLength: 100 }),
      },
      PLAIN_OBJECTS,
    ),
    { maxLength: 3, selector: (xattr) => xattr.name },
  ),
};
const entries = fc.array(
  fc.oneof(
    fc.record({
      ...common,
      kind: fc.constant('file' as const),
      content: fc.uint8Array({ maxLength: 2000 }),
    }),
    fc.record({ ...common, kind: fc.constantFrom('directory' as const, 'fifo' as const) }),
    fc.record({
      ...common,
      kind: fc.constantFrom('symlink' as const, 'hardlink' as const),
      link: name,
    }),
    fc.record({
      ...common,
      kind: fc.constantFrom('char' as const, 'block' as const),
      major: fc.integer({ min: 0, max: 4095 }),
      minor: fc.integer({ min: 0, max: 2 ** 20 - 1 }),
    }),
  ),
  { maxLength: 5 },
);

test('what the writer writes, the reader reads, whatever the chunks', () => {
  fc.assert(
    fc.property(entries, fc.integer({ min: 1, max: 2000 }), (written, chunkBytes) => {
      const bytes = archive(...written);
      const got = read(bytes, chunkBytes).entries;
      assert.equal(got.length, written.length);
      for (const [i, { entry, content }] of got.entries()) {
        const want = written[i];
        assert.ok(want !== undefined);
        const path = want.kind === 'directory' ? `${want.path}/` : want.path;
        assert.equal(entry.path, path);
        assert.equal(entry.kind, want.kind);
        assert.equal(entry.link, 'link' in want ? want.link : '');
        assert.deepEqual(content, Buffer.from('content' in want ? want.content : ''));
        for (const key of ['mode', 'uid', 'gid', 'uname'] as const) {
          assert.equal(entry[key], want[key], key);
        }
        assert.deepEqual(entry.mtime, want.mtime);
        assert.deepEqual(entry.xattrs, want.xattrs);
        if ('major' in want) {
          assert.deepEqual([entry.major, entry.minor], [want.major, want.minor]);
        }
      }
    }),
    { numRuns: 300 },
  );
});

test('tar-stream reads what the writer writes', async () => {
  const long = `${'d'.repeat(90)}/${'e'.repeat(90)}/${'ä'.repeat(60)}`;
  const bytes = archive(
    { kind: 'file', path: fromText(long), mode: 0o644, content: Buffer.from('hello') },
    { kind: 'symlink', path: fromText('l'), mode: 0o777, link: fromText('x'.repeat(150)) },
    { kind: 'directory', path: fromText('d'), mode: 0o1777, uid: 9, gid: 7 },
  );
  const seen: unknown[] = [];
  const parser = extract();
  parser.end(bytes);
  for await (const each of parser) {
    const { name: path, linkname, uid, type } = each.header;
    seen.push([path, type, linkname, uid]);
    each.resume();
  }
  assert.deepEqual(seen, [
    [long, 'file', null, 0],
    ['l', 'symlink', 'x'.repeat(150), 0],
    ['d/', 'directory', null, 9],
  ]);
});

test('raw bytes and contents together are the archive', () => {
  const content = Buffer.alloc(1300, 'c');
  const bytes = Buffer.concat([
    archive({ kind: 'file', path: fromText('a'), mode: 0o600, content }),
    Buffer.alloc(9216),
  ]);
  const { raw } = read(bytes, 77);
  const at = bytes.indexOf(content);
  const rest = Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + content.length)]);
  assert.deepEqual(raw, rest);
});

/** Changes bytes of a header block and puts its checksum right. */
function patched(block: Buffer, changes: Readonly<Record<number, string | Buffer>>): Buffer {
  const copy = Buffer.from(block);
  for (const [at, bytes] of Object.entries(changes)) {
    Buffer.from(bytes as string, 'latin1').copy(copy, Number(at));
  }
  copy.write(`${checksums(copy).unsigned.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return copy;
}

const PLAIN = encodeTarHeader({ kind: 'file', path: fromText('name'), mode: 0o644 });

test('numbers may be base-256, negative times included', () => {
  const big = Buffer.alloc(12);
  big.writeUInt8(0x80, 0);
  const uid = Buffer.from('8000000077359400', 'hex');
  const mtime = Buffer.alloc(12, 0xff);
  mtime.writeInt32BE(-86_400, 8);
  const block = patched(PLAIN, { 108: uid, 124: big, 136: mtime });
  const [first] = read(Buffer.concat([block, TAR_END])).entries;
  assert.equal(first?.entry.uid, 2_000_000_000);
  assert.deepEqual(first?.entry.mtime, { sec: -86_400, nsec: 0 });
});

test('a v7 entry whose name ends with a slash is a directory', () => {
  const block = patched(PLAIN, { 0: 'dir/\0', 156: '\0', 257: '\0'.repeat(8) });
  const [first] = read(Buffer.concat([block, TAR_END])).entries;
  assert.equal(first?.entry.kind, 'directory');
});

test('global PAX records hold until the end, local ones for one entry', () => {
  const pax = (type: string, text: string): Buffer =>
    Buffer.concat([
      patched(PLAIN, { 124: `${text.length.toString(8).padStart(11, '0')}\0`, 156: type }),
      Buffer.from(text),
      tarPadding(text.length),
    ]);
  const bytes = Buffer.concat([
    pax('g', '20 mtime=1000000.25\n'),
    PLAIN,
    pax('x', '13 mtime=5.5\n'),
    PLAIN,
    PLAIN,
    TAR_END,
  ]);
  const times = read(bytes).entries.map(({ entry }) => entry.mtime);
  const global = { sec: 1_000_000, nsec: 250_000_000 };
  assert.deepEqual(times, [global, { sec: 5, nsec: 500_000_000 }, global]);
});

const paxEntry = (text: string): Buffer =>
  Buffer.concat([
    patched(PLAIN, { 124: `${text.length.toString(8).padStart(11, '0')}\0`, 156: 'x' }),
    Buffer.from(text),
    tarPadding(text.length),
    PLAIN,
    TAR_END,
  ]);

const INVALID: readonly [string, Buffer][] = [
  ['a wrong checksum', Buffer.concat([Buffer.from(PLAIN).fill('9', 0, 1), TAR_END])],
  ['text', Buffer.alloc(1024, 'text ')],
  ['a number that is not octal', Buffer.concat([patched(PLAIN, { 124: '9999' }), TAR_END])],
  ['a PAX record that is too long', paxEntry('99 path=x\n')],
  ['a PAX record without a line feed', paxEntry('9 path=xy')],
  ['a PAX record without a key', paxEntry('6 =ab\n')],
  ['a PAX path with a NUL', paxEntry('12 path=a\0b\n')],
  ['a PAX size that is negative', paxEntry('11 size=-5\n')],
  ['a sparse map with half a segment', paxEntry('22 GNU.sparse.map=0,1,2\n'.replace('22', '24'))],
  ['a sparse map beyond the file', paxEntry('28 GNU.sparse.map=100000,512\n'.replace('28', '30'))],
  ['an entry after zeros', Buffer.concat([Buffer.alloc(512), patched(PLAIN, {}), TAR_END])],
  [
    'a long name without an entry',
    Buffer.concat([paxEntry('10 path=y\n').subarray(0, 1024), TAR_END]),
  ],
];

for (const [what, bytes] of INVALID) {
  test(`${what} is an invalid tar header`, () => {
    assert.throws(
      () => read(bytes),
      (error) => isEngineError(error) && error.message === 'archive/tar: invalid tar header',
    );
  });
}

test('an archive that stops inside an entry ends unexpectedly, between two it does not', () => {
  const content = Buffer.alloc(600, 1);
  const whole = archive({ kind: 'file', path: fromText('a'), mode: 0o600, content });
  for (const bytes of [1, 511, 513, 1111, 1112, 1300]) {
    assert.throws(
      () => read(whole.subarray(0, bytes)),
      /^EngineError: unexpected EOF$/,
      `${bytes}`,
    );
  }
  assert.equal(read(whole.subarray(0, 512 + 1024)).entries.length, 1);
  assert.equal(read(whole.subarray(0, 512 + 1024 + 512)).entries.length, 1);
});

test('types that no filesystem has are refused by number', () => {
  const block = patched(PLAIN, { 156: 'V' });
  assert.throws(() => read(Buffer.concat([block, TAR_END])), /unhandled tar header type 86/);
});

test('a header that claims a megabyte of metadata is refused before it is read', () => {
  const block = patched(PLAIN, { 124: '77777777777\0', 156: 'x' });
  assert.throws(() => read(block), /tar header of 8589934591 bytes is too large/);
});

test('names that are not UTF-8 keep their bytes', () => {
  const path = byteString(Buffer.from('caf\xe9', 'latin1'));
  const [first] = read(archive({ kind: 'file', path, mode: 0o644 })).entries;
  assert.equal(first?.entry.path, path);
  assert.equal(toText(path), 'caf\ufffd');
});
