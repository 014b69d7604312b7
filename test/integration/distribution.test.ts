import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Answer, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { buildImage, busyboxImage, pushImage, pushIndex } from '../support/images.ts';
import { type Registry, startRegistry } from '../support/registry.ts';

/** What a name stands for in its registry, asked for without a pull. */

let daemon: TestDaemon;
let registry: Registry;
let closed: Registry;
const HTPASSWD = 'me:$2y$04$Sod8w99ekeAF.nBK3ajpe.G1Fr7uN63e8FDFp67OBgrIrCN8ZyVSu\n';

before(async () => {
  registry = await startRegistry();
  closed = await startRegistry({ htpasswd: HTPASSWD });
  daemon = await startDaemon();
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  await registry.stop();
  await closed.stop();
});

async function ask(name: string, auth?: Readonly<Record<string, string>>): Promise<Answer> {
  const headers: Record<string, string> = {};
  if (auth !== undefined) {
    headers['X-Registry-Auth'] = Buffer.from(JSON.stringify(auth)).toString('base64url');
  }
  return await daemon.api('GET', `/v1.41/distribution/${name}/json`, undefined, headers);
}

test('of one image: its descriptor, and the platform that its config names', async () => {
  const image = await busyboxImage({ architecture: 'arm', variant: 'v7' });
  const digest = await pushImage(registry, 'team/one', 'latest', image);
  const descriptor = {
    mediaType: image.manifest.mediaType,
    digest,
    size: image.manifest.bytes.length,
  };
  const wanted = {
    Descriptor: descriptor,
    Platforms: [{ architecture: 'arm', os: 'linux', variant: 'v7' }],
  };
  for (const name of [`${registry.host}/team/one`, `${registry.host}/team/one@${digest}`]) {
    const answer = await ask(name);
    assert.deepEqual([answer.status, answer.json()], [200, wanted], name);
  }
  assert.deepEqual(await daemon.json('GET', '/images/json'), []);
});

test('of a list: the platforms of all its images', async () => {
  const images = await Promise.all(
    ['amd64', 'arm64'].map((architecture) => buildImage({ layers: [[]], architecture })),
  );
  const digest = await pushIndex(registry, { repository: 'team/many', tag: 'v1' }, images);
  const answer = await ask(`${registry.host}/team/many:v1`);
  const { Descriptor, Platforms } = answer.json() as {
    Descriptor: { mediaType: string; digest: string };
    Platforms: unknown;
  };
  assert.equal(Descriptor.digest, digest);
  assert.equal(Descriptor.mediaType, 'application/vnd.oci.image.index.v1+json');
  assert.deepEqual(Platforms, [
    { architecture: 'amd64', os: 'linux' },
    { architecture: 'arm64', os: 'linux' },
  ]);
});

test('credentials go along, and what is not there is said as a pull says it', async () => {
  const authorization = `Basic ${Buffer.from('me:secret').toString('base64')}`;
  await pushImage({ url: closed.url, authorization }, 'private', 'v1', await busyboxImage());
  const name = `${closed.host}/private:v1`;
  const without = await ask(name);
  assert.equal(without.status, 500);
  assert.match(without.text, /no basic auth credentials/);
  assert.equal((await ask(name, { username: 'me', password: 'secret' })).status, 200);

  const missing = await ask(`${registry.host}/team/one:nope`);
  assert.equal(missing.status, 404);
  assert.match(missing.text, /manifest for .*\/team\/one:nope not found: manifest unknown/);
  const id = await ask('a'.repeat(64));
  assert.equal(id.status, 404);
  assert.match(id.text, /no manifest found for full image ID/);
  assert.equal((await ask('Not-A-Name')).status, 400);
});
