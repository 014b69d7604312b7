import assert from 'node:assert/strict';
import { readdirSync, readFileSync, statSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import type { SystemWear } from '../../src/spec/docker/system.ts';
import { type Box, openBox } from '../support/box.ts';
import { clientCommand } from '../support/daemon.ts';
import { type LayerEntry, layerTar } from '../support/images.ts';
import { eventually, runOk } from '../support/processes.ts';

/** Containers on layers that share their contents: what they see, change and leave. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const APP = 'a program that is long enough to be told from its neighbours\n'.repeat(50);

function app(mtime: Date): LayerEntry[] {
  return [
    { name: 'app/', type: 'directory', mtime },
    { name: 'app/lib/', type: 'directory', mtime },
    { name: 'app/lib/deep/', type: 'directory', mtime },
    { name: 'app/lib/deep/data', content: 'deep data', mtime },
    { name: 'app/main', content: APP, mode: 0o644, mtime },
    { name: 'other/', type: 'directory', mtime },
    { name: 'other/file', content: 'other', mtime },
  ];
}

/** Imports a layer of busybox's files plus these. */
async function importImage(name: string, entries: readonly LayerEntry[]): Promise<string[]> {
  const answer = await box.daemon.api(
    'POST',
    `/images/create?fromSrc=-&repo=${name}&tag=v1`,
    await layerTar(entries),
  );
  assert.equal(answer.status, 200, answer.text);
  return answer.text
    .trim()
    .split('\n')
    .map((line) => (JSON.parse(line) as { status: string }).status);
}

async function commit(id: string, repo: string): Promise<void> {
  await box.daemon.json('POST', `/commit?container=${id}&repo=${repo}&tag=v1`, {});
}

/** Runs a shell on an image with busybox's binary bound in. */
async function sh(image: string, command: string): Promise<string> {
  return await box.sh(command, { Image: image });
}

/** An image of busybox with these files in a layer of its own. */
async function withFiles(repo: string, entries: readonly LayerEntry[]): Promise<string> {
  const id = await box.create({ Cmd: ['true'] });
  const put = await box.daemon.api(
    'PUT',
    `/containers/${id}/archive?path=/`,
    await layerTar(entries),
  );
  assert.equal(put.status, 200, put.text);
  await commit(id, repo);
  await box.remove(id);
  return `${repo}:v1`;
}

test('what an import did not have to write is told', async () => {
  const first = await importImage('told-one', app(new Date(1_500_000_000_000)));
  const second = await importImage('told-two', app(new Date(1_600_000_000_000)));
  assert.match(first.at(-2) ?? '', /^Wrote [\d.]+ ?k?B, shared 0 ?B$/);
  assert.match(second.at(-2) ?? '', /^Wrote [\d.]+ ?k?B, shared 3\.\d+ ?kB$/);
  assert.match(second.at(-1) ?? '', /^sha256:[0-9a-f]{64}$/);
});

test('disk usage counts shared contents once, and wear tells who wrote', async () => {
  type Usage = {
    LayersSize: number;
    Images: { Id: string; RepoTags: string[]; Size: number; SharedSize: number }[];
  };
  const before = (await box.daemon.json('GET', '/system/df')) as Usage;
  const own = { name: 'app/own', content: 'x'.repeat(1000), mtime: new Date(1_600_000_000_000) };
  await importImage('told-three', [...app(own.mtime), own]);
  const { LayersSize, Images } = (await box.daemon.json('GET', '/system/df')) as Usage;
  assert.equal(LayersSize - before.LayersSize, 1000);
  const three = Images.find(({ RepoTags }) => RepoTags.includes('told-three:v1'));
  const two = Images.find(({ RepoTags }) => RepoTags.includes('told-two:v1'));
  assert.ok(three !== undefined && two !== undefined);
  assert.equal(three.Size - three.SharedSize, 1000);
  assert.equal(two.SharedSize, two.Size);

  const wear = (await box.daemon.json('GET', '/system/wear')) as SystemWear;
  assert.deepEqual(wear.Causes.map(({ Cause }) => Cause).toSorted(), ['import', 'pull']);
  assert.equal(
    wear.TotalBytes,
    wear.Causes.reduce((sum, { Bytes }) => sum + Bytes, 0),
  );
  const stdout = await runOk(clientCommand(), ['-H', box.daemon.host, 'system', 'wear']);
  assert.match(stdout, /^CAUSE +WRITTEN\npull +[\d.]+MB\nimport +[\d.]+kB\ntotal +[\d.]+MB\n$/);
});

test('an image of stubs runs, is changed, committed, exported and run again', async () => {
  await withFiles('stubs-old', app(new Date(1_500_000_000_000)));
  const image = await withFiles('stubs-new', app(new Date(1_600_000_000_000)));
  assert.equal(await sh(image, 'cat /app/main; stat -c %Y /app/main'), `${APP}1600000000\n`);

  const id = await box.create({
    Image: image,
    Cmd: ['sh', '-c', 'chmod 755 /app/main && mv /app/lib /moved && echo more >> /other/file'],
  });
  await box.start(id);
  assert.equal(await box.wait(id), 0, await box.logs(id, 'stderr'));
  const changes = (await box.daemon.json('GET', `/containers/${id}/changes`)) as {
    Path: string;
    Kind: number;
  }[];
  const told = Object.fromEntries(changes.map(({ Path, Kind }) => [Path, Kind]));
  assert.deepEqual(told, {
    ...{ '/app': 0, '/app/main': 0, '/app/lib': 2, '/other': 0, '/other/file': 0 },
    ...{ '/moved': 1, '/moved/deep': 1, '/moved/deep/data': 1 },
  });
  const view = (await box.daemon.json('GET', `/containers/${id}/json?size=1`)) as {
    SizeRw: number;
  };
  assert.equal(view.SizeRw, 'othermore\n'.length);

  await commit(id, 'stubs-changed');
  const exported = await box.daemon.api('GET', `/containers/${id}/export`);
  assert.ok(exported.bytes.includes('deep data') && exported.bytes.includes(APP));
  await box.remove(id);
  const seen = await sh(
    'stubs-changed:v1',
    'cat /app/main | wc -c; stat -c %a /app/main; cat /moved/deep/data; ls /app; cat /other/file',
  );
  assert.equal(seen, `${APP.length}\n755\ndeep datamain\nothermore\n`);
});

test('a pull of what is here writes nothing', async () => {
  const { dataRoot } = box.daemon;
  // Folders and files change their times when they are written to. SQLite's index of its log is
  // memory that processes share, and has a time for show.
  const names = readdirSync(dataRoot).filter((name) => name !== 'coracle.db-shm');
  const times = (): Record<string, bigint> =>
    Object.fromEntries(
      ['.', ...names].map((name) => [
        name,
        statSync(path.join(dataRoot, name), { bigint: true }).mtimeNs,
      ]),
    );
  await eventually(async () => readdirSync(path.join(dataRoot, 'staging')).length === 0);
  const before = times();
  const colon = box.image.lastIndexOf(':');
  const [name, tag] = [box.image.slice(0, colon), box.image.slice(colon + 1)];
  const answer = await box.daemon.api('POST', `/images/create?fromImage=${name}&tag=${tag}`);
  assert.match(answer.text, /Status: Image is up to date/);
  assert.deepEqual(times(), before);
});

test('nothing of removed images stays', async () => {
  const images = (await box.daemon.json('GET', '/images/json?all=1')) as { Id: string }[];
  for (const { Id } of images) {
    await box.daemon.api('DELETE', `/images/${Id}?force=true`);
  }
  await box.daemon.restart();
  const objects = path.join(box.daemon.dataRoot, 'objects');
  // What is left of the last layers goes in the background.
  const names = () => readdirSync(objects).toSorted();
  await eventually(async () => names().every((name) => name.startsWith('.')), {
    what: 'shared contents to go',
  });
  assert.deepEqual(names(), ['.images', '.metacopy']);
  for (const name of names()) {
    assert.deepEqual(readFileSync(path.join(objects, name)), Buffer.alloc(0));
  }
});
