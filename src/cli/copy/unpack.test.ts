import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fromText } from '../../formats/byte-string.ts';
import { encodeTarHeader, TAR_END, tarPadding } from '../../formats/tar-writer.ts';
import { unpackTree } from './unpack.ts';

type Entry = { readonly path: string; readonly content?: string; readonly link?: string };

function tarOf(entries: readonly Entry[]): Buffer {
  const parts = entries.flatMap(({ path: name, content, link }) => {
    const kind = name.endsWith('/') ? 'directory' : link === undefined ? 'file' : 'symlink';
    const body = Buffer.from(content ?? '');
    const header = encodeTarHeader({
      kind,
      path: fromText(name),
      mode: 0o755,
      sizeBytes: body.length,
      ...(link === undefined ? {} : { link: fromText(link) }),
    });
    return [header, body, tarPadding(body.length)];
  });
  return Buffer.concat([...parts, TAR_END]);
}

async function unpackInto(folder: string, entries: readonly Entry[]): Promise<void> {
  const archive = tarOf(entries);
  const chunks = (async function* () {
    for (let at = 0; at < archive.length; at += 700) yield archive.subarray(at, at + 700);
  })();
  await unpackTree(chunks, { directory: path.join(folder, 'here'), name: 'tree' });
}

const HOSTILE: readonly (readonly [what: string, entries: readonly Entry[]])[] = [
  ['a name with ..', [{ path: 'top/' }, { path: 'top/../../secret', content: 'x' }]],
  ['a name beside the top', [{ path: 'top/' }, { path: 'secret', content: 'x' }]],
  [
    'a symlink that it brings, to a folder outside',
    [
      { path: 'top/' },
      { path: 'top/out', link: '../..' },
      { path: 'top/out/secret', content: 'x' },
    ],
  ],
  [
    'a symlink that is the top',
    [
      { path: 'top', link: '..' },
      { path: 'top/secret', content: 'x' },
    ],
  ],
  ['a symlink that was there before', [{ path: 'top/' }, { path: 'top/old/secret', content: 'x' }]],
];

for (const [what, entries] of HOSTILE) {
  test(`an archive does not lead out by ${what}`, async () => {
    const folder = mkdtempSync(path.join(tmpdir(), 'coracle-unpack-'));
    try {
      mkdirSync(path.join(folder, 'here/tree'), { recursive: true });
      symlinkSync('../..', path.join(folder, 'here/tree/old'));
      if (what.includes('is the top')) rmSync(path.join(folder, 'here/tree'), { recursive: true });
      await assert.rejects(unpackInto(folder, entries), /refusing|ENOENT|not a directory/);
      assert(!existsSync(path.join(folder, 'secret')));
      assert(!existsSync(path.join(folder, 'here/secret')));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
}

test('files take the place of files and symlinks, and keep out of what these led to', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-unpack-'));
  try {
    mkdirSync(path.join(folder, 'here/tree'), { recursive: true });
    symlinkSync('../../outside', path.join(folder, 'here/tree/file'));
    await unpackInto(folder, [{ path: 'top/' }, { path: 'top/file', content: 'new' }]);
    assert.equal(readFileSync(path.join(folder, 'here/tree/file'), 'utf8'), 'new');
    assert(!existsSync(path.join(folder, 'outside')));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
