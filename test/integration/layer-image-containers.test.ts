import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { LAYER_IMAGE } from '../../src/store/layers/layer-images.ts';
import { type Box, openBox } from '../support/box.ts';
import { type LayerEntry, layerTar } from '../support/images.ts';
import { mountsBelow, mountsOf } from '../support/mounts.ts';
import { eventually } from '../support/processes.ts';

/** Containers on layers that are images of their names. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

function app(mtime: Date): LayerEntry[] {
  return [
    { name: 'app/', type: 'directory', mtime },
    ...Array.from({ length: 60 }, (_, i) => ({ name: `app/${i}`, content: `file ${i}`, mtime })),
  ];
}

/** An image of busybox with these files in a layer of its own. */
async function withFiles(name: string, entries: readonly LayerEntry[]): Promise<string> {
  const id = await box.create({ Cmd: ['true'] });
  const archive = `/containers/${id}/archive?path=/`;
  const put = await box.daemon.api('PUT', archive, await layerTar(entries));
  assert.equal(put.status, 200, put.text);
  await box.daemon.json('POST', `/commit?container=${id}&repo=${name}&tag=v1`, {});
  await box.remove(id);
  return `${name}:v1`;
}

const layers = (): string => path.join(box.daemon.dataRoot, 'layers');
const images = (): string[] =>
  readdirSync(layers()).filter((dir) => existsSync(path.join(layers(), dir, LAYER_IMAGE)));
/** What is mounted on layers, as the daemon sees it. */
const shown = (): string[] => mountsOf(box.daemon.pid, layers());

test('a container runs, changes and is committed, and is there after the daemon was killed', async () => {
  await withFiles('old', app(new Date(1_500_000_000_000)));
  const image = await withFiles('new', app(new Date(1_600_000_000_000)));
  assert.equal(images().length, 1);
  const id = await box.up({
    Image: image,
    Cmd: ['sh', '-c', 'chmod 600 /app/1; rm /app/2; mv /app/3 /app/moved; sleep 1000'],
  });
  await eventually(async () => (await box.exec(id, 'ls', '/app/moved')).code === 0);
  assert.equal(shown().length, 1);
  const changes = (await box.daemon.json('GET', `/containers/${id}/changes`)) as object[];
  assert.deepEqual(changes, [
    { Path: '/app', Kind: 0 },
    { Path: '/app/1', Kind: 0 },
    { Path: '/app/2', Kind: 2 },
    { Path: '/app/3', Kind: 2 },
    { Path: '/app/moved', Kind: 1 },
  ]);
  await box.daemon.stop('SIGKILL');
  await box.daemon.start();
  const seen = await box.exec(id, 'sh', '-c', 'cat /app/moved /app/59; stat -c " %Y" /app/59');
  assert.equal(seen.output, 'file 3file 59 1600000000\n');
  await box.daemon.json('POST', `/commit?container=${id}&repo=changed&tag=v1`, {});
  await box.remove(id);
  assert.equal(await box.sh('cat /app/59 /app/1', { Image: 'changed:v1' }), 'file 59file 1');
  assert.equal(shown().length, 1);
});

test('an image of names is verified without a container that shows it', async () => {
  await box.daemon.restart();
  const answer = await box.daemon.api('POST', '/images/new:v1/verify');
  assert.match(answer.text, /Image new:v1 is whole/);
});

test('save and load give the layers as they were', async () => {
  const saved = await box.daemon.api('GET', '/images/new:v1/get');
  for (const name of ['new:v1', 'changed:v1']) await box.daemon.json('DELETE', `/images/${name}`);
  await eventually(async () => images().length === 0, { what: 'the image of names to go' });
  const load = await box.daemon.api('POST', '/images/load', saved.bytes);
  assert.match(load.text, /Loaded image: .*new:v1/);
  assert.equal(images().length, 1);
  assert.equal(await box.sh('cat /app/7', { Image: 'new:v1' }), 'file 7');
});

test('the daemon that ends and the layers that go leave no mounts', async () => {
  assert.equal(shown().length, 1);
  await box.daemon.stop();
  assert.deepEqual(mountsBelow(layers()), []);
  await box.daemon.start();
  assert.deepEqual(shown(), []);
  assert.equal(await box.sh('cat /app/7', { Image: 'new:v1' }), 'file 7');
  await box.daemon.stop('SIGKILL');
  await box.daemon.start();
  assert.equal(shown().length, 1);
  for (const name of ['new:v1', 'old:v1']) await box.daemon.json('DELETE', `/images/${name}`);
  await eventually(async () => images().length === 0, { what: 'the layer to go' });
  assert.deepEqual(shown(), []);
  const staging = path.join(box.daemon.dataRoot, 'staging');
  await eventually(async () => readdirSync(staging).length === 0, { what: 'staging to be empty' });
  assert.equal(readFileSync(path.join(box.daemon.dataRoot, 'objects/.images')).length, 0);
});
