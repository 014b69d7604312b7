import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { ImageId } from '../../src/base/digest.ts';
import { imagePull } from '../../src/engine/images/pull.ts';
import { imagePush } from '../../src/engine/images/push.ts';
import type { AuthConfig } from '../../src/spec/docker/auth.ts';
import type { ProgressMessage } from '../../src/spec/docker/progress.ts';
import { type FaultyRegistry, startFaultyRegistry } from '../fault/registry.ts';
import { type ImageEngine, openImageEngine } from '../support/image-engine.ts';
import { type BuiltImage, buildImage, digestOf, pushImage } from '../support/images.ts';
import { runOk } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';

/** The digest that was pulled is the digest that is pushed, though no packed layer is kept. */

const signal = new AbortController().signal;

function auth(username: string): AuthConfig {
  const empty = { auth: '', identitytoken: '', registrytoken: '', serveraddress: '', email: '' };
  return { ...empty, username, password: `${username}'s secret` };
}

async function pull({ engine }: ImageEngine, fromImage: string, who?: AuthConfig): Promise<void> {
  const query = { fromImage, tag: '', platform: '', delta: '' };
  const call = { signal, apiVersion: [1, 51], progress: () => undefined } as const;
  await imagePull(engine, { query, headers: { registryAuth: who } }, call);
}

/** Tags the image for a repository and pushes it; the manifest's digest, and what was said. */
async function push(
  { engine, database }: ImageEngine,
  image: BuiltImage,
  name: string,
  who?: AuthConfig,
): Promise<{ digest: string; lines: ProgressMessage[] }> {
  const imageId = image.config.digest as ImageId;
  database.transaction(() => {
    engine.store.images.setTagInTransaction({ repository: name, tag: 'v1', imageId, nowMs: 1 });
  });
  const lines: ProgressMessage[] = [];
  await imagePush(
    engine,
    {
      ...{ params: { name }, query: { tag: 'v1', platform: null } },
      headers: { registryAuth: who },
    },
    { signal, apiVersion: [1, 51], progress: (line) => lines.push(line) },
  );
  const { aux } = lines.at(-1) as { aux: { Digest: string } };
  return { digest: aux.Digest, lines };
}

/** Three layers, packed otherwise than here, and a manifest that says more than a push makes. */
async function foreignImage(bytes = 1 << 20): Promise<BuiltImage> {
  const noise = randomBytes(bytes).toString('hex');
  const image = await buildImage({
    layers: [
      [{ name: 'noise', content: noise }],
      [{ name: 'text', content: 'a line of text\n'.repeat(20_000) }],
      [{ name: 'small', content: 'x' }],
    ],
    compression: ['gzip', 'gzip', 'zstd'],
  });
  const document = {
    ...(JSON.parse(Buffer.from(image.manifest.bytes).toString()) as object),
    annotations: { 'org.example.kept': 'as it is' },
  };
  const text = Buffer.from(JSON.stringify(document, undefined, '\t'));
  return { ...image, manifest: { ...image.manifest, bytes: text, digest: digestOf(text) } };
}

const again = (lines: readonly ProgressMessage[]): string[] =>
  lines.flatMap(({ status = '' }) => (status.includes('compressed again') ? [status] : []));

const blobGets = (registry: FaultyRegistry): FaultyRegistry['requests'] =>
  registry.requests.filter(({ method, path }) => method === 'GET' && path.includes('/blobs/'));

test('from one registry to another every digest stays, and the manifest byte for byte', async () => {
  const image = await foreignImage();
  await using origin = await startRegistry();
  await using target = await startRegistry();
  await using here = await openImageEngine();
  await pushImage(origin, 'team/app', 'v1', image);
  await pull(here, `${origin.host}/team/app:v1`);
  const name = `${target.host}/other/app`;
  const { digest, lines } = await push(here, image, name);
  assert.equal(digest, image.manifest.digest);
  assert.deepEqual(again(lines), []);
  for (const { diffId } of image.layers) {
    const said = lines.filter(({ id }) => id === diffId.slice(7, 19)).map(({ status }) => status);
    assert.deepEqual([said[0], said.at(-1)], ['Preparing', 'Pushed']);
  }
  const inspect = async (...args: string[]): Promise<string> =>
    await runOk('skopeo', ['inspect', '--tls-verify=false', ...args, `docker://${name}:v1`]);
  const { Digest, Layers } = JSON.parse(await inspect()) as { Digest: string; Layers: string[] };
  assert.equal(Digest, image.manifest.digest);
  assert.deepEqual(
    Layers,
    image.layers.map((layer) => layer.digest),
  );
  assert.equal(await inspect('--raw'), Buffer.from(image.manifest.bytes).toString());
  await using other = await openImageEngine();
  await pull(other, `${name}@${image.manifest.digest}`);
  assert(other.engine.store.images.find(image.config.digest as ImageId));
});

test('an origin that is gone is told of, and does not end the push', async () => {
  const image = await foreignImage();
  await using origin = await startFaultyRegistry();
  await using target = await startFaultyRegistry();
  await using here = await openImageEngine();
  origin.add('app', 'v1', image);
  await pull(here, `${origin.host}/app:v1`);
  origin.fault = (_, answer) => {
    answer.socket?.destroy();
    return true;
  };
  const { digest, lines } = await push(here, image, `${target.host}/app`);
  assert.notEqual(digest, image.manifest.digest);
  const said = again(lines);
  assert.equal(said.length, image.layers.length);
  assert.match(said[0] ?? '', /^[0-9a-f]{12}: compressed again, its digest differs \(.+EOF\)$/);
  await using other = await openImageEngine();
  await pull(other, `${target.host}/app:v1`);

  // What had to be made here does not take the place of what came.
  origin.fault = () => false;
  await using third = await startFaultyRegistry();
  const kept = await push(here, image, `${third.host}/app`);
  assert.equal(kept.digest, image.manifest.digest);
});

test('no origin sees the credentials for the target; what anybody may read is read', async () => {
  const image = await foreignImage(1000);
  const kind = 'token';
  const secret = { user: 'me', password: "me's secret" };
  for (const anonymousPull of [false, true]) {
    await using origin = await startFaultyRegistry({ auth: { kind, ...secret, anonymousPull } });
    const you = { user: 'you', password: "you's secret" };
    await using target = await startFaultyRegistry({ auth: { kind: 'basic', ...you } });
    await using here = await openImageEngine();
    origin.add('app', 'v1', image);
    await pull(here, `${origin.host}/app:v1`, auth('me'));
    const before = origin.requests.length;
    const { digest, lines } = await push(here, image, `${target.host}/app`, auth('you'));
    const asked = origin.requests.slice(before);
    assert(asked.length > 0);
    for (const { authorization = '' } of asked) assert.match(authorization, /^$|^Bearer /);
    assert.equal(digest === image.manifest.digest, anonymousPull);
    assert.equal(again(lines).length, anonymousPull ? 0 : image.layers.length);
    // A refusal is not asked for again for each layer.
    if (!anonymousPull) assert(asked.length <= 2 * image.layers.length, `${asked.length}`);
  }
});

test('wrong bytes of an origin come to nothing in the target', async () => {
  const image = await foreignImage();
  await using origin = await startFaultyRegistry();
  await using target = await startFaultyRegistry();
  await using here = await openImageEngine();
  origin.add('app', 'v1', image);
  await pull(here, `${origin.host}/app:v1`);
  const [layer] = image.layers;
  assert(layer !== undefined);
  const wrong = Buffer.from(layer.bytes);
  wrong[wrong.length >> 1] = (wrong[wrong.length >> 1] ?? 0) ^ 1;
  origin.addBlob('app', { digest: layer.digest, bytes: wrong });
  const { lines } = await push(here, image, `${target.host}/app`);
  const [said, ...more] = again(lines);
  assert.deepEqual(more, []);
  assert.match(said ?? '', /verification failed for digest sha256:/);
  assert.deepEqual(
    image.layers.map(({ digest }) => target.blobs.has(digest)),
    [false, true, true],
  );
  await using other = await openImageEngine();
  await pull(other, `${target.host}/app:v1`);
});

test('what is read again from an origin keeps to the rate of downloads', async () => {
  const image = await foreignImage(400_000);
  await using origin = await startFaultyRegistry();
  await using target = await startFaultyRegistry();
  origin.add('app', 'v1', image);
  const rate = { bytesPerSec: 0 };
  await using here = await openImageEngine(undefined, {
    get maxDownloadRate() {
      return rate.bytesPerSec;
    },
  });
  await pull(here, `${origin.host}/app:v1`);
  const bytes = image.layers.reduce((sum, layer) => sum + layer.bytes.length, 0);
  const secondsOf = async (repository: string): Promise<number> => {
    const startMs = performance.now();
    const { digest } = await push(here, image, `${target.host}/${repository}`);
    assert.equal(digest, image.manifest.digest);
    return (performance.now() - startMs) / 1000;
  };
  const before = blobGets(origin).length;
  rate.bytesPerSec = bytes / 5;
  assert((await secondsOf('slow')) >= 4.8);
  assert.equal(blobGets(origin).length - before, image.layers.length);
});

test('cuts in the middle, on either side, are gone on from', async () => {
  const image = await foreignImage(6 << 20);
  const [large] = image.layers;
  assert(large !== undefined);
  await using origin = await startFaultyRegistry();
  await using target = await startFaultyRegistry();
  await using here = await openImageEngine();
  origin.add('app', 'v1', image);
  await pull(here, `${origin.host}/app:v1`);
  let cuts = 0;
  origin.fault = ({ method, path }, answer) => {
    if (method !== 'GET' || !path.endsWith(large.digest) || cuts > 0) return false;
    cuts += 1;
    answer.writeHead(200, { 'content-length': large.bytes.length });
    answer.write(large.bytes.subarray(0, large.bytes.length / 2), () => answer.socket?.destroy());
    return true;
  };
  const before = blobGets(origin).length;
  const cutsAt = [1 << 20, 5 << 20];
  target.onUpload = (bytes) => bytes >= (cutsAt[0] ?? Infinity) && cutsAt.shift() !== undefined;
  const { digest, lines } = await push(here, image, `${target.host}/app`);
  assert.equal(digest, image.manifest.digest);
  assert.deepEqual(again(lines), []);
  assert.equal(cuts, 1);
  assert.deepEqual(cutsAt, []);
  const ranges = blobGets(origin)
    .slice(before)
    .filter(({ path }) => path.endsWith(large.digest))
    .map(({ headers }) => headers.range ?? '');
  assert.equal(ranges.length, 2);
  assert.match(ranges[1] ?? '', /^bytes=[1-9]\d+-$/);
});

test('a registry that does not mount gets its own blobs again', async () => {
  const image = await foreignImage(1000);
  const you = { user: 'you', password: "you's secret" };
  await using registry = await startFaultyRegistry({ auth: { kind: 'basic', ...you } });
  await using here = await openImageEngine();
  registry.add('one', 'v1', image);
  await pull(here, `${registry.host}/one:v1`, auth('you'));
  registry.fault = ({ query }) => {
    query.delete('mount');
    return false;
  };
  const { digest } = await push(here, image, `${registry.host}/two`, auth('you'));
  assert.equal(digest, image.manifest.digest);
  // What is there already is sent by nobody.
  const sent = blobGets(registry).length;
  assert.equal((await push(here, image, `${registry.host}/two`, auth('you'))).digest, digest);
  assert.equal(blobGets(registry).length, sent);
});

test('what an engine like this one packed is packed the same again, with no origin at all', async () => {
  const image = await buildImage({
    layers: [
      [
        { name: 'text', content: 'a line of text\n'.repeat(50_000) },
        { name: 'packed', content: randomBytes(3 << 20) },
        { name: 'more', content: randomBytes(1 << 20).toString('hex') },
      ],
      [{ name: 'small', content: 'x' }],
    ],
  });
  await using first = await openImageEngine();
  await using second = await openImageEngine();
  await using middle = await startFaultyRegistry();
  await using target = await startRegistry();
  {
    await using origin = await startFaultyRegistry();
    origin.add('app', 'v1', image);
    await pull(first, `${origin.host}/app:v1`);
  }
  const { digest } = await push(first, image, `${middle.host}/app`);
  assert.notEqual(digest, image.manifest.digest);
  await pull(second, `${middle.host}/app:v1`);
  middle.fault = (_, answer) => {
    answer.writeHead(404).end();
    return true;
  };
  const asked = middle.requests.length;
  const pushed = await push(second, image, `${target.host}/app`);
  assert.equal(pushed.digest, digest);
  assert.equal(middle.requests.length, asked);
  assert.deepEqual(again(pushed.lines), []);
});
