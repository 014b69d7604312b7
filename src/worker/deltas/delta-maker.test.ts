import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { noise } from '../../../test/support/deltas.ts';
import { parseDiffId, parseImageId } from '../../base/digest.ts';
import { fromText } from '../../formats/byte-string.ts';
import { encodeTarHeader, TAR_END, tarPadding } from '../../formats/tar-writer.ts';
import { makeDeltas } from './delta-maker.ts';
import type { DeltaImage } from './delta-source.ts';
import { TarFiles } from './tar-files.ts';

function tarOf(version: number): Buffer {
  const program = noise('program', 300_000);
  for (let at = 0; at < program.length; at += 700) program[at] = version;
  const files = { 'bin/app': program, [`data-${version}`]: noise(`${version % 2}`, 50_000) };
  const entries = Object.entries(files).flatMap(([name, content]) => [
    encodeTarHeader({ kind: 'file', path: fromText(name), mode: 0o644, sizeBytes: content.length }),
    content,
    tarPadding(content.length),
  ]);
  return Buffer.concat([...entries, TAR_END]);
}

const sha256 = (bytes: Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** An image of one layer, and how many bytes of its contents were read. */
function imageOf(folder: string, version: number, stack: DisposableStack) {
  const tar = tarOf(version);
  const file = path.join(folder, `${version}.tar`);
  writeFileSync(file, tar);
  const files = stack.use(new TarFiles([file]));
  const read = { bytes: 0 };
  const image: DeltaImage = {
    id: parseImageId(sha256(Buffer.from(`${version}`))),
    config: Buffer.from('{}'),
    diffIds: [parseDiffId(sha256(tar))],
    entries: {
      table: files.table,
      spans: files.spans,
      read: (index, into, position) => {
        read.bytes += into.length;
        return files.read(index, into, position);
      },
    },
    tar: () => assert.fail('a regular tar is read entry by entry'),
  };
  return { image, read };
}

async function make(folder: string, versions: readonly number[], target: number) {
  using stack = new DisposableStack();
  mkdirSync(folder);
  const to = imageOf(folder, target, stack);
  const bases = versions.map((version) => imageOf(folder, version, stack).image);
  const made = await makeDeltas({
    ...{ target: to.image, bases, folder, signal: new AbortController().signal },
    onProgress: () => undefined,
  });
  const digests = made.map(({ base, parts }) => [base.id, parts[0]?.digest] as const);
  return { read: to.read.bytes, digests: new Map(digests) };
}

test('many bases: the target is read once, and each delta is what it is alone', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-maker-'));
  try {
    const together = await make(path.join(folder, 'together'), [1, 2, 3], 4);
    assert.equal(together.read, 350_000, 'every byte of content once');
    const reversed = await make(path.join(folder, 'reversed'), [3, 2, 1], 4);
    assert.deepEqual(reversed.digests, together.digests);
    assert.equal(new Set(together.digests.values()).size, 3);
    for (const base of [1, 2, 3]) {
      const alone = await make(path.join(folder, `alone-${base}`), [base], 4);
      for (const [id, digest] of alone.digests) assert.equal(together.digests.get(id), digest);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
