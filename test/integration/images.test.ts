import assert from 'node:assert/strict';
import { test } from 'node:test';
import { chainIds } from '../../src/base/chain-id.ts';
import type { DiffId, ImageId } from '../../src/base/digest.ts';
import type { Call } from '../../src/engine/call.ts';
import { Containers } from '../../src/engine/containers/containers.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { imageHistory } from '../../src/engine/images/history.ts';
import { imageInspect } from '../../src/engine/images/inspect.ts';
import { imageList } from '../../src/engine/images/list.ts';
import { imagePrune } from '../../src/engine/images/prune.ts';
import { imagePull } from '../../src/engine/images/pull.ts';
import { imageRemove } from '../../src/engine/images/remove.ts';
import { imageTag } from '../../src/engine/images/tag.ts';
import type { ImageDeleteItem } from '../../src/spec/docker/image.ts';
import type { Filters } from '../../src/spec/filters.ts';
import { openImageEngine } from '../support/image-engine.ts';
import { type BuiltImage, buildImage, pushImage } from '../support/images.ts';
import { type Registry, startRegistry } from '../support/registry.ts';

/** An engine with two images that share a layer, pulled from a registry. */
type Fixture = AsyncDisposable & {
  readonly engine: Engine;
  readonly registry: Registry;
  readonly base: BuiltImage;
  readonly app: BuiltImage;
  readonly baseName: string;
  readonly appName: string;
};

const BASE_LAYER = [
  { name: 'etc', type: 'directory' as const },
  { name: 'etc/a', content: 'aaa' },
];

async function fixture(): Promise<Fixture> {
  const stack = new AsyncDisposableStack();
  const registry = stack.use(await startRegistry());
  const here = stack.use(await openImageEngine());
  const base = await buildImage({
    layers: [BASE_LAYER],
    created: '2024-01-01T00:00:00Z',
    config: { Labels: { kind: 'base' } },
  });
  const app = await buildImage({
    layers: [BASE_LAYER, [{ name: 'app', content: 'x'.repeat(1000) }]],
    created: '2024-06-01T12:00:00.5Z',
    config: { Labels: { kind: 'app', tier: 'one' }, Cmd: ['/app'], Env: ['A=b'] },
  });
  await pushImage(registry, 'base', 'v1', base);
  await pushImage(registry, 'team/app', 'v2', app);
  const engine = {
    ...here.engine,
    database: here.database,
    containers: new Containers(),
  } as Engine;
  const [baseName, appName] = [`${registry.host}/base`, `${registry.host}/team/app`];
  for (const fromImage of [`${baseName}:v1`, `${appName}:v2`]) {
    const query = { fromImage, tag: '', platform: '', delta: '' };
    const args = { query, headers: { registryAuth: undefined } };
    await imagePull(engine, args, { ...call(), progress: () => undefined });
  }
  return {
    ...{ engine, registry, base, app, baseName, appName },
    [Symbol.asyncDispose]: () => stack.disposeAsync(),
  };
}

function call(minor = 51): Call {
  return { signal: new AbortController().signal, apiVersion: [1, minor] };
}

/** A container as far as images care. */
function addContainer(engine: Engine, imageId: string, isRunning: boolean): string {
  const id = (isRunning ? 'e' : 'c').repeat(64);
  const document = { imageId: imageId as ImageId, layers: [], created: '' };
  engine.containers.add({ id, name: id, isRunning, document, execIds: new Set() } as never);
  return id;
}

const list = (engine: Engine, filters: Filters = {}, minor = 51, more = {}) =>
  imageList(
    engine,
    {
      query: {
        ...{ all: false, 'shared-size': false, manifests: false, filter: '' },
        ...{ filters, ...more },
      },
    },
    call(minor),
  );

const inspect = (engine: Engine, name: string, minor = 51, userAgent = '') =>
  imageInspect(
    engine,
    { params: { name }, query: { manifests: false, platform: null }, headers: { userAgent } },
    call(minor),
  );

const remove = (engine: Engine, name: string, force = false) =>
  imageRemove(engine, { params: { name }, query: { force } });

const tag = (engine: Engine, name: string, repo: string, tagText = '') =>
  imageTag(engine, { params: { name }, query: { repo, tag: tagText } });

const id = (image: BuiltImage): string => image.config.digest;
const short = (text: string): string => text.replace('sha256:', '').slice(0, 12);
const untagged = (items: readonly ImageDeleteItem[]): string[] =>
  items.flatMap((item) => ('Untagged' in item ? [item.Untagged] : []));
const deleted = (items: readonly ImageDeleteItem[]): string[] =>
  items.flatMap((item) => ('Deleted' in item ? [item.Deleted] : []));

test('images are listed newest first, with the fields of each API version', async () => {
  await using at = await fixture();
  const { engine, base, app } = at;
  const now = await list(engine, {}, 51, { 'shared-size': true });
  assert.deepEqual(
    now.map((each) => each.Id),
    [id(app), id(base)],
  );
  const [first] = now;
  assert.deepEqual(
    { ...first, Descriptor: undefined },
    {
      Containers: 0,
      Created: Date.parse('2024-06-01T12:00:00Z') / 1000,
      Descriptor: undefined,
      Id: id(app),
      Labels: { kind: 'app', tier: 'one' },
      ParentId: '',
      RepoDigests: [`${at.appName}@${app.manifest.digest}`],
      RepoTags: [`${at.appName}:v2`],
      SharedSize: 3,
      Size: 1003,
    },
  );
  assert.equal(first?.Descriptor?.digest, app.manifest.digest);
  const [old] = await list(engine, {}, 41);
  assert.equal(old?.VirtualSize, 1003);
  assert.equal(old?.Containers, -1);
  assert.equal(old?.SharedSize, -1);
  assert.ok(old !== undefined && !('Descriptor' in old));
  addContainer(engine, id(app), false);
  assert.equal((await list(engine))[0]?.Containers, 1);
  const [manifest] = (await list(engine, {}, 51, { manifests: true }))[0]?.Manifests ?? [];
  assert.equal(manifest?.ID, app.manifest.digest);
  assert.equal(manifest?.ImageData?.Size.Unpacked, 1003);
});

test('every filter of the list does what Docker makes it do', async () => {
  await using at = await fixture();
  const { engine, base, app } = at;
  const found = async (filters: Filters): Promise<string[]> =>
    (await list(engine, filters)).map((each) => (each.Id === id(app) ? 'app' : 'base'));
  assert.deepEqual(await found({ label: ['kind'] }), ['app', 'base']);
  assert.deepEqual(await found({ label: ['kind=app', 'tier'] }), ['app']);
  assert.deepEqual(await found({ before: [`${at.appName}:v2`] }), ['base']);
  assert.deepEqual(await found({ since: [short(id(base))] }), ['app']);
  assert.deepEqual(await found({ until: ['2024-02-01T00:00:00Z'] }), ['base']);
  assert.deepEqual(await found({ until: ['1h'] }), ['app', 'base']);
  assert.deepEqual(await found({ reference: [`${at.registry.host}/*`] }), ['base']);
  assert.deepEqual(await found({ reference: [`${at.registry.host}/*/*`] }), ['app']);
  assert.deepEqual(await found({ reference: ['*/*/*:v2'] }), ['app']);
  assert.deepEqual(await found({ reference: ['none'] }), []);
  assert.deepEqual(await found({ dangling: ['false'] }), ['app', 'base']);
  assert.deepEqual(await found({ dangling: ['true'] }), []);
  await tag(engine, id(app), at.baseName, 'v1');
  assert.deepEqual(await found({ dangling: ['true'] }), ['base']);
  const [dangling] = await list(engine, { dangling: ['true'] }, 42);
  assert.deepEqual(dangling?.RepoTags, []);
  await assert.rejects(list(engine, { nothing: ['x'] }), /invalid filter 'nothing'/);
  await assert.rejects(
    list(engine, { dangling: ['maybe'] }),
    /invalid filter 'dangling=\[maybe\]'/,
  );
  await assert.rejects(list(engine, { before: ['none'] }), /No such image: none:latest/);
});

test('an image is found by name, digest, ID and the beginning of an ID', async () => {
  await using at = await fixture();
  const { engine, app, base } = at;
  const names = [
    `${at.appName}:v2`,
    `${at.appName}@${app.manifest.digest}`,
    `${at.appName}:moved@${app.manifest.digest}`,
    id(app),
    id(app).slice(7),
    short(id(app)),
    `sha256:${short(id(app))}`,
  ];
  for (const name of names) assert.equal((await inspect(engine, name)).Id, id(app), name);
  const none = { kind: 'notFound' };
  // docker-compose 1 cannot do without what later versions left out.
  const compose = 'docker-compose/1.29.2 docker-py/5.0.3 Linux/6.1';
  for (const [minor, agent, isThere] of [
    [44, '', true],
    [51, '', false],
    [51, 'docker-compose/2.30', false],
    [51, compose, true],
  ] as const) {
    const { ContainerConfig } = await inspect(engine, names[0] ?? '', minor, agent);
    assert.equal(ContainerConfig !== undefined, isThere, `${minor} ${agent}`);
  }
  await assert.rejects(inspect(engine, at.appName), {
    ...none,
    message: `No such image: ${at.appName}:latest`,
  });
  await assert.rejects(inspect(engine, 'nothing'), { message: 'No such image: nothing:latest' });
  await assert.rejects(inspect(engine, `sha256:${'0'.repeat(64)}`), {
    message: `No such image: sha256:${'0'.repeat(64)}`,
  });
  await assert.rejects(inspect(engine, 'UPPER'), {
    kind: 'invalidArgument',
    message: 'invalid reference format: repository name (library/UPPER) must be lowercase',
  });
  // With enough images some first digit is shared.
  const byDigit = new Map<string, string>([[short(id(app)).slice(0, 1), id(app)]]);
  let shared = byDigit.has(short(id(base)).slice(0, 1)) ? short(id(base)).slice(0, 1) : undefined;
  for (let i = 0; shared === undefined; i += 1) {
    const extra = await buildImage({ layers: [BASE_LAYER], config: { Labels: { n: `${i}` } } });
    if (short(id(extra)).slice(0, 1) !== short(id(app)).slice(0, 1)) continue;
    await pushImage(at.registry, 'extra', 'v1', extra);
    const query = { fromImage: `${at.registry.host}/extra:v1`, tag: '', platform: '', delta: '' };
    const args = { query, headers: { registryAuth: undefined } };
    await imagePull(engine, args, { ...call(), progress: () => undefined });
    shared = short(id(app)).slice(0, 1);
  }
  await assert.rejects(inspect(engine, shared), {
    kind: 'invalidArgument',
    message: `multiple IDs found with provided prefix: ${shared}`,
  });
});

test('inspect and history show what the image says', async () => {
  await using at = await fixture();
  const { engine, app } = at;
  const now = await inspect(engine, `${at.appName}:v2`);
  assert.deepEqual(now.Config, {
    Env: ['A=b'],
    Cmd: ['/app'],
    Labels: { kind: 'app', tier: 'one' },
  });
  assert.deepEqual(now.RootFS, {
    Type: 'layers',
    Layers: app.layers.map((layer) => layer.diffId),
  });
  assert.equal(now.Created, '2024-06-01T12:00:00.5Z');
  assert.equal(now.Os, 'linux');
  assert.equal(now.GraphDriver.Name, engine.layers.driver);
  assert.notEqual(now.Metadata.LastTagTime, '0001-01-01T00:00:00Z');
  assert.ok(!('ContainerConfig' in now) && !('VirtualSize' in now));
  const old = await inspect(engine, `${at.appName}:v2`, 41);
  assert.equal(old.VirtualSize, 1003);
  assert.equal(old.ContainerConfig?.Hostname, '');
  assert.equal(old.Config?.Hostname, '');
  assert.equal(old.Config?.Volumes, null);

  const history = await imageHistory(engine, {
    params: { name: id(app) },
    query: { platform: null },
  });
  assert.equal(history[0]?.Id, id(app));
  assert.deepEqual(history[0]?.Tags, [`${at.appName}:v2`]);
  assert.deepEqual(
    history.map((step) => step.Size),
    [1000, 3],
  );
  assert.equal(history[1]?.Id, '<missing>');
  const wish = { os: 'linux', architecture: 's390x', variant: '' };
  await assert.rejects(
    imageHistory(engine, { params: { name: id(app) }, query: { platform: wish } }),
    /does not provide the specified platform \(linux\/s390x\)/,
  );
});

test('a tag is made and moved, and a name that cannot be one is refused', async () => {
  await using at = await fixture();
  const { engine, app, base } = at;
  await tag(engine, `${at.appName}:v2`, 'mine');
  assert.equal((await inspect(engine, 'mine:latest')).Id, id(app));
  await tag(engine, id(base), 'mine', 'latest');
  assert.equal((await inspect(engine, 'mine')).Id, id(base));
  assert.equal(engine.events.kept().at(-1)?.Actor.Attributes['name'], 'mine:latest');
  const bad = { kind: 'invalidArgument' };
  await assert.rejects(tag(engine, id(app), 'Upper'), bad);
  await assert.rejects(tag(engine, id(app), 'a', 'bad tag'), {
    ...bad,
    message: 'invalid tag format',
  });
  await assert.rejects(tag(engine, id(app), `a@sha256:${'0'.repeat(64)}`), {
    ...bad,
    message: 'refusing to create a tag with a digest reference',
  });
  await assert.rejects(tag(engine, 'none', 'a'), { kind: 'notFound' });
});

test('removing the last name removes the image and the layers that nothing else has', async () => {
  await using at = await fixture();
  const { engine, app, base } = at;
  await tag(engine, id(app), 'second');
  assert.deepEqual(await remove(engine, 'second'), [{ Untagged: 'second:latest' }]);
  const items = await remove(engine, `${at.appName}:v2`);
  assert.deepEqual(untagged(items), [`${at.appName}:v2`, `${at.appName}@${app.manifest.digest}`]);
  const chains = chainIds(app.layers.map((layer) => layer.diffId as DiffId));
  assert.deepEqual(deleted(items), [id(app), chains[1]]);
  assert.equal((await list(engine)).length, 1);
  const last = await remove(engine, short(id(base)));
  assert.deepEqual(deleted(last), [id(base), chains[0]]);
  assert.deepEqual(await list(engine), []);
  await assert.rejects(remove(engine, 'second'), { message: 'No such image: second:latest' });
});

test('what is in use or has several names is not removed unasked', async () => {
  await using at = await fixture();
  const { engine, app } = at;
  const name = `${at.appName}:v2`;
  const image = short(id(app));
  await tag(engine, id(app), 'elsewhere/app');
  await assert.rejects(remove(engine, id(app)), {
    kind: 'conflict',
    message: `conflict: unable to delete ${image} (must be forced) - image is referenced in multiple repositories`,
  });
  await remove(engine, 'elsewhere/app');

  const stopped = short(addContainer(engine, id(app), false));
  await assert.rejects(remove(engine, name), {
    message: `conflict: unable to remove repository reference "${name}" (must force) - container ${stopped} is using its referenced image ${image}`,
  });
  await assert.rejects(remove(engine, id(app)), {
    message: `conflict: unable to delete ${image} (must be forced) - image is being used by stopped container ${stopped}`,
  });
  const running = short(addContainer(engine, id(app), true));
  for (const force of [false, true]) {
    await assert.rejects(remove(engine, id(app), force), {
      message: `conflict: unable to delete ${image} (cannot be forced) - image is being used by running container ${running}`,
    });
  }
  // By name and by force the name goes; the image stays for its container.
  const items = await remove(engine, name, true);
  assert.deepEqual(deleted(items), []);
  assert.equal(untagged(items).length, 2);
  assert.equal((await inspect(engine, id(app))).RepoTags.length, 0);
});

test('prune removes what has no tag, or everything unused', async () => {
  await using at = await fixture();
  const { engine, app, base } = at;
  const prune = (filters: Filters) => imagePrune(engine, { query: { filters } }, call());
  assert.deepEqual(await prune({}), { ImagesDeleted: null, SpaceReclaimed: 0 });
  await tag(engine, id(base), at.appName, 'v2');
  assert.deepEqual(await prune({ until: ['2023-01-01'] }), {
    ImagesDeleted: null,
    SpaceReclaimed: 0,
  });
  const pruned = await prune({});
  assert.equal(pruned.SpaceReclaimed, 1000);
  assert.equal(deleted(pruned.ImagesDeleted ?? [])[0], id(app));
  assert.equal(engine.events.kept().at(-1)?.Action, 'prune');
  const container = addContainer(engine, id(base), false);
  assert.equal((await prune({ dangling: ['false'] })).ImagesDeleted, null);
  const user = engine.containers.get(container);
  engine.containers.delete(user);
  assert.equal((await prune({ dangling: ['false'], 'label!': ['kind'] })).ImagesDeleted, null);
  const all = await prune({ dangling: ['false'], label: ['kind=base'] });
  assert.equal(deleted(all.ImagesDeleted ?? [])[0], id(base));
  assert.equal(engine.store.images.count(), 0);
  await assert.rejects(prune({ other: ['x'] }), /invalid filter 'other'/);
});
