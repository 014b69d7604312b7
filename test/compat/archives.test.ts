import assert from 'node:assert/strict';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { clientCommand, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { type BuiltImage, buildImage, pushImage } from '../support/images.ts';
import { becomeHost } from '../support/network-host.ts';
import { runOk } from '../support/processes.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temp.ts';

/**
 * Images go from this engine to Docker and back, by archives and by a registry, also by way of
 * skopeo: IDs, layers and tags stay what they are.
 */

let daemon: TestDaemon;
let dockerd: Dockerd;
let registry: Registry;
let app: BuiltImage;
let tool: BuiltImage;

const coracle = (...args: string[]): Promise<string> =>
  runOk(clientCommand(), args, { env: { DOCKER_HOST: daemon.host } });
const docker = (...args: string[]): Promise<string> => dockerd.docker(...args);
const skopeo = (...args: string[]): Promise<string> =>
  runOk('skopeo', ['--insecure-policy', ...args]);

before(async () => {
  becomeHost();
  registry = await startRegistry();
  dockerd = await startDockerd();
  daemon = await startDaemon();
  const base = [{ name: 'base', content: 'what both have in common' }];
  const gone = { name: '.wh.base', content: '' };
  const link = { name: 'link', type: 'link' as const, linkname: 'file' };
  app = await buildImage({
    layers: [base, [{ name: 'file', content: 'x'.repeat(100_000), mode: 0o4755 }, link]],
    config: { Cmd: ['/file'], Env: ['A=b'], Labels: { one: 'two' } },
  });
  tool = await buildImage({ layers: [base, [gone], base], mediaTypes: 'docker' });
  await pushImage(registry, 'app', 'v1', app);
  await pushImage(registry, 'tool', 'v1', tool);
});

after(async () => {
  // One that did not start has failed the tests already.
  for (const each of [daemon, dockerd, registry] as (AsyncDisposable | undefined)[]) {
    await each?.[Symbol.asyncDispose]();
  }
});

/** Three names for two images: `first/app` v1 and v2, `second/tool` latest. */
const NAMES = ['first/app:v1', 'first/app:v2', 'second/tool:latest'];
const idOf = (name: string): string => (name.includes('app') ? app : tool).config.digest;

async function name(client: typeof docker): Promise<void> {
  await client('pull', '-q', `${registry.host}/app:v1`);
  await client('pull', '-q', `${registry.host}/tool:v1`);
  for (const each of NAMES) {
    const from = each.includes('app') ? 'app' : 'tool';
    await client('tag', `${registry.host}/${from}:v1`, each);
  }
}

async function clear(client: typeof docker): Promise<void> {
  const ids = (await client('images', '-aq', '--no-trunc')).split('\n').filter(Boolean);
  if (ids.length > 0) await client('rmi', '-f', ...new Set(ids));
}

/** What a client says of an image; the same from both for what is the image's. */
async function view(client: typeof docker, image: string): Promise<unknown> {
  const [all] = JSON.parse(await client('image', 'inspect', image)) as Record<string, unknown>[];
  const { Id, RepoTags, RootFS, Architecture, Os, Created, Config } = all ?? {};
  const { Cmd, Env, Labels } = Config as Record<string, unknown>;
  // What an image does not have is null to older engines, and left out by newer ones.
  const own = [Cmd, Env, Labels].map((value) => value ?? null);
  return { Id, RepoTags, RootFS, Architecture, Os, Created, own };
}

async function assertSame(from: typeof docker, to: typeof docker): Promise<void> {
  for (const each of NAMES) {
    const seen = (await view(to, each)) as { Id: string };
    assert.equal(seen.Id, idOf(each));
    assert.deepEqual(seen, await view(from, each), each);
  }
}

test('Docker loads what this engine saves, many images with all their tags', async () => {
  using folder = temporaryFolder('archives');
  const file = path.join(folder.path, 'saved.tar');
  await name(coracle);
  for (const each of ['app', 'tool']) await coracle('rmi', `${registry.host}/${each}:v1`);
  const asked = NAMES.toReversed();
  await coracle('save', '-o', file, ...asked);
  const list = JSON.parse(await runOk('tar', ['-xOf', file, 'manifest.json'])) as {
    RepoTags: string[];
  }[];
  assert.deepEqual(
    list.flatMap(({ RepoTags }) => RepoTags),
    asked,
    'in the order that was asked for',
  );
  await clear(docker);
  const loaded = await docker('load', '-i', file);
  assert.deepEqual(
    loaded.split('\n').filter(Boolean).toSorted(),
    NAMES.map((each) => `Loaded image: ${each}`),
  );
  await assertSame(coracle, docker);
});

test('this engine loads what Docker saves, and Docker what is saved of that', async () => {
  using folder = temporaryFolder('archives');
  const file = path.join(folder.path, 'saved.tar');
  await clear(docker);
  await name(docker);
  for (const each of ['app', 'tool']) await docker('rmi', `${registry.host}/${each}:v1`);
  await docker('save', '-o', file, ...NAMES);
  await clear(coracle);
  const loaded = await coracle('load', '-i', file);
  assert.deepEqual(
    loaded.split('\n').filter(Boolean).toSorted(),
    NAMES.map((each) => `Loaded image: ${each}`),
  );
  await assertSame(docker, coracle);
  // And back again.
  const again = path.join(folder.path, 'again.tar');
  await coracle('save', '-o', again, ...NAMES);
  await clear(docker);
  await docker('load', '-i', again);
  await assertSame(coracle, docker);
});

test('skopeo carries what either saves to the other, as Docker’s archive and as an OCI layout', async () => {
  using folder = temporaryFolder('archives');
  const at = (file: string): string => path.join(folder.path, file);
  for (const [from, to, kind, copy] of [
    [coracle, docker, 'docker-archive', 'oci-archive'],
    [coracle, docker, 'oci-archive', 'docker-archive'],
    [docker, coracle, 'docker-archive', 'oci-archive'], // this Docker writes no other
  ] as const) {
    await clear(from);
    await name(from);
    await clear(to);
    for (const file of ['one.tar', 'copy.tar', 'back.tar']) rmSync(at(file), { force: true });
    await from('save', '-o', at('one.tar'), 'first/app:v1');
    const source = `${kind}:${at('one.tar')}${kind === 'docker-archive' ? ':first/app:v1' : ''}`;
    const target = `${copy}:${at('copy.tar')}:docker.io/carried/app:v1`;
    await skopeo('copy', '-q', source, target);
    await skopeo('copy', '-q', target, `docker-archive:${at('back.tar')}:carried/app:v1`);
    await to('load', '-i', at('back.tar'));
    const seen = (await view(to, 'carried/app:v1')) as { RootFS: { Layers: string[] } };
    assert.deepEqual(
      seen.RootFS.Layers,
      app.layers.map(({ diffId }) => diffId),
    );
  }
  await clear(coracle);
  const layout = `oci-archive:${at('layout.tar')}:v7`;
  await skopeo('copy', '-q', `docker-archive:${at('one.tar')}:first/app:v1`, layout);
  const loaded = await coracle('load', '-i', at('layout.tar'));
  assert.match(loaded, /^Loaded image( ID)?: /);
});

test('Docker pulls what this engine pushes, by the same digest, and the other way round', async () => {
  await clear(coracle);
  await clear(docker);
  await coracle('pull', '-q', `${registry.host}/app:v1`);
  await coracle('tag', `${registry.host}/app:v1`, `${registry.host}/ours:v1`);
  const pushed = await coracle('push', `${registry.host}/ours:v1`);
  assert(pushed.includes(`v1: digest: ${app.manifest.digest} `), pushed);
  const pulled = await docker('pull', `${registry.host}/ours:v1`);
  assert(pulled.includes(`Digest: ${app.manifest.digest}\n`), pulled);
  assert.deepEqual(await view(docker, `${registry.host}/ours:v1`), {
    ...((await view(coracle, `${registry.host}/ours:v1`)) as object),
    RepoTags: [`${registry.host}/ours:v1`],
  });

  await docker('tag', `${registry.host}/ours:v1`, `${registry.host}/theirs:v1`);
  const theirs = /digest: (sha256:\S+) /.exec(
    await docker('push', `${registry.host}/theirs:v1`),
  )?.[1];
  const back = await coracle('pull', `${registry.host}/theirs@${theirs}`);
  assert(back.includes(`Digest: ${theirs}\n`), back);
  const inspected = JSON.parse(
    await skopeo('inspect', '--tls-verify=false', `docker://${registry.host}/ours:v1`),
  ) as { Digest: string; Layers: string[] };
  assert.equal(inspected.Digest, app.manifest.digest);
});

for (const kind of ['app', 'tool'] as const) {
  test(`Docker pulls ${kind} by its digest from the registry that we pushed it on to`, async () => {
    await using second = await startRegistry();
    await clear(coracle);
    await clear(docker);
    const image = kind === 'app' ? app : tool;
    await coracle('pull', '-q', `${registry.host}/${kind}:v1`);
    await coracle('tag', `${registry.host}/${kind}:v1`, `${second.host}/on/${kind}:v1`);
    await coracle('push', '-q', `${second.host}/on/${kind}:v1`);

    // Byte for byte what the first registry has, by the digest that was pulled.
    const { manifest, layers } = image;
    const at = `${second.url}/v2/on/${kind}`;
    const headers = { accept: manifest.mediaType };
    const answer = await fetch(`${at}/manifests/${manifest.digest}`, { headers });
    assert.equal(answer.headers.get('content-type'), manifest.mediaType);
    assert.deepEqual(Buffer.from(await answer.arrayBuffer()), Buffer.from(manifest.bytes));
    for (const { digest, bytes } of layers) {
      const blob = Buffer.from(await (await fetch(`${at}/blobs/${digest}`)).arrayBuffer());
      assert.deepEqual(blob, Buffer.from(bytes));
    }

    const name = `${second.host}/on/${kind}@${manifest.digest}`;
    await docker('pull', '-q', name);
    const [found] = JSON.parse(await docker('image', 'inspect', name)) as {
      Id: string;
      RepoDigests: string[];
      RootFS: { Layers: string[] };
    }[];
    assert.equal(found?.Id, image.config.digest);
    assert.deepEqual(found.RepoDigests, [name]);
    assert.deepEqual(
      found.RootFS.Layers,
      layers.map(({ diffId }) => diffId),
    );
    // And so do we, from what Docker would have: it is the same image.
    assert.match(await coracle('pull', name), new RegExp(`Digest: ${manifest.digest}`));
    await clear(coracle);
    await clear(docker);
  });
}
