import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type Dockerd, startDockerd } from '../support/dockerd.ts';
import { type BuiltImage, buildImage, pushImage } from '../support/images.ts';
import { becomeHost } from '../support/network-host.ts';
import { runOk } from '../support/processes.ts';
import { type Registry, startRegistry } from '../support/registry.ts';

/** Clients that know nothing of deltas, and an image that has some beside it. */

let daemon: TestDaemon;
let dockerd: Dockerd;
let registry: Registry;
let images: readonly BuiltImage[];

before(async () => {
  becomeHost();
  registry = await startRegistry();
  dockerd = await startDockerd();
  daemon = await startDaemon();
  const text = Array.from({ length: 5000 }, (_, i) => `line ${i}\n`).join('');
  const layer = (version: number) => [{ name: 'text', content: `${text}version ${version}\n` }];
  images = await Promise.all([1, 2].map((version) => buildImage({ layers: [layer(version)] })));
  for (const [i, image] of images.entries()) {
    await pushImage(registry, 'app', `v${i + 1}`, image);
    await daemon.api('POST', `/images/create?fromImage=${registry.host}/app&tag=v${i + 1}`);
  }
});

after(async () => {
  // One that did not start has failed the tests already.
  for (const each of [daemon, dockerd, registry] as (AsyncDisposable | undefined)[]) {
    await each?.[Symbol.asyncDispose]();
  }
});

test('a delta beside an image changes nothing for Docker and skopeo', async () => {
  const reference = `${registry.host}/app:v2`;
  const inspect = async () =>
    await runOk('skopeo', ['inspect', '--tls-verify=false', '--raw', `docker://${reference}`]);
  const raw = await inspect();
  const of = (tag: string): string => encodeURIComponent(`${registry.host}/app:${tag}`);
  const made = await daemon.api('POST', `/deltas/publish?target=${of('v2')}&base=${of('v1')}`);
  assert.match(made.text, /Delta from/);

  assert.equal(await inspect(), raw);
  // Docker has the base, as a device would.
  await dockerd.docker('pull', '-q', `${registry.host}/app:v1`);
  await dockerd.docker('pull', '-q', reference);
  const format = '{{.Id}} {{index .RepoDigests 0}}';
  const found = await dockerd.docker('image', 'inspect', '--format', format, reference);
  const { config, manifest } = images[1] ?? assert.fail();
  assert.equal(found.trim(), `${config.digest} ${registry.host}/app@${manifest.digest}`);
});
