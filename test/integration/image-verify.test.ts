import assert from 'node:assert/strict';
import {
  chmodSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  unlinkSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test } from 'node:test';
import { clientCommand, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { busyboxImage, pushImage } from '../support/images.ts';
import { eventually, run } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';

/** The files of a layer. */
function diffOf(daemon: TestDaemon, diffId: string): string {
  const db = new DatabaseSync(path.join(daemon.dataRoot, 'coracle.db'), { readOnly: true });
  try {
    const row = db.prepare('SELECT dir FROM layers WHERE diff_id = ?').get(diffId);
    return path.join(daemon.dataRoot, 'layers', String(row?.['dir']), 'diff');
  } finally {
    db.close();
  }
}

function flipByte(file: string): void {
  const at = Math.floor(statSync(file).size / 2);
  const byte = (readFileSync(file)[at] ?? 0) ^ 0x40;
  const fd = openSync(file, 'r+');
  writeSync(fd, Buffer.from([byte]), 0, 1, at);
  closeSync(fd);
}

const DAMAGES: readonly (readonly [what: string, damage: (diff: string) => void])[] = [
  ['a flipped bit in a file', (diff) => flipByte(path.join(diff, 'bin/busybox'))],
  ['a file that lost its end', (diff) => truncateSync(path.join(diff, 'bin/busybox'), 4096)],
  ['a file that is gone', (diff) => unlinkSync(path.join(diff, 'bin/busybox'))],
  ['a symlink that is gone', (diff) => unlinkSync(path.join(diff, 'bin/sh'))],
  ['a folder that is gone', (diff) => rmSync(path.join(diff, 'var/log'), { recursive: true })],
  ['another mode', (diff) => chmodSync(path.join(diff, 'bin/busybox'), 0o600)],
  ['a flipped bit in the headers', (diff) => flipByte(path.join(diff, '../headers'))],
];

test('what is damaged is named, and the next pull repairs it', async (t) => {
  await using registry = await startRegistry();
  await using daemon = await startDaemon();
  const image = await busyboxImage();
  await pushImage(registry, 'app', 'v1', image);
  const name = `${registry.host}/app:v1`;
  const base = image.layers[0]?.diffId ?? '';
  const call = async (address: string) => (await daemon.api('POST', address)).text;
  const pull = () => call(`/images/create?fromImage=${registry.host}/app&tag=v1`);
  const verify = () => call(`/images/${name}/verify`);
  await pull();
  assert.match(await verify(), /"status":"Image \S+ is whole"/);
  for (const [what, damage] of DAMAGES) {
    await t.test(what, async () => {
      damage(diffOf(daemon, base));
      const said = await verify();
      assert.match(said, new RegExp(`"error":"image ${name} is damaged in ${base}: pull`));
      const again = await pull();
      assert.match(again, /Status: Repaired damaged layers for/);
      assert.equal(again.match(/Pulling fs layer/g)?.length, 1, 'only what is damaged is fetched');
      assert.match(await verify(), /is whole"/);
      assert.match(await pull(), /Status: Image is up to date/);
      const folders = (): string[] => readdirSync(path.join(daemon.dataRoot, 'layers'));
      await eventually(() => folders().length === image.layers.length);
    });
  }
});

test('a repair under a running container leaves it its files until it starts again', async () => {
  await using registry = await startRegistry();
  await using daemon = await startDaemon();
  const image = await busyboxImage();
  await pushImage(registry, 'app', 'v1', image);
  const name = `${registry.host}/app:v1`;
  const pull = async () => {
    await daemon.api('POST', `/images/create?fromImage=${registry.host}/app&tag=v1`);
  };
  await pull();
  const { Id } = (await daemon.json('POST', '/containers/create', {
    Image: name,
    Cmd: ['sh', '-c', 'while :; do cat /etc/motd; sleep 0.1; done'],
    HostConfig: { NetworkMode: 'none' },
  })) as { Id: string };
  await daemon.json('POST', `/containers/${Id}/start`);
  const motd = image.layers[2]?.diffId ?? '';
  const before = diffOf(daemon, motd);
  flipByte(path.join(before, 'etc/motd'));
  assert.match((await daemon.api('POST', `/images/${name}/verify`)).text, /is damaged in/);
  await pull();
  assert.notEqual(diffOf(daemon, motd), before);
  assert.equal(statSync(path.join(before, 'etc/motd')).size, 19, 'still there: it is mounted');
  await daemon.restart('SIGKILL');
  assert.equal(statSync(path.join(before, 'etc/motd')).size, 19, 'also after a new start');
  await daemon.json('POST', `/containers/${Id}/restart?t=0`);
  const lines = async (): Promise<string> =>
    (await daemon.api('GET', `/containers/${Id}/logs?stdout=1&tail=1`)).text;
  await eventually(async () => (await lines()).includes('hello from a layer'));
  await daemon.json('DELETE', `/containers/${Id}?force=true`);
  await daemon.restart();
  await eventually(
    () => readdirSync(path.join(daemon.dataRoot, 'layers')).length === image.layers.length,
    { what: 'the damaged copy to be swept' },
  );
});

test('the command says what is damaged and exits with 1', async () => {
  await using registry = await startRegistry();
  await using daemon = await startDaemon();
  const image = await busyboxImage();
  await pushImage(registry, 'app', 'v1', image);
  const name = `${registry.host}/app:v1`;
  const coracle = (...args: string[]) => run(clientCommand(), ['-H', daemon.host, ...args]);
  assert.equal((await coracle('pull', '-q', name)).code, 0);
  const whole = await coracle('image', 'verify', name);
  assert.equal(whole.code, 0, whole.stderr);
  assert.match(whole.stdout, /Verified\n(.*\n)*Image \S+ is whole/);
  const base = image.layers[0]?.diffId ?? '';
  unlinkSync(path.join(diffOf(daemon, base), 'bin/sh'));
  const damaged = await coracle('image', 'verify', name, 'nope');
  assert.equal(damaged.code, 1);
  assert.match(damaged.stdout, new RegExp(`${base.slice(7, 19)}: Damaged: .*/bin/sh is missing`));
  assert.match(damaged.stderr, /is damaged in sha256:[0-9a-f]{64}: pull or load it again/);
  assert.match(damaged.stderr, /No such image: nope:latest/);
});
