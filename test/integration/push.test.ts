import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import type { DiffId, ImageId } from '../../src/base/digest.ts';
import { imagePull } from '../../src/engine/images/pull.ts';
import { imagePush } from '../../src/engine/images/push.ts';
import type { ProgressMessage } from '../../src/spec/docker/progress.ts';
import { startFaultyRegistry } from '../fault/registry.ts';
import { type ImageEngine, openImageEngine } from '../support/image-engine.ts';
import { type BuiltImage, buildImage, busyboxImage } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';

const signal = new AbortController().signal;

async function push(
  { engine }: ImageEngine,
  name: string,
  tag: string,
): Promise<ProgressMessage[]> {
  const lines: ProgressMessage[] = [];
  await imagePush(
    engine,
    { params: { name }, query: { tag, platform: null }, headers: { registryAuth: undefined } },
    { signal, apiVersion: [1, 51], progress: (line) => lines.push(line) },
  );
  return lines;
}

async function pull({ engine }: ImageEngine, fromImage: string): Promise<void> {
  const query = { fromImage, tag: '', platform: '', delta: '' };
  const call = { signal, apiVersion: [1, 51], progress: () => undefined } as const;
  await imagePull(engine, { query, headers: { registryAuth: undefined } }, call);
}

/** Gives an image that is here another name. */
function tag({ engine, database }: ImageEngine, image: BuiltImage, repository: string): void {
  database.transaction(() => {
    engine.store.images.setTagInTransaction({
      repository,
      tag: 'v1',
      imageId: image.config.digest as ImageId,
      nowMs: 1,
    });
  });
}

const said = (lines: readonly ProgressMessage[], id: string): string[] =>
  lines.filter((line) => line.id === id.slice(7, 19)).map((line) => line.status ?? '');

/** An engine that has the image, pulled from a registry that is gone by now. */
async function engineWith(image: BuiltImage): Promise<ImageEngine> {
  const here = await openImageEngine();
  await using source = await startFaultyRegistry();
  source.add('source', 'v1', image);
  await pull(here, `${source.host}/source:v1`);
  return here;
}

test('a push to another registry sends each layer, and what comes back is the same image', async () => {
  const image = await busyboxImage();
  await using here = await engineWith(image);
  await using registry = await startRegistry();
  const name = `${registry.host}/team/app`;
  tag(here, image, name);
  const lines = await push(here, name, 'v1');
  assert.equal(lines[0]?.status, `The push refers to repository [${name}]`);
  for (const { diffId } of image.layers) {
    const statuses = said(lines, diffId).filter((each) => each !== 'Pushing');
    assert.deepEqual(statuses, ['Preparing', 'Pushed']);
  }
  const { aux } = lines.at(-1) as { aux: { Tag: string; Digest: string; Size: number } };
  assert.equal(lines.at(-2)?.status, `v1: digest: ${aux.Digest} size: ${aux.Size}`);

  await using other = await openImageEngine();
  await pull(other, `${name}:v1`);
  const { images } = other.engine.store;
  assert.equal(images.findTag(name, 'v1'), image.config.digest);
  assert.equal(
    here.engine.store.images.findRepoDigest(name, aux.Digest as never),
    image.config.digest,
  );

  const again = await push(here, name, 'v1');
  for (const { diffId } of image.layers) {
    assert.deepEqual(said(again, diffId), ['Preparing', 'Layer already exists']);
  }
});

test('within a registry, layers are mounted, and the digest that was pulled is pushed', async () => {
  await using registry = await startRegistry();
  await using here = await openImageEngine();
  const image = await busyboxImage();
  const { pushImage } = await import('../support/images.ts');
  const digest = await pushImage(registry, 'one', 'v1', image);
  await pull(here, `${registry.host}/one:v1`);
  const name = `${registry.host}/two`;
  tag(here, image, name);
  const lines = await push(here, name, 'v1');
  for (const { diffId } of image.layers) {
    assert.deepEqual(said(lines, diffId), ['Preparing', 'Mounted from one']);
  }
  assert.equal((lines.at(-1) as { aux: { Digest: string } }).aux.Digest, digest);
});

test('a large layer goes in pieces, and a cut in the middle resumes where the registry is', async () => {
  const noise = randomBytes(14 << 20);
  const image = await buildImage({ layers: [[{ name: 'noise', content: noise }]] });
  await using here = await engineWith(image);
  await using registry = await startFaultyRegistry();
  const name = `${registry.host}/app`;
  tag(here, image, name);
  let cuts = 0;
  let received = 0;
  registry.fault = (request, answer) => {
    if (request.method !== 'PATCH') return false;
    if (cuts === 0 && request.headers['content-range']?.startsWith('0-') === false) {
      cuts += 1;
      answer.socket?.destroy();
      return true;
    }
    received += Number(request.headers['content-length']);
    return false;
  };
  await push(here, name, 'v1');
  assert.equal(cuts, 1);
  const status = registry.requests.filter(
    (each) => each.method === 'GET' && each.path.includes('/uploads/'),
  );
  assert.equal(status.length, 1);
  assert(received < noise.length * 1.1, `${received} bytes were sent`);
  await using other = await openImageEngine();
  await pull(other, `${name}:v1`);
  assert(other.engine.layers.find(image.layers[0]?.diffId as DiffId));
});

test('a cut in the middle of a piece, again and again, sends what is missing and nothing twice', async () => {
  const noise = randomBytes(9 << 20);
  const image = await buildImage({ layers: [[{ name: 'noise', content: noise }]] });
  await using here = await engineWith(image);
  await using registry = await startFaultyRegistry();
  const name = `${registry.host}/app`;
  tag(here, image, name);
  const cutsAt = [1, 3, 5, 6, 8].map((mb) => mb << 20);
  registry.onUpload = (bytes) => bytes >= (cutsAt[0] ?? Infinity) && cutsAt.shift() !== undefined;
  await push(here, name, 'v1');
  assert.deepEqual(cutsAt, []);
  const starts = registry.requests.flatMap(
    ({ headers }) => /^(\d+)-/.exec(headers['content-range'] ?? '')?.[1] ?? [],
  );
  // What the registry had of a piece that was cut is not sent again.
  for (const mb of [1, 3, 5, 6, 8]) {
    assert(
      starts.some((start) => Number(start) >= mb << 20 && Number(start) < (mb << 20) + (1 << 20)),
      `${mb} MB: ${starts.join(' ')}`,
    );
  }
  await using other = await openImageEngine();
  await pull(other, `${name}:v1`);
  assert(other.engine.layers.find(image.layers[0]?.diffId as DiffId));
});

test('layers are sent at once, as many as may be, and the push tells what is through', async () => {
  const layers = Array.from({ length: 6 }, (_, i) => [
    { name: `noise-${i}`, content: randomBytes(1 << 20) },
  ]);
  const image = await buildImage({ layers });
  await using here = await engineWith(image);
  await using registry = await startFaultyRegistry();
  const name = `${registry.host}/app`;
  tag(here, image, name);
  let going = 0;
  let most = 0;
  registry.fault = async ({ method, path: place }, answer) => {
    if (method !== 'PUT' || !place.includes('/uploads/')) return false;
    going += 1;
    most = Math.max(most, going);
    answer.once('close', () => {
      going -= 1;
    });
    await sleep(300);
    return false;
  };
  // Slower than the link, so that there is something to tell.
  registry.onUpload = async () => {
    await sleep(20);
    return false;
  };
  const lines = await push(here, name, 'v1');
  assert.equal(most, 5, 'max-concurrent-uploads');
  const whole = lines.flatMap(({ progressDetail }) => progressDetail?.whole ?? []);
  const sizes = image.layers.map(
    ({ diffId }) => here.engine.layers.find(diffId as DiffId)?.tarBytes ?? 0,
  );
  const tarBytes = sizes.reduce((sum, bytes) => sum + bytes, 0);
  assert(whole.length >= layers.length);
  assert(whole.every(({ total }) => total === tarBytes));
  assert(whole.every(({ current }, i) => current >= (whole[i - 1]?.current ?? 0)));
  assert.equal(whole.at(-1)?.current, tarBytes);
});

test('a layer whose files were changed is not pushed', async () => {
  const image = await buildImage({ layers: [[{ name: 'file', content: 'right' }]] });
  await using here = await engineWith(image);
  await using registry = await startFaultyRegistry();
  const name = `${registry.host}/app`;
  tag(here, image, name);
  const folder = here.engine.layers.directoryOf(image.layers[0]?.diffId as DiffId);
  writeFileSync(path.join(folder, 'file'), 'wrong');
  await assert.rejects(push(here, name, 'v1'), { kind: 'dataLoss' });
  assert.equal(registry.manifests.size, 0);
  assert.equal(registry.blobs.size, 0);
});

test('what is not here, and what may not be pushed, is said as Docker says it', async () => {
  await using here = await openImageEngine();
  await assert.rejects(push(here, 'nobody/nothing', 'v1'), {
    kind: 'notFound',
    message: 'An image does not exist locally with the tag: nobody/nothing:v1',
  });
  const image = await buildImage({ layers: [[{ name: 'x' }]] });
  await using mine = await engineWith(image);
  await using registry = await startFaultyRegistry();
  const name = `${registry.host}/app`;
  tag(mine, image, name);
  registry.fault = (request, answer) => {
    if (request.method !== 'POST') return false;
    const body = {
      errors: [{ code: 'DENIED', message: 'requested access to the resource is denied' }],
    };
    answer.writeHead(403).end(JSON.stringify(body));
    return true;
  };
  await assert.rejects(push(mine, name, 'v1'), {
    message: 'denied: requested access to the resource is denied',
  });
});

test('skopeo reads what was pushed', async () => {
  const image = await busyboxImage();
  await using here = await engineWith(image);
  await using registry = await startRegistry();
  const name = `${registry.host}/app`;
  tag(here, image, name);
  await push(here, name, 'v1');
  const inspected = JSON.parse(
    execFileSync('skopeo', ['inspect', '--tls-verify=false', `docker://${name}:v1`]).toString(),
  ) as { Layers: string[] };
  assert.equal(inspected.Layers.length, image.layers.length);
});
