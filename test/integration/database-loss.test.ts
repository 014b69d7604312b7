import assert from 'node:assert/strict';
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { busyboxImage, pushImage } from '../support/images.ts';
import { startRegistry } from '../support/registry.ts';

/** What a bad card makes of the database, and what is said of it. */
const DAMAGES: readonly (readonly [what: string, damage: (file: string) => void, says: RegExp])[] =
  [
    ['loses its end', (file) => truncateSync(file, statSync(file).size / 2), /is damaged/],
    ['is zeros', (file) => writeFileSync(file, Buffer.alloc(statSync(file).size)), /is damaged/],
    ['has zeros in the middle', zeroMiddle, /is damaged/],
    ['is something else', (file) => writeFileSync(file, 'x'.repeat(9000)), /is damaged/],
    ['is empty', (file) => truncateSync(file, 0), /is empty/],
    ['is gone', (file) => rmSync(file), /is missing/],
    ['is as a new one', begin, /is empty/],
  ];

/** What is in the file until what SQLite has in its log is brought over. */
function begin(file: string): void {
  rmSync(file);
  const database = new DatabaseSync(file);
  database.exec('PRAGMA journal_mode=WAL');
  database.close();
  assert(statSync(file).size > 0);
}

function zeroMiddle(file: string): void {
  const { size } = statSync(file);
  const fd = openSync(file, 'r+');
  writeSync(fd, Buffer.alloc(size - 8192), 0, size - 8192, 4096);
  closeSync(fd);
}

/** Its start fails; gives the lines that it says. */
async function refusal(daemon: TestDaemon): Promise<string[]> {
  const before = daemon.log().length;
  await assert.rejects(daemon.start(), /the daemon ended: 1/);
  return daemon.log().slice(before).trim().split('\n');
}

test('a database that is lost is said in one sentence, and nothing is deleted for it', async (t) => {
  await using registry = await startRegistry();
  await using daemon = await startDaemon();
  const image = await busyboxImage();
  await pushImage(registry, 'app', 'v1', image);
  const pull = async () =>
    (await daemon.api('POST', `/images/create?fromImage=${registry.host}/app&tag=v1`)).text;
  await pull();
  const { Id } = (await daemon.json('POST', '/containers/create?name=kept', {
    Image: `${registry.host}/app:v1`,
    Cmd: ['sh', '-c', 'echo mine > /root/mine && echo data > /data/mark'],
    HostConfig: { NetworkMode: 'none', Binds: ['data:/data'] },
  })) as { Id: string };
  await daemon.json('POST', `/containers/${Id}/start`);
  await daemon.json('POST', `/containers/${Id}/wait`);
  await daemon.stop();

  const file = path.join(daemon.dataRoot, 'coracle.db');
  const containers = path.join(daemon.dataRoot, 'containers');
  const kept = path.join(daemon.folder, 'kept.db');
  copyFileSync(file, kept);
  for (const [what, damage, says] of DAMAGES) {
    await t.test(`it ${what}`, async () => {
      damage(file);
      const said = await refusal(daemon);
      assert.equal(said.length, 1, said.join('\n'));
      assert.match(said[0] ?? '', says);
      assert.match(said[0] ?? '', new RegExp(`${file}.*move .*${containers} aside`));
      assert(existsSync(path.join(containers, Id, 'upper/root/mine')));
      assert.equal(readdirSync(path.join(daemon.dataRoot, 'layers')).length, image.layers.length);
      rmSync(`${file}-wal`, { force: true });
      rmSync(`${file}-shm`, { force: true });
      copyFileSync(kept, file);
    });
  }
  const log = `${file}-wal`;
  await t.test('it is of a version that kept layers in another way', async () => {
    copyFileSync(kept, file);
    const database = new DatabaseSync(file);
    database.exec('PRAGMA user_version=1');
    database.close();
    const said = await refusal(daemon);
    assert.equal(said.length, 1, said.join('\n'));
    assert.match(said[0] ?? '', /from before its first release.*aside to start anew/);
    assert.ok(existsSync(path.join(containers, Id, 'upper')));
    copyFileSync(kept, file);
  });

  for (const [what, damage, says] of [
    ['is empty', (): void => truncateSync(file, 0), /is empty/],
    ['is gone', (): void => rmSync(file), /is missing/],
  ] as const) {
    await t.test(`it ${what} after a crash, which left its log`, async () => {
      await daemon.start();
      await daemon.json('POST', '/volumes/create', { Name: 'data' });
      await daemon.json('POST', `/containers/${Id}/rename?name=${what.replaceAll(' ', '-')}`);
      await daemon.stop('SIGKILL');
      const logBytes = readFileSync(log);
      assert(logBytes.length > 0);
      copyFileSync(file, kept);
      damage();
      const said = await refusal(daemon);
      assert.equal(said.length, 1, said.join('\n'));
      assert.match(said[0] ?? '', says);
      assert(existsSync(path.join(containers, Id, 'upper/root/mine')));
      assert.equal(readdirSync(path.join(daemon.dataRoot, 'layers')).length, image.layers.length);
      assert.deepEqual(readFileSync(log), logBytes);
      copyFileSync(kept, file);
    });
  }
  await t.test('with the database put back all is as it was', async () => {
    await daemon.restart();
    const { Name } = (await daemon.json('GET', `/containers/${Id}/json`)) as { Name: string };
    assert.equal(Name, '/is-gone');
    await daemon.json('POST', `/containers/${Id}/start`);
    await daemon.stop();
  });
  await t.test(
    'what it says works: layers and volumes are there, and need not come again',
    async () => {
      rmSync(file);
      renameSync(containers, path.join(daemon.folder, 'containers'));
      mkdirSync(path.join(daemon.dataRoot, 'layers/notalayer'));
      await daemon.start();
      assert.match(daemon.log(), /level=warning msg="[^"]*database[^"]*" layers=3/);
      const images = (await daemon.json('GET', '/images/json')) as unknown[];
      assert.deepEqual(images, []);
      const { Volumes } = (await daemon.json('GET', '/volumes')) as { Volumes: { Name: string }[] };
      assert.deepEqual(
        Volumes.map(({ Name }) => Name),
        ['data'],
      );
      const said = await pull();
      assert.equal(said.match(/Already exists/g)?.length, image.layers.length, said);
      const verified = await daemon.api('POST', `/images/${registry.host}/app:v1/verify`);
      assert.match(verified.text, /is whole"/);
      assert.equal(readdirSync(path.join(daemon.dataRoot, 'layers')).length, image.layers.length);
    },
  );
});
