import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { LAYER_IMAGE } from '../../src/store/layers/layer-images.ts';
import { type Box, openBox } from '../support/box.ts';
import { TestDaemon } from '../support/daemon.ts';
import { layerTar } from '../support/images.ts';
import { mountsOf } from '../support/mounts.ts';
import { eventually, run } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/** `--userns-remap`: root in a container is nobody on the host, and files are stored as images have them. */

const folder = temporaryFolder('remap');
const FIRST = 300_000;
const subids = path.join(folder.path, 'subids');
writeFileSync(subids, `dockremap:${FIRST}:65536\n`);
/**
 * The daemon with an /etc/subuid and an /etc/subgid of its own. On one processor: a mount namespace
 * can be bound in an older one only, and each processor counts for itself which one is older.
 */
const wrapper = [
  ...['taskset', '-c', '0'],
  ...['unshare', '--mount', 'sh', '-ec'],
  `mount --bind ${subids} /etc/subuid; mount --bind ${subids} /etc/subgid; exec "$@"`,
  'sh',
];

let box: Box;
before(async () => {
  box = await openBox({ flags: ['--userns-remap', 'default'], wrapper });
});
after(async () => {
  await box[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const upper = (id: string): string => path.join(box.daemon.dataRoot, 'containers', id, 'upper');

for (const Runtime of ['crun', 'runc']) {
  describe(Runtime, () => {
    test('root is root inside, nobody outside, and what it writes is stored as root’s', async () => {
      const script =
        'id -u; touch /made; chown user /made; ls -ln /etc/motd | cut -c1-40; sleep 100';
      const id = await box.up({
        Cmd: ['sh', '-c', script],
        WorkingDir: '/new/dir',
        HostConfig: { Runtime },
      });
      const { Pid } = (await box.inspect(id)).State;
      assert.equal(statSync(`/proc/${Pid}`).uid, FIRST);
      assert.match(readFileSync(`/proc/${Pid}/uid_map`, 'utf8'), /^\s*0\s+300000\s+65536$/m);
      await eventually(async () => /root|0 +0/.test(await box.logs(id)), { what: 'its output' });
      assert.match(await box.logs(id), /^0\n-rw-r--r-- +\d +0 +0 /);
      const made = statSync(path.join(upper(id), 'made'));
      assert.deepEqual([made.uid, made.gid], [1000, 0]);
      assert.equal(statSync(path.join(upper(id), 'new/dir')).uid, 0);
      const more = 'id -u; touch /execed; echo 192.0.2.1 more >>/etc/hosts; echo out >/dev/stdout';
      const exec = await box.exec(id, 'sh', '-c', more);
      assert.deepEqual(exec, { code: 0, output: '0\nout\n' });
      await box.daemon.json('POST', `/containers/${id}/restart?t=0`);
      assert.equal((await box.exec(id, 'ls', '/execed')).output, '/execed\n');
      await box.remove(id);
    });

    test('a network of its own is its root’s to change, the host’s is not to be had', async () => {
      const HostConfig = { Runtime, NetworkMode: 'bridge', CapAdd: ['NET_ADMIN'] };
      const id = await box.up({ Cmd: ['sleep', '100'], HostConfig });
      const script = 'ip link set lo down && ip link set lo up && cat /sys/class/net/eth0/mtu';
      const { code, output } = await box.exec(id, 'sh', '-c', script);
      assert.equal(code, 0, output);
      const joiner = await box.sh('cat /proc/self/uid_map; ls /sys/class/net | tr "\\n" " "', {
        HostConfig: { Runtime, NetworkMode: `container:${id}` },
      });
      assert.match(joiner, /300000[\s\S]*eth0/);
      await box.remove(id);
      for (const mode of [{ NetworkMode: 'host' }, { PidMode: 'host' }, { Privileged: true }]) {
        const answer = await box.tryCreate({ HostConfig: { Runtime, ...mode } });
        assert.equal(answer.status, 400, answer.text);
        assert.match(answer.text, /user namespaces/);
      }
    });

    test('volumes are its own, and shared with a container of the host’s users', async () => {
      const name = `v-${Runtime}`;
      const Binds = [`${name}:/data`];
      await box.sh('touch /data/file; ls -ln /data', { HostConfig: { Runtime, Binds } });
      const stored = path.join(box.daemon.dataRoot, 'volumes', name, '_data/file');
      assert.equal(statSync(stored).uid, 0);
      const out = await box.sh('ls -ln /data; cat /proc/self/uid_map', {
        HostConfig: { Runtime, Binds, UsernsMode: 'host' },
      });
      assert.match(out, / 0 +0 .*file\n +0 +0 +4294967295\n$/);
      await box.daemon.json('DELETE', `/volumes/${name}`);
    });

    test('files are copied in and out of it as it sees them, running or not', async () => {
      const id = await box.create({ Cmd: ['sleep', '100'], HostConfig: { Runtime } });
      for (const state of ['created', 'running']) {
        if (state === 'running') await box.start(id);
        const tar = await layerTar([
          { name: `d-${state}`, type: 'directory', uid: 5, gid: 6 },
          { name: `d-${state}/f`, content: 'x', uid: 1000, gid: 7 },
        ]);
        const put = await box.daemon.api('PUT', `/containers/${id}/archive?path=/tmp`, tar);
        assert.equal(put.status, 200, put.text);
        const stored = statSync(path.join(upper(id), `tmp/d-${state}/f`));
        assert.deepEqual([stored.uid, stored.gid], [1000, 7], state);
        const got = await box.daemon.api('GET', `/containers/${id}/archive?path=/tmp/d-${state}`);
        const listed = await run('tar', ['--numeric-owner', '-tvf', '-'], { input: got.bytes });
        assert.match(listed.stdout, / 5\/6 [\s\S]* 1000\/7 /, state);
      }
      const committed = await box.daemon.api('POST', `/commit?container=${id}&repo=kept`, {});
      assert.equal(committed.status, 201, committed.text);
      const out = await box.sh('ls -ln /tmp/d-running', { Image: 'kept' });
      assert.match(out, / 1000 +7 /);
      await box.remove(id);
    });
  });
}

test('a layer that is an image of its names is shown with mapped owners', async () => {
  const files = async (ms: number) =>
    await layerTar(
      Array.from({ length: 40 }, (_, i) => ({
        ...{ name: `many/${i}`, content: `file ${i}`, uid: 1000, gid: 7, mtime: new Date(ms) },
      })),
    );
  for (const [name, ms] of [
    ['tree', 1_500_000_000_000],
    ['image', 1_600_000_000_000],
  ] as const) {
    const id = await box.create({ Cmd: ['true'] });
    await box.daemon.api('PUT', `/containers/${id}/archive?path=/`, await files(ms));
    await box.daemon.json('POST', `/commit?container=${id}&repo=${name}`, {});
    await box.remove(id);
  }
  const layers = path.join(box.daemon.dataRoot, 'layers');
  const isImage = (dir: string): boolean => existsSync(path.join(layers, dir, LAYER_IMAGE));
  assert.equal(readdirSync(layers).filter(isImage).length, 1);
  for (const more of [{}, { UsernsMode: 'host' }]) {
    const script = 'ls -ln /many/5; cat /many/5; echo more >>/many/5; ls -ln /many/5';
    const out = await box.sh(script, { Image: 'image', HostConfig: more });
    assert.match(out, / 1000 +7 +6 [\s\S]*file 5[\s\S]* 1000 +7 +11 /);
  }
  await box.daemon.json('DELETE', '/images/image');
  await eventually(async () => !readdirSync(layers).some(isImage), { what: 'the layer to go' });
  const { dataRoot, execRoot, pid } = box.daemon;
  assert.deepEqual(mountsOf(pid, layers, path.join(execRoot, 'mapped/layers')), []);
  await eventually(async () => readdirSync(path.join(dataRoot, 'staging')).length === 0);
});

test('a bare container is the host’s', async () => {
  const id = await box.create({ HostConfig: { Runtime: 'bare' } });
  assert.equal((await box.inspect(id)).HostConfig.UsernsMode, 'host');
  await box.remove(id);
});

test('a user without ranges is named with the line that is missing', async () => {
  await using daemon = new TestDaemon({ flags: ['--userns-remap', 'nobody:nogroup'] });
  const child = daemon.spawn();
  const code = await new Promise((resolve) => child.once('exit', resolve));
  assert.equal(code, 1);
  assert.match(daemon.log(), /\/etc\/subuid has no range for nobody/);
});
