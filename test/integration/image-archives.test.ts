import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import path from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { TaskGroup } from '../../src/base/async.ts';
import type { Call, ProgressCall } from '../../src/engine/call.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { imageImport } from '../../src/engine/images/import.ts';
import { imageLoad } from '../../src/engine/images/load.ts';
import { getImage } from '../../src/engine/images/resolve.ts';
import { imageSave } from '../../src/engine/images/save.ts';
import type { ProgressMessage } from '../../src/spec/docker/progress.ts';
import { openImageEngine } from '../support/image-engine.ts';
import {
  type BuiltImage,
  buildImage,
  digestOf,
  type LayerEntry,
  layerTar,
} from '../support/images.ts';
import { emptied, runOk } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

const CALL: Call = { signal: new AbortController().signal, apiVersion: [1, 51] };

type Lines = ProgressMessage[];

async function load(engine: Engine, archive: Uint8Array, quiet = true): Promise<Lines> {
  const lines: Lines = [];
  const call: ProgressCall = { ...CALL, progress: (message) => lines.push(message) };
  const body = Readable.from([archive]);
  await imageLoad(engine, { query: { quiet, platform: [] }, body }, call);
  return lines;
}

async function save(engine: Engine, names: readonly string[]): Promise<Buffer> {
  const { body } = await imageSave(engine, { query: { names } }, CALL);
  return await buffer(body);
}

type Opened = AsyncDisposable & { readonly engine: Engine; readonly staging: string };

async function open(): Promise<Opened> {
  const here = await openImageEngine();
  const failures: unknown[] = [];
  const tasks = new TaskGroup((_, error) => failures.push(error));
  return {
    engine: { ...here.engine, database: here.database, tasks } as unknown as Engine,
    staging: here.dataRoot.staging,
    [Symbol.asyncDispose]: async () => {
      await tasks.close();
      await here[Symbol.asyncDispose]();
      assert.deepEqual(failures, []);
    },
  };
}

const LAYERS = [
  [
    { name: 'bin', type: 'directory' as const },
    { name: 'bin/sh', content: 'a shell', mode: 0o755 },
  ],
  [
    { name: 'bin/.wh.sh', content: '' },
    { name: 'new', content: 'x'.repeat(100_000) },
  ],
];

const hexOf = (digest: string): string => digest.slice('sha256:'.length);

/** What `docker save` wrote before version 25: a folder for each layer, the manifest last. */
function oldDockerArchive(image: BuiltImage, tags: readonly string[]): LayerEntry[] {
  const tars = image.layers.map((layer, i) => ({ name: `${i}`.repeat(64), tar: layer.bytes }));
  return [
    ...tars.flatMap(({ name, tar }) => [
      { name: `${name}/`, type: 'directory' as const },
      { name: `${name}/VERSION`, content: '1.0' },
      { name: `${name}/layer.tar`, content: tar },
    ]),
    { name: `${hexOf(image.config.digest)}.json`, content: image.config.bytes },
    {
      name: 'manifest.json',
      content: JSON.stringify([
        {
          Config: `${hexOf(image.config.digest)}.json`,
          RepoTags: tags,
          Layers: tars.map(({ name }) => `${name}/layer.tar`),
        },
      ]),
    },
  ];
}

function ociLayout(image: BuiltImage, annotations: Record<string, string>): LayerEntry[] {
  const blob = (digest: string, content: Uint8Array): LayerEntry => ({
    name: `blobs/sha256/${hexOf(digest)}`,
    content,
  });
  const { digest, bytes, mediaType } = image.manifest;
  return [
    blob(digest, bytes),
    blob(image.config.digest, image.config.bytes),
    ...image.layers.map((layer) => blob(layer.digest, layer.bytes)),
    {
      name: 'index.json',
      content: JSON.stringify({
        schemaVersion: 2,
        manifests: [{ mediaType, digest, size: bytes.length, annotations }],
      }),
    },
    { name: 'oci-layout', content: '{"imageLayoutVersion":"1.0.0"}' },
  ];
}

function streamOf(lines: Lines): string {
  return lines.map((line) => line.stream ?? '').join('');
}

test('an old docker archive with its manifest last is loaded, with its tags', async () => {
  await using here = await open();
  const image = await buildImage({ layers: LAYERS, compression: 'none' });
  const archive = await layerTar(oldDockerArchive(image, ['app:v1', 'example.org/team/app:v2']));
  const lines = await load(here.engine, archive, false);
  assert.match(
    streamOf(lines),
    /^Loaded image: app:v1\nLoaded image: example\.org\/team\/app:v2\nWrote \S+kB, shared 0B\n$/,
  );
  assert.ok(lines.some((line) => line.status === 'Loading layer' && line.id === '0'.repeat(12)));
  const { image: record } = getImage(here.engine, 'app:v1');
  assert.equal(record.id, image.config.digest);
  assert.deepEqual(
    record.diffIds,
    image.layers.map((layer) => layer.diffId),
  );
  const [, top] = record.diffIds;
  assert.ok(top !== undefined);
  const files = here.engine.layers.directoryOf(top);
  assert.equal(readFileSync(path.join(files, 'new'), 'utf8'), 'x'.repeat(100_000));
  await emptied(here.staging);
});

test('a layer that is a symlink to the one of another image is found', async () => {
  await using here = await open();
  const image = await buildImage({ layers: [LAYERS[0] ?? []], compression: 'none' });
  const entries = oldDockerArchive(image, ['app:v1']);
  const moved = entries.map((entry) =>
    entry.name.endsWith('/layer.tar') ? { ...entry, name: 'elsewhere/layer.tar' } : entry,
  );
  const link: LayerEntry = {
    name: `${'0'.repeat(64)}/layer.tar`,
    type: 'symlink',
    linkname: '../elsewhere/layer.tar',
  };
  await load(here.engine, await layerTar([...moved, link]));
  assert.equal(getImage(here.engine, 'app:v1').image.id, image.config.digest);
});

for (const [name, squeeze] of [
  ['plain', (bytes: Uint8Array) => bytes],
  ['gzip', gzipSync],
  ['zstd', zstdCompressSync],
] as const) {
  test(`an OCI layout is loaded, ${name} around it`, async () => {
    await using here = await open();
    const image = await buildImage({ layers: LAYERS, compression: ['gzip', 'zstd'] });
    const full = { 'io.containerd.image.name': 'docker.io/library/app:v3' };
    const archive = await layerTar(ociLayout(image, full));
    const lines = await load(here.engine, squeeze(archive));
    assert.equal(streamOf(lines), 'Loaded image: app:v3\n');
    assert.equal(getImage(here.engine, 'app:v3').image.id, image.config.digest);
  });
}

test('what is saved is loaded again, and saved again gives the same bytes', async () => {
  await using here = await open();
  const image = await buildImage({ layers: LAYERS, compression: 'none' });
  await load(here.engine, await layerTar(oldDockerArchive(image, ['app:v1', 'app:v2'])));
  const saved = await save(here.engine, ['app']);
  await using other = await open();
  assert.equal(
    streamOf(await load(other.engine, saved)),
    'Loaded image: app:v1\nLoaded image: app:v2\n',
  );
  assert.deepEqual(await save(other.engine, ['app']), saved);
  const byId = await save(other.engine, [image.config.digest]);
  await using third = await open();
  const lines = await load(third.engine, byId);
  assert.equal(streamOf(lines), `Loaded image ID: ${image.config.digest}\n`);
});

test('skopeo reads what is saved, as a docker archive and as an OCI layout', async () => {
  await using here = await open();
  using folder = temporaryFolder('archive');
  const image = await buildImage({ layers: LAYERS, compression: 'none' });
  await load(here.engine, await layerTar(oldDockerArchive(image, ['app:v1'])));
  const file = path.join(folder.path, 'saved.tar');
  writeFileSync(file, await save(here.engine, ['app:v1']));
  for (const source of [`docker-archive:${file}:app:v1`, `oci-archive:${file}`]) {
    const text = await runOk('skopeo', ['inspect', '--raw', '--config', source]);
    assert.equal(digestOf(Buffer.from(text)), image.config.digest, source);
  }
  const copied = path.join(folder.path, 'copied.tar');
  await runOk('skopeo', [
    ...['copy', '--insecure-policy', `oci-archive:${file}`, `docker-archive:${copied}:app:v9`],
  ]);
  await load(here.engine, readFileSync(copied));
  const again = getImage(here.engine, 'app:v9').image;
  assert.deepEqual(
    again.diffIds,
    image.layers.map((layer) => layer.diffId),
  );
});

test('a tag that moves leaves the old image without it', async () => {
  await using here = await open();
  const one = await buildImage({ layers: LAYERS, compression: 'none' });
  const two = await buildImage({ layers: LAYERS, compression: 'none', config: { Cmd: ['/x'] } });
  await load(here.engine, await layerTar(oldDockerArchive(one, ['app:v1'])));
  const lines = await load(here.engine, await layerTar(oldDockerArchive(two, ['app:v1'])));
  assert.match(streamOf(lines), /already exists, renaming the old one with ID sha256:/);
  assert.equal(getImage(here.engine, 'app:v1').image.id, two.config.digest);
});

const BAD: readonly [name: string, archive: () => Promise<Uint8Array>, message: RegExp][] = [
  ['no tar', async () => Buffer.alloc(5000, 'x'), /^archive\/tar: invalid tar header$/],
  ['nothing', async () => Buffer.alloc(0), /^invalid archive: it has neither/],
  [
    'a tar of something else',
    async () => await layerTar([{ name: 'a', content: 'b' }]),
    /^invalid archive: it has neither/,
  ],
  [
    'a cut-off archive',
    async () => {
      const image = await buildImage({ layers: LAYERS, compression: 'none' });
      return (await layerTar(oldDockerArchive(image, ['app:v1']))).subarray(0, 9000);
    },
    /^unexpected EOF$/,
  ],
  [
    'a layer that is not the one of the config',
    async () => {
      const image = await buildImage({ layers: LAYERS, compression: 'none' });
      const other = await layerTar([{ name: 'evil', content: 'x' }]);
      const layers = image.layers.map((layer) => ({ ...layer, bytes: other }));
      return await layerTar(oldDockerArchive({ ...image, layers }, ['app:v1']));
    },
    /^invalid diffID for layer 0: expected "sha256:/,
  ],
  [
    'a blob that is not what its name says',
    async () => {
      const image = await buildImage({ layers: LAYERS });
      const layers = image.layers.map((layer) => ({
        ...layer,
        bytes: gzipSync(Buffer.alloc(1024)),
      }));
      return await layerTar(ociLayout({ ...image, layers }, {}));
    },
    /^filesystem layer verification failed for digest sha256:/,
  ],
  [
    'a missing layer',
    async () => {
      const image = await buildImage({ layers: LAYERS });
      const entries = ociLayout(image, {});
      return await layerTar(
        entries.filter((entry) => !entry.name.includes(hexOf(image.layers[1]?.digest ?? ''))),
      );
    },
    /^invalid archive: blobs\/sha256\/[0-9a-f]{64} is missing$/,
  ],
  [
    'a tag in capitals',
    async () => {
      const image = await buildImage({ layers: LAYERS, compression: 'none' });
      return await layerTar(oldDockerArchive(image, ['App:v1']));
    },
    /^invalid reference format: repository name \(library\/App\) must be lowercase$/,
  ],
];

for (const [name, archive, message] of BAD) {
  test(`load refuses ${name} and leaves nothing`, async () => {
    await using here = await open();
    const bytes = await archive();
    await assert.rejects(load(here.engine, bytes), { kind: 'invalidArgument', message });
    assert.deepEqual(here.engine.store.images.list(), []);
    await emptied(here.staging);
  });
}

test('a tar of files becomes an image with the changes asked for', async () => {
  await using here = await open();
  const lines: Lines = [];
  const call: ProgressCall = { ...CALL, progress: (message) => lines.push(message) };
  const tar = await layerTar(LAYERS[0] ?? []);
  const query = {
    fromSrc: '-',
    repo: 'mine',
    tag: 'v1',
    message: 'made by hand',
    changes: ['CMD ["/bin/sh"]', 'ENV A=b C="d e"', 'EXPOSE 80'],
    platform: 'linux/arm64',
  };
  await imageImport(here.engine, { query, body: Readable.from([gzipSync(tar)]) }, call);
  const { image } = getImage(here.engine, 'mine:v1');
  assert.equal(lines.at(-1)?.status, image.id);
  assert.deepEqual(image.diffIds, [digestOf(tar)]);
  const config = JSON.parse(Buffer.from(image.config).toString());
  assert.deepEqual(config.config.Cmd, ['/bin/sh']);
  assert.deepEqual(config.config.Env, ['A=b', 'C=d e']);
  assert.deepEqual(config.config.ExposedPorts, { '80/tcp': {} });
  assert.equal(config.architecture, 'arm64');
  assert.equal(config.history[0].comment, 'made by hand');
});

test('a root is imported from an address, over redirects; what leads nowhere is said', async () => {
  await using here = await open();
  const tar = await layerTar(LAYERS[0] ?? []);
  const places: Readonly<Record<string, string>> = {
    ...{ '/hop': '/root.tar', '/loop': '/loop', '/nowhere': 'http://[' },
  };
  const server = createServer(({ url = '' }, answer) => {
    const place = places[url];
    if (place !== undefined) answer.writeHead(302, { location: place }).end();
    else if (url === '/root.tar') answer.end(tar);
    else answer.writeHead(404).end();
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const take = async (place: string): Promise<void> => {
    const fromSrc = `http://127.0.0.1:${port}${place}`;
    const query = { fromSrc, repo: 'got', tag: 'v1', message: '', changes: [], platform: '' };
    const call: ProgressCall = { ...CALL, progress: () => undefined };
    await imageImport(here.engine, { query, body: Readable.from([]) }, call);
  };
  try {
    await take('/hop');
    assert.deepEqual(getImage(here.engine, 'got:v1').image.diffIds, [digestOf(tar)]);
    const failures: readonly [string, RegExp][] = [
      ['/loop', /^cannot download http:\/\/127\.0\.0\.1:\d+: too many redirects$/],
      ['/nowhere', /: it redirects to no address$/],
      ['/gone', /: the server answers 404$/],
    ];
    for (const [place, message] of failures) {
      await assert.rejects(take(place), { kind: 'unavailable', message });
    }
  } finally {
    server.close();
  }
  await emptied(here.staging);
});
