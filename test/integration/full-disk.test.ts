import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  openSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { busyboxImage, layerTar } from '../support/images.ts';
import { eventually } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/** A data root without a byte of room: what can be done still is, and what cannot is said. */

const folder = temporaryFolder('full');
const mount = path.join(folder.path, 'mount');
const filler = path.join(mount, 'filler');
let daemon: TestDaemon;

before(async () => {
  const disk = path.join(folder.path, 'disk');
  closeSync(openSync(disk, 'w'));
  truncateSync(disk, 96 << 20);
  execFileSync('mkfs.ext4', ['-q', '-F', '-m', '0', disk]);
  mkdirSync(mount);
  execFileSync('mount', ['-o', 'loop', disk, mount]);
  daemon = await startDaemon({ dataRoot: path.join(mount, 'data') });
});
after(async () => {
  await daemon?.[Symbol.asyncDispose]();
  execFileSync('umount', [mount]);
  folder[Symbol.dispose]();
});

/** Takes all the room there is, to the last byte. */
function fill(): void {
  const fd = openSync(filler, 'a');
  for (let bytes = 1 << 20; bytes > 0; ) {
    try {
      writeSync(fd, Buffer.alloc(bytes));
    } catch {
      bytes >>= 1; // no room for so much
    }
  }
  closeSync(fd);
}

async function call(
  method: string,
  address: string,
  body?: object,
): Promise<{ readonly status: number; readonly text: string }> {
  return await daemon.api(method, address, body);
}

async function done(method: string, address: string, body?: object): Promise<string> {
  const { status, text } = await call(method, address, body);
  assert.ok(status >= 200 && status < 300, `${method} ${address}: ${status} ${text}`);
  return text;
}

async function refused(method: string, address: string, body?: object): Promise<void> {
  const { status, text } = await call(method, address, body);
  assert.equal(status, 500, `${method} ${address}: ${text}`);
  assert.match(text, /no space left on device.*Make room/);
}

test('a full disk keeps nobody from stopping and removing, and the next start finds all as it was', async () => {
  const tar = (await busyboxImage()).layers[0]?.bytes ?? new Uint8Array();
  const imported = (repo: string): string => `/images/create?fromSrc=-&repo=${repo}`;
  const wish = (Binds: readonly string[]): object => ({
    ...{ Image: 'box', Cmd: ['sleep', '1000'] },
    HostConfig: { NetworkMode: 'none', Binds, RestartPolicy: { Name: 'always' } },
  });
  await done('POST', imported('box'), tar);
  await done('POST', '/volumes/create', { Name: 'vol' });
  await done('POST', '/containers/create?name=ends', wish(['vol:/v']));
  await done('POST', '/containers/create?name=killed', wish([]));
  for (const name of ['ends', 'killed']) await done('POST', `/containers/${name}/start`);

  fill();
  await refused('POST', '/containers/create?name=more', wish([]));
  await refused('POST', '/volumes/create', { Name: 'more' });
  // No more than the socket takes: it is answered before it is read, and the connection closed.
  await refused('POST', imported('more'), tar.subarray(0, 32 << 10));
  const dockerfile = { name: 'Dockerfile', content: 'FROM box\nRUN echo more > /more\n' };
  await refused('POST', '/build?networkmode=none&t=more', await layerTar([dockerfile]));
  const copied = await call('PUT', '/containers/ends/archive?path=/', tar);
  assert.equal(copied.status, 500, copied.text);
  assert.match(copied.text, /no space left on device/);
  const made = JSON.parse(await done('POST', '/containers/ends/exec', { Cmd: ['true'] }));
  await done('POST', `/exec/${(made as { Id: string }).Id}/start`, { Detach: true });

  fill();
  await done('POST', '/containers/ends/stop?t=0');
  await done('DELETE', '/containers/ends');
  await done('DELETE', '/volumes/vol');
  await done('DELETE', '/containers/killed?force=1');
  await done('DELETE', '/images/box');

  rmSync(filler);
  await daemon.restart('SIGKILL');
  assert.deepEqual(await daemon.json('GET', '/containers/json?all=1'), []);
  assert.deepEqual(await daemon.json('GET', '/images/json'), []);
  assert.deepEqual(await daemon.json('GET', '/volumes'), { Volumes: [], Warnings: [] });

  // A daemon that is started on a full disk is the way out of it.
  await done('POST', imported('box'), tar);
  await done('POST', '/containers/create?name=kept', wish([]));
  await daemon.stop();
  fill();
  await daemon.start();
  await done('DELETE', '/containers/kept');
  await done('DELETE', '/images/box');
  assert.deepEqual(await daemon.json('GET', '/images/json'), []);
});

test('an exec root that takes nothing keeps nobody from stopping and removing', async () => {
  rmSync(filler, { force: true });
  const tar = (await busyboxImage()).layers[0]?.bytes ?? new Uint8Array();
  await done('POST', '/images/create?fromSrc=-&repo=box', tar);
  const wish = { Image: 'box', Cmd: ['sleep', '1000'], HostConfig: { NetworkMode: 'none' } };
  const made = JSON.parse(await done('POST', '/containers/create', wish)) as { Id: string };
  await done('POST', `/containers/${made.Id}/start`);
  // Nothing can be written to the file that the state goes through.
  mkdirSync(path.join(daemon.execRoot, 'containers', made.Id, 'state.json.new'));
  await done('POST', `/containers/${made.Id}/stop?t=0`);
  const { State } = (await daemon.json('GET', `/containers/${made.Id}/json`)) as {
    readonly State: { readonly Status: string; readonly ExitCode: number };
  };
  assert.deepEqual([State.Status, State.ExitCode], ['exited', 137]);
  await done('DELETE', `/containers/${made.Id}`);
});

test('a build that fills the disk says so and gives its room back', async () => {
  const tar = (await busyboxImage()).layers[0]?.bytes ?? new Uint8Array();
  await done('POST', '/images/create?fromSrc=-&repo=box', tar);
  const free = (): number => statfsSync(mount).bavail * statfsSync(mount).bsize;
  const before = free();
  const images = await daemon.json('GET', '/images/json?all=1');
  // Once as the container writes it, and once more as a layer.
  const run = 'head -c 55000000 /dev/urandom > /big';
  const dockerfile = { name: 'Dockerfile', content: `FROM box\nRUN ${run}\n` };
  const { text } = await daemon.api(
    'POST',
    '/build?networkmode=none&forcerm=1&t=big',
    await layerTar([dockerfile]),
  );
  assert.match(text, /"errorDetail":.*no space left on device/i);
  await eventually(async () => free() > before - (2 << 20), { what: 'the room to be given back' });
  assert.deepEqual(await daemon.json('GET', '/containers/json?all=1'), []);
  assert.deepEqual(await daemon.json('GET', '/images/json?all=1'), images);
});
