import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, truncateSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { DeltaPlan } from '../../src/spec/delta-plan.ts';
import { clientCommand, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { DeltaSite, saidIn } from '../support/delta-site.ts';
import { noise } from '../support/deltas.ts';
import { type BuiltImage, buildImage, type LayerEntry } from '../support/images.ts';
import { unmountAllBelow } from '../support/mounts.ts';
import { emptied, eventually, runOk } from '../support/processes.ts';
import { startRegistryProxy } from '../support/registry-proxy.ts';
import { temporaryFolder } from '../support/temp.ts';

/** Deltas that cannot be used: each pull says why, in one sentence, and brings the image all the same. */
let site: DeltaSite;
/** For whom it does not matter what other images are there. */
let device: TestDaemon;
/** What delta lies there in the beginning, and is spoiled again and again. */
let lied: { readonly image: BuiltImage; readonly good: Listed };

before(async () => {
  site = await DeltaSite.start();
  device = await startDaemon();
  const image = await prepare('lie');
  lied = { image, good: await listOf('lie', image) };
});
after(async () => {
  await device?.[Symbol.asyncDispose]();
  await site?.[Symbol.asyncDispose]();
});

const digestOf = (bytes: string | Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** Two layers: one in common, one of a few files of which some differ. */
async function app(name: string, version: number, fileBytes: number): Promise<BuiltImage> {
  const file = (i: number): LayerEntry => ({
    name: `app/f${i}`,
    content: noise(`${i} ${i === 0 ? '' : version}`, fileBytes),
  });
  const layer = [file(0), file(1), file(2), { name: 'name', content: `${name} ${version}` }];
  return await buildImage({ layers: [[{ name: 'common', content: 'common' }], layer] });
}

/** v1 and v2 in the registry, with a delta between them. */
async function prepare(name: string, fileBytes = 20_000): Promise<BuiltImage> {
  const images = [await app(name, 1, fileBytes), await app(name, 2, fileBytes)] as const;
  await site.provide(name, images);
  assert.match((await site.publish(name, 'v2', 'v1')).join('\n'), /Delta from/);
  return images[1];
}

type Descriptor = { digest: string; size: number; annotations?: Record<string, string> };
type Artifact = { config: Descriptor; layers: Descriptor[]; annotations: Record<string, string> };
type Envelope = {
  version: number;
  base: { config: string; diffIds: string[] };
  target: { config: string; diffIds: string[] };
  parts: (null | { digest: string; size: number; frames: number[]; tarBytes: number })[];
};

const INDEX = 'application/vnd.oci.image.index.v1+json';

async function put(address: string, type: string, body: string): Promise<void> {
  const headers = { 'content-type': type };
  const answer = await fetch(address, { method: 'PUT', headers, body });
  assert.equal(answer.status, 201, `${address}: ${await answer.text()}`);
}

type Listed = {
  readonly address: string;
  readonly list: { manifests: Descriptor[] };
  readonly listed: Descriptor;
};

/** The list of referrers of v2, and the only delta in it. */
async function listOf(name: string, image: BuiltImage): Promise<Listed> {
  const tag = image.manifest.digest.replace(':', '-');
  const address = `${site.registry.url}/v2/${name}/manifests/${tag}`;
  const list = (await (await fetch(address, { headers: { accept: INDEX } })).json()) as {
    manifests: Descriptor[];
  };
  const [listed] = list.manifests;
  assert.ok(listed !== undefined);
  return { address, list, listed };
}

/** Lays another delta in the place of the one that was made: its digests are right, what it says is not. */
async function spoil(
  name: string,
  { address, list, listed }: Listed,
  change: (envelope: Envelope) => void,
): Promise<void> {
  const artifact = JSON.parse(
    readFileSync(site.registry.blobFile(listed.digest), 'utf8'),
  ) as Artifact;
  const file = site.registry.blobFile(artifact.config.digest);
  const envelope = JSON.parse(readFileSync(file, 'utf8')) as Envelope;
  change(envelope);
  const text = JSON.stringify(envelope);
  const begun = await fetch(`${site.registry.url}/v2/${name}/blobs/uploads/`, { method: 'POST' });
  const upload = new URL(begun.headers.get('location') ?? '', site.registry.url);
  upload.searchParams.set('digest', digestOf(text));
  await put(upload.href, 'application/octet-stream', text);
  artifact.config = { ...artifact.config, digest: digestOf(text), size: text.length };
  const manifest = JSON.stringify(artifact);
  const type = 'application/vnd.oci.image.manifest.v1+json';
  await put(`${site.registry.url}/v2/${name}/manifests/${digestOf(manifest)}`, type, manifest);
  const lie = { ...listed, digest: digestOf(manifest), size: manifest.length };
  const manifests = list.manifests.map((each) => (each === listed ? lie : each));
  await put(address, INDEX, JSON.stringify({ ...list, manifests }));
}

/** A device with v1 pulls v2: by layers, and the reason is in one line of what it says. */
async function fallsBack(name: string, image: BuiltImage, why: RegExp): Promise<void> {
  await site.pull(device, name, 'v1');
  const said = await site.pull(device, name, 'v2');
  const reasons = said.filter((line) =>
    /^(Deltas are not used|The delta cannot be used)/.test(line),
  );
  assert.equal(reasons.length, 1, said.join('\n'));
  assert.match(reasons[0] ?? '', why);
  assert.equal(await site.idOf(device, `${name}:v2`), image.config.digest);
  await emptied(path.join(device.dataRoot, 'staging'));
  // Who insists on a delta gets the same reason, and nothing.
  await device.json('DELETE', `/images/${site.registry.host}/${name}:v2`);
  const refused = await site.pull(device, name, 'v2', '&delta=require');
  assert.match(refused.at(-1) ?? '', why);
  assert.equal(await site.idOf(device, `${name}:v2`), undefined);
}

const only = ({ parts }: Envelope) => parts.find((part) => part !== null) ?? assert.fail();

const LIES: Readonly<Record<string, [RegExp, (envelope: Envelope) => void]>> = {
  'a version from the future': [
    /cannot use a delta of version 2: this engine knows version 1; update it or pull without deltas/,
    (envelope) => {
      envelope.version = 2;
    },
  ],
  'another target': [
    /invalid delta: its target is another image/,
    (envelope) => {
      envelope.target.config = digestOf('another');
    },
  ],
  'another base': [
    /invalid delta: its base is another image/,
    (envelope) => void envelope.base.diffIds.reverse(),
  ],
  'a petabyte': [
    /invalid delta: a part has an impossible length/,
    (envelope) => {
      only(envelope).tarBytes = 2 ** 50;
    },
  ],
  'less than it makes': [
    /invalid delta: it makes more than it says/,
    (envelope) => {
      only(envelope).tarBytes -= 1;
    },
  ],
  'a part that is not there': [
    /blob unknown|not found/,
    (envelope) => {
      only(envelope).digest = digestOf('nowhere');
    },
  ],
};

for (const [what, [why, change]] of Object.entries(LIES)) {
  test(`a delta that says ${what} is refused, and layers come`, async () => {
    await spoil('lie', lied.good, change);
    await fallsBack('lie', lied.image, why);
  });
}

test('a delta that cannot be used is no reason to leave the next one', async () => {
  const images = await Promise.all([1, 2, 3].map((version) => app('second', version, 20_000)));
  await site.provide('second', images);
  await site.publish('second', 'v3', 'v1', 'v2');
  const found = await listOf('second', images[2] ?? assert.fail());
  const sizeOf = ({ annotations }: Descriptor) => Number(annotations?.['dev.coracle.delta.size']);
  const [listed] = found.list.manifests.toSorted((a, b) => sizeOf(a) - sizeOf(b));
  await spoil('second', { ...found, listed: listed ?? assert.fail() }, (envelope) => {
    envelope.version = 2;
  });
  await site.pull(device, 'second', 'v1');
  await site.pull(device, 'second', 'v2');
  const name = encodeURIComponent(`${site.registry.host}/second:v3`);
  const plan = (await device.json('GET', `/deltas/plan?target=${name}`)) as DeltaPlan;
  const [first, next] = plan.Deltas;
  assert.match(first?.Problem ?? '', /cannot use a delta of version 2/);
  assert.deepEqual([next?.Problem, plan.Choice], ['', next?.Digest]);
  const words = ['image', 'delta', 'plan', `${site.registry.host}/second:v3`];
  const table = await runOk(clientCommand(), ['-H', device.host, ...words]);
  assert.match(table, /^ {2}WAY +DOWNLOAD +BASE\n {2}1 of 2 layers +[\d.]+kB *\n {2}delta /);
  assert.match(table, /^\* delta \w{12} +\d+\.\d+kB +\S+second:v\d$/m);
  assert.match(table, /^The delta \w{12} cannot be used: .* of version 2/m);
  const said = await site.pull(device, 'second', 'v3');
  const lines = said.filter((line) => line.includes('delta'));
  assert.equal(lines.length, 2, said.join('\n'));
  assert.match(lines[0] ?? '', /^A delta from .*second:v\d cannot be used: .* of version 2/);
  assert.match(lines[1] ?? '', /^Using a delta from .*second:v\d: /);
  assert.equal(await site.idOf(device, 'second:v3'), images[2]?.config.digest);
});

test('a registry that forbids its lists of referrers: layers come, and both ways say why', async () => {
  const image = await prepare('forbidden');
  const denied = '{"errors":[{"code":"DENIED","message":"not for you"}]}';
  await using proxy = await startRegistryProxy(site.registry.url, {
    answer: ({ url }) => (url.includes('/referrers/') ? { status: 403, body: denied } : undefined),
  });
  const name = `${proxy.host}/forbidden`;
  await site.pull(device, 'forbidden', 'v1');
  const target = encodeURIComponent(`${name}:v2`);
  const plan = (await device.json('GET', `/deltas/plan?target=${target}`)) as DeltaPlan;
  assert.equal(plan.Choice, 'layers');
  assert.match(plan.Problem, /not for you/);
  const pull = `/images/create?fromImage=${name}&tag=v2`;
  const said = saidIn(await site.lines(device, pull));
  assert.match(said.join('\n'), /^Deltas are not used: .*not for you$/m);
  const pulled = (await device.json('GET', `/images/${name}:v2/json`)) as { Id: string };
  assert.equal(pulled.Id, image.config.digest);
});

test('a registry that takes no artifacts says of what, and the way out', async () => {
  await prepare('untaken');
  const invalid = '{"errors":[{"code":"MANIFEST_INVALID","message":"manifest invalid"}]}';
  await using proxy = await startRegistryProxy(site.registry.url, {
    answer: ({ method, url }) =>
      method === 'PUT' && url.includes('/manifests/') ? { status: 400, body: invalid } : undefined,
  });
  const { host } = proxy;
  for (const tag of ['v1', 'v2']) {
    const pull = `/images/create?fromImage=${host}/untaken&tag=${tag}`;
    await site.lines(site.builder, pull);
  }
  const [target, base] = ['v2', 'v1'].map((tag) => encodeURIComponent(`${host}/untaken:${tag}`));
  const publish = `/deltas/publish?target=${target}&base=${base}`;
  const said = saidIn(await site.lines(site.builder, publish));
  const what = `the delta from ${host}/untaken:v1 to ${host}/untaken:v2`;
  const why = 'manifest invalid: manifest invalid (does this registry take OCI artifacts?)';
  assert.equal(said.at(-1), `cannot push ${what}: ${why}`);
});

test('a delta whose manifest is gone or damaged is refused, and layers come', async () => {
  const image = await prepare('gone');
  const { listed } = await listOf('gone', image);
  const file = site.registry.blobFile(listed.digest);
  truncateSync(file, 100);
  await fallsBack('gone', image, /unknown error/); // the words of the registry, which has no more
  rmSync(file);
  await fallsBack('gone', image, /manifest|unknown|not found/i);
});

test('a base that is removed in the middle of a pull stays until the target is there', async () => {
  const image = await prepare('removed', 400_000);
  await site.pull(device, 'removed', 'v1');
  const pulling = site.pull(device, 'removed', 'v2', '&delta=require&limitRate=600k');
  const staging = path.join(device.dataRoot, 'staging');
  await eventually(() => existsSync(staging) && readdirSync(staging).length > 0);
  await device.json('DELETE', `/images/${site.registry.host}/removed:v1?force=1`);
  await pulling;
  assert.equal(await site.idOf(device, 'removed:v1'), undefined);
  assert.equal(await site.idOf(device, 'removed:v2'), image.config.digest);
});

test('files of the base that go in the middle of a pull: the same pull goes on with layers', async () => {
  const image = await prepare('broken', 400_000);
  await using device = await startDaemon();
  await site.pull(device, 'broken', 'v1');
  const pulling = site.pull(device, 'broken', 'v2', '&limitRate=600k');
  const staging = path.join(device.dataRoot, 'staging');
  await eventually(() => existsSync(staging) && readdirSync(staging).length > 0);
  for (const folder of ['layers', 'objects']) {
    const below = path.join(device.dataRoot, folder);
    for (const name of readdirSync(below, { recursive: true, encoding: 'utf8' })) {
      if (/\/app\/f\d$/.test(name)) truncateSync(path.join(below, name), 10);
    }
  }
  const said = await pulling;
  assert.ok(
    said.some((line) => line.startsWith('The delta cannot be used, fetching layers: ')),
    said.join('\n'),
  );
  assert.equal(await site.idOf(device, 'broken:v2'), image.config.digest);
});

test('a disk that is full ends the pull with that reason, and leaves the base as it was', async () => {
  await prepare('full', 2_000_000);
  using folder = temporaryFolder('full');
  const dataRoot = path.join(folder.path, 'data');
  mkdirSync(dataRoot);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=9m', 'tmpfs', dataRoot]);
  try {
    await using device = await startDaemon({ dataRoot });
    await site.pull(device, 'full', 'v1');
    const id = await site.idOf(device, 'full:v1');
    const said = await site.pull(device, 'full', 'v2');
    assert.ok(
      said.some((line) => line.startsWith('Using a delta')),
      said.join('\n'),
    );
    assert.match(
      said.at(-1) ?? '',
      /^failed to register layer: write .*: no space left on device$/,
    );
    assert.equal(await site.idOf(device, 'full:v2'), undefined);
    assert.equal(await site.idOf(device, 'full:v1'), id);
    await emptied(path.join(dataRoot, 'staging'));
  } finally {
    unmountAllBelow(folder.path);
  }
});
