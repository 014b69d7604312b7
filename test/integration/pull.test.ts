import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiffId } from '../../src/base/digest.ts';
import { imagePull } from '../../src/engine/images/pull.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import type { AuthConfig } from '../../src/spec/docker/auth.ts';
import type { ProgressMessage } from '../../src/spec/docker/progress.ts';
import { startFaultyRegistry } from '../fault/registry.ts';
import { type ImageEngine, openImageEngine } from '../support/image-engine.ts';
import {
  type BuiltImage,
  buildImage,
  busyboxImage,
  digestOf,
  pushImage,
  pushIndex,
} from '../support/images.ts';
import { eventually } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temp.ts';

async function pull(
  { engine }: ImageEngine,
  fromImage: string,
  options: {
    tag?: string;
    platform?: string;
    auth?: AuthConfig;
    signal?: AbortSignal;
    limitRate?: string;
  } = {},
): Promise<ProgressMessage[]> {
  const lines: ProgressMessage[] = [];
  const { tag = '', platform = '', auth, limitRate = '' } = options;
  await imagePull(
    engine,
    { query: { fromImage, tag, platform, delta: '', limitRate }, headers: { registryAuth: auth } },
    {
      signal: options.signal ?? new AbortController().signal,
      apiVersion: [1, 51],
      progress: (line) => lines.push(line),
    },
  );
  return lines;
}

/** Without what depends on time: `Downloading`, and the last line's numbers. */
function shape(lines: readonly ProgressMessage[]): string[] {
  return lines
    .filter((line) => line.status !== 'Downloading')
    .map((line) => `${line.id === undefined ? '' : `${line.id}: `}${line.status}`)
    .map((line) => line.replace(/^Downloaded .* in .*$/, 'Downloaded …'));
}

const short = (digest: string): string => digest.slice(7, 19);
/** Waits until nothing is in staging: what a failed pull leaves is deleted in the background. */
const emptied = async ({ dataRoot }: ImageEngine): Promise<void> => {
  await eventually(() => readdirSync(dataRoot.staging).length === 0, { what: 'empty staging' });
};
const layerDirs = ({ dataRoot }: ImageEngine): string[] => readdirSync(dataRoot.layers);

function assertHere({ engine }: ImageEngine, image: BuiltImage): void {
  for (const { diffId } of image.layers) assert(engine.layers.find(diffId as DiffId), diffId);
}

const two = (first: string, second: string): Promise<BuiltImage> =>
  buildImage({
    layers: [[{ name: 'first', content: first }], [{ name: 'second', content: second }]],
  });

test('a pull from a real registry shows what Docker shows, and leaves the image whole', async () => {
  await using registry = await startRegistry();
  await using here = await openImageEngine();
  const image = await busyboxImage();
  const digest = await pushImage(registry, 'library/busybox', 'v1', image);
  const name = `${registry.host}/library/busybox`;
  const ids = image.layers.map((layer) => short(layer.digest));

  const lines = shape(await pull(here, name, { tag: 'v1' }));
  assert.equal(lines[0], 'v1: Pulling from library/busybox');
  assert.deepEqual(
    lines.slice(1, 4),
    ids.map((id) => `${id}: Pulling fs layer`),
  );
  for (const id of ids) {
    assert.deepEqual(
      lines.filter((line) => line.startsWith(id)),
      [
        'Pulling fs layer',
        'Verifying Checksum',
        'Download complete',
        'Extracting',
        'Pull complete',
      ].map((status) => `${id}: ${status}`),
    );
  }
  assert.deepEqual(lines.slice(-4, -1), [
    `Digest: ${digest}`,
    `Status: Downloaded newer image for ${name}:v1`,
    'Downloaded …',
  ]);
  assert.match(lines.at(-1) ?? '', /^Wrote \S+MB, shared 0B$/);
  assertHere(here, image);
  const { images } = here.engine.store;
  assert.equal(images.findTag(name, 'v1'), image.config.digest);
  const [base] = image.layers;
  const folder = here.engine.layers.directoryOf(base?.diffId as DiffId);
  assert(readFileSync(path.join(folder, 'bin/busybox')).length > 100_000);
  await emptied(here);
  assert.deepEqual(
    here.engine.events.kept().map(({ Type, Action, Actor }) => [Type, Action, Actor.ID]),
    [['image', 'pull', `${name}:v1`]],
  );

  assert.deepEqual(shape(await pull(here, `${name}:v1`)), [
    'v1: Pulling from library/busybox',
    `Digest: ${digest}`,
    `Status: Image is up to date for ${name}:v1`,
  ]);
  const byDigest = shape(await pull(here, `${name}@${digest}`));
  assert.equal(byDigest[0], `${digest}: Pulling from library/busybox`);
  assert.equal(byDigest.at(-1), `Status: Image is up to date for ${name}@${digest}`);
});

test('layers that are here are not fetched again', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  const one = await two('same', 'one');
  const other = await two('same', 'other');
  registry.add('app', 'v1', one);
  registry.add('app', 'v2', other);
  await pull(here, `${registry.host}/app`, { tag: 'v1' });
  const lines = shape(await pull(here, `${registry.host}/app`, { tag: 'v2' }));
  const [shared, fresh] = other.layers;
  assert.equal(lines[1], `${short(shared?.digest ?? '')}: Already exists`);
  assert.equal(lines[2], `${short(fresh?.digest ?? '')}: Pulling fs layer`);
  assert.equal(registry.count('GET', shared?.digest ?? ''), 1);
});

test('of a list, the image for this machine is taken, or the one that was asked for', async () => {
  await using registry = await startRegistry();
  await using here = await openImageEngine();
  const spec = { layers: [[{ name: 'x', content: 'x' }]] };
  const mine = await buildImage(spec);
  const riscv = await buildImage({ ...spec, architecture: 'riscv64' });
  const digest = await pushIndex(registry, { repository: 'multi', tag: 'v1' }, [riscv, mine]);
  const name = `${registry.host}/multi:v1`;
  assert(shape(await pull(here, name)).includes(`Digest: ${digest}`));
  const { images } = here.engine.store;
  assert.equal(images.findTag(`${registry.host}/multi`, 'v1'), mine.config.digest);
  await pull(here, name, { platform: 'linux/riscv64' });
  assert.equal(images.findTag(`${registry.host}/multi`, 'v1'), riscv.config.digest);
  await assert.rejects(pull(here, name, { platform: 'linux/arm/v7' }), {
    kind: 'notFound',
    message: 'no matching manifest for linux/arm/v7 in the manifest list entries',
  });
});

test('an image for another machine is refused when a platform is asked for, before its layers', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  const image = await buildImage({ layers: [[{ name: 'x' }]], architecture: 's390x' });
  registry.add('app', 'v1', image);
  const name = `${registry.host}/app:v1`;
  await assert.rejects(pull(here, name, { platform: 'linux/amd64' }), {
    message: `image with reference ${name} was found but does not match the specified platform: wanted linux/amd64, actual: linux/s390x`,
  });
  assert.equal(registry.count('GET', image.layers[0]?.digest ?? ''), 0);
});

test('without tag and digest, all tags are pulled', async () => {
  await using registry = await startRegistry();
  await using here = await openImageEngine();
  await pushImage(registry, 'app', 'v1', await two('a', 'b'));
  await pushImage(registry, 'app', 'v2', await two('c', 'd'));
  await pull(here, `${registry.host}/app`);
  const tags = here.engine.store.images.tagsIn(`${registry.host}/app`).map((each) => each.tag);
  assert.deepEqual(tags, ['v1', 'v2']);
});

test('a registry with a password: with it, with a wrong one, with none', async () => {
  await using registry = await startFaultyRegistry({
    auth: { kind: 'basic', user: 'me', password: 'secret' },
  });
  await using here = await openImageEngine();
  registry.add('app', 'v1', await two('a', 'b'));
  const auth = {
    username: 'me',
    password: 'secret',
    ...{ auth: '', email: '', serveraddress: '', identitytoken: '', registrytoken: '' },
  };
  const name = `${registry.host}/app:v1`;
  await assert.rejects(pull(here, name), /no basic auth credentials/);
  const wrong = { ...auth, password: 'wrong' };
  await assert.rejects(pull(here, name, { auth: wrong }), /unauthorized: authentication required/);
  await pull(here, name, { auth });
});

test('pulls of the same image share one download', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  const image = await two('a', 'b');
  registry.add('app', 'v1', image);
  const name = `${registry.host}/app:v1`;
  const [one, other] = await Promise.all([pull(here, name), pull(here, name)]);
  assert.deepEqual(shape(one), shape(other));
  assert.equal(registry.count('GET', '/manifests/v1'), 1);
  for (const { digest } of image.layers) assert.equal(registry.count('GET', digest), 1);
});

test('pulls of different images that share a layer fetch it once', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  const one = await two('same', 'one');
  const other = await two('same', 'other');
  registry.add('one', 'v1', one);
  registry.add('other', 'v1', other);
  await Promise.all([
    pull(here, `${registry.host}/one:v1`),
    pull(here, `${registry.host}/other:v1`),
  ]);
  assert.equal(registry.count('GET', one.layers[0]?.digest ?? ''), 1);
  assertHere(here, one);
  assertHere(here, other);
});

test('a client that goes away cancels its pull, unless another shares it', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  const image = await two('a', 'b');
  registry.add('app', 'v1', image);
  const slow = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  registry.fault = async (request) => {
    if (!request.path.includes('/blobs/')) return false;
    asked.resolve();
    await slow.promise;
    return false;
  };
  const name = `${registry.host}/app:v1`;
  const leaver = new AbortController();
  const leaving = pull(here, name, { signal: leaver.signal });
  const staying = pull(here, name);
  await asked.promise;
  leaver.abort(new Error('gone'));
  await assert.rejects(leaving, { message: 'gone' });
  slow.resolve();
  await staying;
  assertHere(here, image);

  const second = await two('c', 'd');
  registry.add('app', 'v2', second);
  registry.fault = () => new Promise(() => undefined);
  const alone = new AbortController();
  const cancelled = pull(here, `${registry.host}/app:v2`, { signal: alone.signal });
  setTimeout(() => alone.abort(new Error('gone')), 300);
  await assert.rejects(cancelled, { message: 'gone' });
  await new Promise((resolve) => setTimeout(resolve, 200));
  await emptied(here);
});

test('a layer that comes damaged is fetched once more; twice damaged, nothing is left', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  const image = await two('a', 'b');
  registry.add('app', 'v1', image);
  const last = image.layers[1]?.digest ?? '';
  const good = registry.blobs.get(last) ?? new Uint8Array();
  const bad = Buffer.from(good);
  bad.fill(0x5a, 20, 40);
  let times = 1;
  registry.fault = (request) => {
    if (request.path.endsWith(last)) registry.blobs.set(last, request.before < times ? bad : good);
    return false;
  };
  await pull(here, `${registry.host}/app:v1`);
  assertHere(here, image);

  await using empty = await openImageEngine();
  times = Number.POSITIVE_INFINITY;
  await assert.rejects(pull(empty, `${registry.host}/app:v1`), {
    kind: 'dataLoss',
    message: `filesystem layer verification failed for digest ${last}`,
  });
  await emptied(empty);
  assert.equal(empty.engine.store.images.list().length, 0);
  assert.equal(empty.engine.layers.find(image.layers[0]?.diffId as DiffId), undefined);
});

test('after a failure of the link, the next pull fetches only the layers that are missing', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  const image = await two('a', 'b');
  registry.add('app', 'v1', image);
  const [first, last] = image.layers.map((layer) => layer.digest);
  registry.fault = (request, answer) => {
    if (!request.path.endsWith(last ?? '')) return false;
    answer.writeHead(404).end('{"errors":[{"code":"UNAVAILABLE","message":"not now"}]}');
    return true;
  };
  await assert.rejects(pull(here, `${registry.host}/app:v1`), { kind: 'unavailable' });
  await emptied(here);
  assert.equal(layerDirs(here).length, 1);
  // Whatever else is removed meanwhile.
  assert.deepEqual(await here.engine.layers.collect(), []);
  registry.fault = () => false;
  await pull(here, `${registry.host}/app:v1`);
  assert.equal(registry.count('GET', first ?? ''), 1);
  assertHere(here, image);
});

test('a whole layer of a pull that failed is kept over a restart, for a time', async () => {
  await using registry = await startFaultyRegistry();
  using folder = temporaryFolder('leases');
  const root = path.join(folder.path, 'data');
  const image = await two('a', 'b');
  const [first, last] = image.layers;
  registry.add('app', 'v1', image);
  registry.fault = (request, answer) => {
    if (!request.path.endsWith(last?.digest ?? '')) return false;
    answer.writeHead(404).end('{"errors":[{"code":"UNAVAILABLE","message":"not now"}]}');
    return true;
  };
  const failed = async (here: ImageEngine): Promise<void> => {
    await assert.rejects(pull(here, `${registry.host}/app:v1`), { kind: 'unavailable' });
    assert(here.engine.layers.find(first?.diffId as DiffId));
  };
  {
    await using here = await openImageEngine(root);
    await failed(here);
  }
  await using here = await openImageEngine(root);
  assert.deepEqual(await here.engine.layers.collect(), []);
  here.database.sql('UPDATE layer_leases SET until_ms = ?').run(Date.now() - 1);
  assert.deepEqual(await here.engine.layers.collect(), [first?.diffId], 'it is over');
  await failed(here);
  here.engine.layers.dropPartials();
  assert.deepEqual(await here.engine.layers.collect(), [first?.diffId], 'images were pruned');

  registry.fault = () => false;
  await pull(here, `${registry.host}/app:v1`);
  here.database.sql('DELETE FROM images').run();
  assert.equal((await here.engine.layers.collect()).length, 2, 'an image ends the lease');
});

test('a rate that is asked for, or the daemon has, is kept to', async () => {
  await using registry = await startFaultyRegistry();
  const content = randomText(400_000);
  registry.add('app', 'v1', await two(content, `${content}!`));
  const bytes = registry.blobs.values().reduce((sum, blob) => sum + blob.length, 0);
  const name = `${registry.host}/app:v1`;
  const secondsOf = async (config: { maxDownloadRate: number }, limitRate: string) => {
    await using here = await openImageEngine(undefined, config);
    const startMs = performance.now();
    await pull(here, name, { limitRate });
    return (performance.now() - startMs) / 1000;
  };
  const least = bytes / 400_000;
  assert((await secondsOf({ maxDownloadRate: 0 }, '400000')) >= least * 0.95);
  assert((await secondsOf({ maxDownloadRate: 400_000 }, '')) >= least * 0.95);
  assert((await secondsOf({ maxDownloadRate: 1000 }, '0')) < 60, 'a pull may be without limit');
  await using here = await openImageEngine();
  await assert.rejects(pull(here, name, { limitRate: 'fast' }), { kind: 'invalidArgument' });
});

test('on a slow link large layers come one after another', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  const layers = ['a', 'b', 'c'].map((name) => [{ name, content: randomText(800_000) }]);
  const image = await buildImage({ layers });
  registry.add('app', 'v1', image);
  const underWay = new Set<string>();
  let most = 0;
  registry.fault = async (request, answer) => {
    const blob = registry.blobs.get(request.path.split('/').at(-1) ?? '');
    if (blob === undefined || blob.length < 100_000 || request.method !== 'GET') return false;
    underWay.add(request.path);
    most = Math.max(most, underWay.size);
    answer.writeHead(200, { 'content-length': blob.length });
    for (let at = 0; at < blob.length; at += 100_000) {
      await sleep(400);
      answer.write(blob.subarray(at, at + 100_000));
    }
    underWay.delete(request.path);
    answer.end();
    return true;
  };
  await pull(here, `${registry.host}/app:v1`);
  assertHere(here, image);
  assert.equal(most, 1);
});

/** Text that does not get smaller than three quarters of it. */
function randomText(bytes: number): string {
  return randomBytes(Math.ceil((bytes * 3) / 4)).toString('base64');
}

const BAD_MANIFESTS: readonly [string, (m: Record<string, unknown>) => unknown, RegExp][] = [
  ['is not JSON', () => 'nonsense', /the manifest is not valid/],
  ['has schema version 1', () => ({ schemaVersion: 1, fsLayers: [] }), /schema version 1/],
  ['has an unknown type', (m) => ({ ...m, mediaType: 'a/b' }), /unsupported manifest media type/],
  [
    'names a config that is none',
    (m) => ({ ...m, config: { ...(m['config'] as object), mediaType: 'application/helm' } }),
    /Encountered remote "application\/helm"\(unknown\) when fetching/,
  ],
  [
    'has a foreign layer',
    (m) =>
      patchLayer(m, { mediaType: 'application/vnd.docker.image.rootfs.foreign.diff.tar.gzip' }),
    /foreign layer/,
  ],
  ['has a layer of unknown type', (m) => patchLayer(m, { mediaType: 'x/y' }), /unsupported layer/],
  [
    'lies about a size, too small',
    (m) => patchLayer(m, { size: 10 }),
    /sends more than the 10 bytes/,
  ],
  [
    'lies about a size, too large',
    (m) => patchLayer(m, { size: 999_999 }),
    /has less than the 999999/,
  ],
  ['has a bad digest', (m) => patchLayer(m, { digest: 'sha256:abc' }), /invalid digest/],
  ['has fewer layers than its config', (m) => ({ ...m, layers: [] }), /config lists 2 layers/],
];

function patchLayer(m: Record<string, unknown>, patch: object): unknown {
  const layers = (m['layers'] as object[]).map((layer, i) =>
    i === 0 ? { ...layer, ...patch } : layer,
  );
  return { ...m, layers };
}

test('a manifest that lies or is of another kind is one clear error, and nothing is left', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  const image = await two('a', 'b');
  for (const [i, [what, change, message]] of BAD_MANIFESTS.entries()) {
    registry.add('app', `v${i}`, image);
    const good = JSON.parse(Buffer.from(image.manifest.bytes).toString()) as Record<
      string,
      unknown
    >;
    const changed = change(good);
    const text = typeof changed === 'string' ? changed : JSON.stringify(changed);
    registry.manifests.set(`app:v${i}`, {
      bytes: Buffer.from(text),
      mediaType: image.manifest.mediaType,
    });
    await assert.rejects(pull(here, `${registry.host}/app:v${i}`), message, what);
    await emptied(here);
    assert.equal(here.engine.store.images.list().length, 0, what);
  }
});

test('a config that is not JSON, and references that are none, are one clear error each', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  const image = await two('a', 'b');
  registry.add('app', 'v1', image);
  const config = Buffer.from('{"rootfs":');
  const digest = digestOf(config);
  registry.addBlob('app', { digest, bytes: config });
  const manifest = JSON.parse(Buffer.from(image.manifest.bytes).toString()) as { config: object };
  manifest.config = { ...manifest.config, digest, size: config.length };
  registry.manifests.set('app:v1', {
    bytes: Buffer.from(JSON.stringify(manifest)),
    mediaType: image.manifest.mediaType,
  });
  await assert.rejects(pull(here, `${registry.host}/app:v1`), /the image config is not valid/);
  await assert.rejects(pull(here, 'App'), /repository name \(library\/App\) must be lowercase/);
  await assert.rejects(pull(here, 'app', { tag: 'v1\n' }), { kind: 'invalidArgument' });
  await assert.rejects(pull(here, 'app', { tag: 'v1', platform: 'a b' }), {
    kind: 'invalidArgument',
  });
});

test('a disk that fills in the middle of a layer is one clear error, and its space comes back', async () => {
  await using registry = await startFaultyRegistry();
  using folder = temporaryFolder('small-disk');
  const sys = openSyscalls();
  sys.mount({ source: 'small', target: folder.path, type: 'tmpfs', data: 'size=12m' });
  try {
    await using here = await openImageEngine(path.join(folder.path, 'data'));
    const noise = (n: number): Uint8Array => randomBytes(n << 20);
    const large = await buildImage({
      layers: [[{ name: 'a', content: noise(4) }], [{ name: 'b', content: noise(20) }]],
    });
    const small = await buildImage({ layers: [[{ name: 'c', content: noise(6) }]] });
    registry.add('large', 'v1', large);
    registry.add('small', 'v1', small);
    await assert.rejects(pull(here, `${registry.host}/large:v1`), /no space left on device/);
    await emptied(here);
    // 6 MB fit only when nothing of the large image is left.
    await pull(here, `${registry.host}/small:v1`);
    assertHere(here, small);
  } finally {
    sys.umount(folder.path);
  }
});

test('a worker that is killed is one clear error, and the next pull works', async () => {
  await using registry = await startFaultyRegistry();
  await using here = await openImageEngine();
  registry.add('app', 'v1', await two('a', 'b'));
  registry.fault = (request) => {
    if (!request.path.includes('/blobs/')) return false;
    for (const pid of childrenOf(process.pid)) process.kill(pid, 'SIGKILL');
    return true;
  };
  await assert.rejects(pull(here, `${registry.host}/app:v1`), {
    kind: 'internal',
    message: 'the pull worker was ended by SIGKILL (out of memory?) before it was done',
  });
  await emptied(here);
  registry.fault = () => false;
  await pull(here, `${registry.host}/app:v1`);
});

/** Direct children that are workers. */
function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter((text) => text !== '')
    .map(Number)
    .filter((child) => readFileSync(`/proc/${child}/cmdline`, 'utf8').includes('worker-main'));
}
