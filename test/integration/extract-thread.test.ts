import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { layerTar as exactTar } from '../../src/store/layers/layer-tar.ts';
import { extractLayer } from '../../src/worker/extract.ts';
import { digestOf, type LayerEntry, layerTar } from '../support/images.ts';
import { treeOf } from '../support/layer-samples.ts';
import { chunksOf } from '../support/layers.ts';
import { sanitizerEnv, sanitizerFindings } from '../support/shim.ts';
import { temporaryFolder } from '../support/temp.ts';
import { CHECKOUT } from '../support/tools.ts';

/* Files that another thread makes (`kernel/file-maker.ts`): as those that are made call by call. */

const sys = openSyscalls();

type Outcome = { readonly told: string; readonly tree: Record<string, unknown> };

async function outcomeOf(tar: Uint8Array, into: string, withoutThread: boolean): Promise<Outcome> {
  const directory = path.join(into, `layer-${withoutThread}`);
  try {
    const layer = await extractLayer({
      ...{ sys, directory, expected: {}, origin: undefined, withoutThread },
      source: chunksOf(tar),
      signal: new AbortController().signal,
    });
    const back = Buffer.concat([...exactTar({ sys, ...layer })]);
    assert.equal(digestOf(back), digestOf(tar));
    return { told: layer.diffId, tree: treeOf(sys, path.join(directory, 'diff')) };
  } catch (error) {
    return { told: (error as Error).message, tree: {} };
  }
}

/** What comes of the entries, which is the same both ways. */
async function bothWays(entries: readonly LayerEntry[], into?: string): Promise<Outcome> {
  using folder = temporaryFolder('thread');
  const tar = await layerTar(entries);
  const made = await outcomeOf(tar, into ?? folder.path, false);
  assert.deepEqual(made, await outcomeOf(tar, into ?? folder.path, true));
  return made;
}

const named = (tree: Outcome['tree'], name: string): Record<string, unknown> =>
  (tree[name] ?? {}) as Record<string, unknown>;

/** So many files that some still wait when an entry comes. */
const many = (folder: string): LayerEntry[] =>
  Array.from({ length: 300 }, (_, i) => ({ name: `${folder}/${i}`, content: 'x'.repeat(i * 20) }));

const DIR = { type: 'directory', mtime: new Date(1_600_000_000_000) } as const;

test('an entry that depends on files that are being made finds them made', async () => {
  const d = { ...DIR, name: 'd' };
  const again = { name: 'd/299', content: 'another' };
  const { tree: twice } = await bothWays([d, ...many('d'), again]);
  assert.equal(named(twice, 'd/299')['size'], 7n);

  const link: LayerEntry = { name: 'link', type: 'link', linkname: 'd/299' };
  const { tree: linked } = await bothWays([d, ...many('d'), link]);
  assert.equal(named(linked, 'link')['same'], 'd/299');
  const early = await bothWays([
    d,
    ...many('d'),
    { ...link, linkname: 'later' },
    { name: 'later' },
  ]);
  assert.match(early.told, /^failed to register layer: link \/later \/link: no such file/);

  const { tree: timed } = await bothWays([d, ...many('d')]);
  assert.equal(named(timed, 'd')['mtime'], 1_600_000_000_000_000_000n);

  const { tree: replaced } = await bothWays([d, ...many('d'), { name: 'd', content: 'a file' }]);
  assert.deepEqual(Object.keys(replaced), ['', 'd']);
  assert.equal(named(replaced, 'd')['size'], 6n);

  const { tree: hidden } = await bothWays([d, ...many('d'), { name: 'd/.wh.299', content: '' }]);
  assert.equal(named(hidden, 'd/299')['size'], 5980n);
  const { tree: gone } = await bothWays([d, ...many('d'), { name: 'd/.wh.x' }, { name: 'd/x' }]);
  assert.equal(named(gone, 'd/x')['mode'], '100644');
});

test('a path through a file, or through a symlink that was replaced, leads where it should', async () => {
  const through = await bothWays([...many('d'), { name: 'd/299/x', content: 'x' }]);
  assert.match(through.told, /below "d\/299": it is not a directory/);
  const toA: LayerEntry = { name: 'l', type: 'symlink', linkname: 'a' };
  const a = { ...DIR, name: 'a' };
  const b = { ...DIR, name: 'b' };
  const { tree } = await bothWays(
    [
      ...[a, b, toA, { name: 'l/1', content: '1' }],
      ...[
        { ...toA, linkname: 'b' },
        { name: 'l/2', content: '2' },
        { name: 'l/s/3', content: '3' },
      ],
    ]
      .map((each): LayerEntry => ({ mtime: new Date(1_600_000_000_000), ...each }))
      .concat([{ ...DIR, name: 'b/s' }]),
  );
  const names = Object.keys(tree).filter((name) => named(tree, name)['mode'] === '100644');
  assert.deepEqual(names, ['a/1', 'b/2', 'b/s/3']);
});

test('a directory that gets another group in the middle gives it to what comes after alone', async () => {
  const d = { ...DIR, name: 'd', mode: 0o755 };
  const setgid = { ...d, mode: 0o2755, gid: 7 };
  const { tree } = await bothWays([
    d,
    ...many('d'),
    setgid,
    { name: 'd/x', gid: 7 },
    { name: 'd/y' },
  ]);
  assert.deepEqual(
    ['d/299', 'd/x', 'd/y'].map((name) => named(tree, name)['gid']),
    [0n, 7n, 0n],
  );
});

test('what fails on the thread is told in the same words', async () => {
  const long = 'n'.repeat(256);
  const named = await bothWays([...many('d'), { name: long, content: 'x' }, ...many('e')]);
  assert.equal(named.told, `failed to register layer: write /${long}: file name too long`);
  const linked = await bothWays([{ name: long, type: 'symlink', linkname: 'x' }, ...many('e')]);
  assert.equal(linked.told, `failed to register layer: symlink /${long}: file name too long`);
  for (const limit of ['size=1m', 'nr_inodes=200']) {
    using folder = temporaryFolder('full');
    execFileSync('mount', ['-t', 'tmpfs', '-o', limit, 'tmpfs', folder.path]);
    try {
      const tar = await layerTar(many('d'));
      const made = await outcomeOf(tar, folder.path, false);
      for (const name of readdirSync(folder.path))
        execFileSync('rm', ['-r', path.join(folder.path, name)]);
      assert.deepEqual(made, await outcomeOf(tar, folder.path, true));
      assert.match(
        made.told,
        /^failed to register layer: write \/d\/\d+: no space left on device$/,
      );
    } finally {
      execFileSync('umount', [folder.path]);
    }
  }
});

for (const [name, flags] of [
  ['of memory', ['-fsanitize=address,undefined', '-fno-sanitize-recover=all']],
  ['of threads', ['-fsanitize=thread']],
] as const) {
  test(`sanitizers ${name} find nothing in what makes files`, () => {
    using folder = temporaryFolder('sanitized');
    const program = path.join(folder.path, 'driver');
    const source = path.join(CHECKOUT, 'test/support/maker-driver.c');
    execFileSync('cc', ['-std=gnu11', '-O1', '-g', ...flags, '-pthread', '-o', program, source]);
    const files = path.join(folder.path, 'files');
    execFileSync('mkdir', [files]);
    const env = { ...sanitizerEnv(folder.path), TSAN_OPTIONS: `log_path=${folder.path}/sanitizer` };
    try {
      execFileSync(program, [files], { env });
    } finally {
      assert.equal(sanitizerFindings(folder.path), '');
    }
  });
}
