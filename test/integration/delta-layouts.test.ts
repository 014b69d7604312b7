import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { reportText } from '../../src/cli/delta-report.ts';
import { clientCommand } from '../support/daemon.ts';
import { noise } from '../support/deltas.ts';
import { type BuiltImage, buildImage } from '../support/images.ts';
import { run, runOk } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/** Deltas between OCI layouts, as a CI job makes them: without a daemon. */

async function image(version: number): Promise<BuiltImage> {
  const program = noise('program', 200_000);
  for (let at = 0; at < program.length; at += 500) program[at] = version;
  return await buildImage({
    compression: ['gzip', 'zstd'],
    layers: [
      [{ name: 'base', content: noise('base', 50_000) }],
      [
        { name: 'bin/app', content: program },
        { name: 'new', content: noise(`${version}`, 300) },
      ],
    ],
  });
}

/** Writes images into a layout; each under its version. */
function writeLayout(folder: string, images: readonly (readonly [string, BuiltImage])[]): void {
  mkdirSync(path.join(folder, 'blobs/sha256'), { recursive: true });
  const put = ({ digest, bytes }: { digest: string; bytes: Uint8Array }): void =>
    writeFileSync(path.join(folder, 'blobs/sha256', digest.slice(7)), bytes);
  for (const [, { manifest, config, layers }] of images) {
    for (const blob of [manifest, config, ...layers]) put(blob);
  }
  const manifests = images.map(([name, { manifest }]) => ({
    mediaType: manifest.mediaType,
    digest: manifest.digest,
    size: manifest.bytes.length,
    annotations: { 'org.opencontainers.image.ref.name': name },
  }));
  writeFileSync(path.join(folder, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  writeFileSync(path.join(folder, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests }));
}

type Index = { manifests: { digest: string; artifactType?: string }[] };
const indexOf = (folder: string): Index =>
  JSON.parse(readFileSync(path.join(folder, 'index.json'), 'utf8')) as Index;
const coracle = (cwd: string, ...args: string[]) =>
  run('sh', ['-c', 'cd "$0" && exec "$@"', cwd, clientCommand(), 'image', 'delta', ...args]);

test('deltas between OCI layouts need no daemon, and the same images give the same bytes', async () => {
  using folder = temporaryFolder('layouts');
  const at = (name: string): string => path.join(folder.path, name);
  const [v1, v2, v3] = [await image(1), await image(2), await image(3)];
  writeLayout(at('old'), [
    ['v1', v1],
    ['v2', v2],
  ]);
  writeLayout(at('new'), [['v3', v3]]);
  const make = (output: string) =>
    coracle(folder.path, '-o', output, '--from', 'oci:old:v1,oci:old:v2', 'oci:new');
  const made = await make('out');
  assert.equal(made.code, 0, made.stderr);
  assert.match(made.stdout, /Delta from old:v1: [\d.]+k?B, sha256:[0-9a-f]{64}/);
  const { manifests } = indexOf(at('out'));
  assert.equal(manifests.length, 2);
  assert.ok(
    manifests.every(({ artifactType }) => artifactType === 'application/vnd.coracle.delta.v1'),
  );
  for (const name of readdirSync(path.join(at('out'), 'blobs/sha256'))) {
    const bytes = readFileSync(path.join(at('out'), 'blobs/sha256', name));
    assert.equal(createHash('sha256').update(bytes).digest('hex'), name);
  }
  // On one core, and in another order.
  const again = ['-o', 'again', '--from', 'oci:old:v2,oci:old:v1', 'oci:new'];
  const script = 'cd "$0" && exec taskset -c 0 "$@"';
  await runOk('sh', ['-c', script, folder.path, clientCommand(), 'image', 'delta', ...again]);
  const byDigest = (name: string) =>
    indexOf(at(name)).manifests.toSorted((a, b) => (a.digest < b.digest ? -1 : 1));
  assert.deepEqual(byDigest('again'), byDigest('out'));
  assert.deepEqual(readdirSync(at('out')).sort(), ['blobs', 'index.json', 'oci-layout']);

  const shown = await coracle(folder.path, 'inspect', 'oci:out');
  assert.equal(shown.code, 0, shown.stderr);
  assert.match(shown.stdout, /\/bin\/app +[\d.]+k?B .* corrections/);
  assert.match(shown.stdout, /\/new +[\d.]+k?B .* new/);
  const page = await coracle(folder.path, 'inspect', '--html', 'page.html', 'oci:out');
  assert.equal(page.code, 0, page.stderr);
  const html = readFileSync(at('page.html'), 'utf8');
  assert.match(html, /^<!doctype html>/);
  assert.doesNotMatch(html, /(?:src|href)=/, 'it needs nothing else');
});

test('what is no image, or a damaged one, is refused with one sentence, and nothing is left', async () => {
  using folder = temporaryFolder('layouts');
  const at = (name: string): string => path.join(folder.path, name);
  const [v1, v2] = [await image(1), await image(2)];
  writeLayout(at('old'), [['v1', v1]]);
  writeLayout(at('new'), [['v2', v2]]);
  const refused = async (pattern: RegExp, ...args: string[]): Promise<void> => {
    const result = await coracle(folder.path, '-o', 'out', ...args);
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, pattern);
    assert.equal(result.stderr.trim().split('\n').length, 1);
  };
  await refused(/there is no image v9 in the OCI layout/, 'oci:old:v9', 'oci:new');
  await refused(/is not an OCI layout/, 'oci:nowhere', 'oci:new');
  await refused(/is no oci:DIR/, 'debian', 'oci:new');
  await refused(/^--push needs images of the daemon/, '--push', 'oci:old', 'oci:new');
  await refused(/^--tag cannot be used with oci:DIR/, '-t', 'app:delta', 'oci:old', 'oci:new');
  await refused(/^--output is for images in OCI layouts/, 'app:v1', 'app:v2');
  const layer = v1.layers[1]?.digest.slice(7) ?? '';
  const file = path.join(at('old'), 'blobs/sha256', layer);
  const bytes = readFileSync(file);
  writeFileSync(file, bytes.subarray(0, bytes.length - 100));
  await refused(/unexpected EOF|corrupt|is not what/, 'oci:old', 'oci:new');
  assert.deepEqual(readdirSync(at('out')), []);
});

test('names from an image steer neither a terminal nor a page', async () => {
  const { deltaPage } = await import('../../src/cli/delta-treemap.ts');
  const path = 'a\x1b[2J</script><script>alert(1)</script>';
  const file = { path, kind: 'literal', contentBytes: 10, bytes: 5 };
  const layer = { diffId: `sha256:${'1'.repeat(64)}`, bytes: 5, tarBytes: 100, headBytes: 0 };
  const Report = { layers: [{ ...layer, kinds: {}, files: [file] }] };
  const ids = { Digest: layer.diffId, Base: layer.diffId, Target: layer.diffId };
  const text = reportText({ ...ids, Report });
  assert.ok(!text.includes('\x1b'));
  // In a terminal no line is wider than it, however long the names are.
  const far = {
    ...file,
    kind: 'addOther',
    contentBytes: 1_234_000,
    path: `${'deep/'.repeat(40)}end`,
  };
  const wide = { layers: [{ ...layer, kinds: {}, files: [far] }] };
  const narrow = reportText({ ...ids, Report: wide }, 80);
  assert.match(narrow, /^…[\w/]+\/end +5B +100\.0% +1\.23MB +from another file$/m);
  assert.ok(
    narrow.split('\n').every((line) => line.length <= 80),
    narrow,
  );
  const page = deltaPage('app', [{ ...ids, Report }]);
  assert.equal(page.match(/<\/script>/g)?.length, 2);
});
