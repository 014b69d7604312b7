import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import path from 'node:path';
import { after, before, suite, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { type Box, openBox } from '../support/box.ts';
import type { Answer } from '../support/daemon.ts';
import { layerTar } from '../support/images.ts';
import { eventually } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';

type Listed = { readonly name: string; readonly type: string; readonly content: string };

async function entriesOf(archive: Buffer): Promise<Listed[]> {
  const reader = extract();
  reader.end(archive);
  const found: Listed[] = [];
  for await (const entry of reader) {
    const chunks: Uint8Array[] = [];
    for await (const chunk of entry) chunks.push(chunk as Uint8Array);
    const { name, type } = entry.header;
    found.push({ name, type: String(type), content: Buffer.concat(chunks).toString() });
  }
  return found;
}

suite("a container's files", () => {
  let box: Box;
  before(async () => {
    box = await openBox();
  });
  after(() => box[Symbol.asyncDispose]());

  const at = (id: string, place: string, more = ''): string =>
    `/containers/${id}/archive?path=${encodeURIComponent(place)}${more}`;
  const put = (id: string, place: string, tar: Uint8Array, more = ''): Promise<Answer> =>
    box.daemon.api('PUT', at(id, place, more), tar);
  const message = (answer: Answer): string => (answer.json() as { message: string }).message;

  test('go in and out of a stopped container, its volume and its bind', async () => {
    const folder = path.join(box.daemon.folder, 'bound');
    mkdirSync(folder);
    writeFileSync(path.join(folder, 'there'), 'bound');
    const id = await box.create({
      Cmd: ['cat', '/data/x', '/etc/x'],
      HostConfig: { Binds: ['named:/data', `${folder}:/bound`] },
    });
    // The daemon may have a mount namespace of its own.
    const mounts = (): string[] =>
      readFileSync(`/proc/${box.daemon.pid}/mountinfo`, 'utf8')
        .split('\n')
        .filter((line) => line.includes(box.daemon.folder) || line.includes(box.daemon.execRoot));
    const before = mounts();
    const tar = await layerTar([{ name: 'x', content: 'hello' }]);
    for (const place of ['/data', '/bound', '/etc']) {
      assert.equal((await put(id, place, tar)).status, 200, place);
      const answer = await box.daemon.api('GET', at(id, `${place}/x`));
      assert.deepEqual(
        (await entriesOf(answer.bytes)).map(({ content }) => content),
        ['hello'],
      );
    }
    assert.equal(readFileSync(path.join(folder, 'x'), 'utf8'), 'hello', 'the bind is the host');
    const bound = await box.daemon.api('GET', at(id, '/bound/there'));
    assert.match(bound.bytes.toString('latin1'), /bound/);
    // What was mounted for the copies is seen by nobody else, and gone.
    assert.deepEqual(mounts(), before);
    await box.start(id);
    await box.daemon.json('POST', `/containers/${id}/wait`);
    const logs = await box.daemon.api('GET', `/containers/${id}/logs?stdout=1`);
    assert.match(logs.text, /hellohello/);
  });

  test('say what they are in a header, without being sent', async () => {
    const id = await box.create({ Cmd: ['true'] });
    const answer = await box.daemon.api('HEAD', at(id, '/bin/sh'));
    const header = String(answer.headers['x-docker-container-path-stat']);
    const stat = JSON.parse(Buffer.from(header, 'base64').toString()) as Record<string, unknown>;
    assert.equal(stat['name'], 'sh');
    assert.equal(stat['mode'], 2 ** 27 + 0o777);
    assert.equal(stat['linkTarget'], '/bin/busybox');
    assert.equal((await box.daemon.api('HEAD', at(id, '/nope'))).status, 404);
    // A chain of links is followed to its end, within the root.
    const links = await layerTar([
      { name: 'one', type: 'symlink', linkname: '../../../../root/two' },
      { name: 'two', type: 'symlink', linkname: '/etc/../nowhere/at/all' },
      { name: 'round', type: 'symlink', linkname: 'round' },
    ]);
    await put(id, '/root', links);
    const target = async (place: string): Promise<unknown> => {
      const head = await box.daemon.api('HEAD', at(id, place));
      const text = Buffer.from(String(head.headers['x-docker-container-path-stat']), 'base64');
      return (JSON.parse(text.toString()) as Record<string, unknown>)['linkTarget'];
    };
    assert.equal(await target('/root/one'), '/nowhere/at/all');
    assert.equal(await target('/root/round'), '/root/round');
  });

  test('are not led out of the container by its symlinks', async () => {
    const links = await layerTar([
      { name: 'up', type: 'symlink', linkname: '../../../../../../../..' },
      { name: 'abs', type: 'symlink', linkname: '/etc' },
    ]);
    const id = await box.create({ Cmd: ['true'] });
    assert.equal((await put(id, '/root', links)).status, 200);
    const tar = await layerTar([{ name: 'mark', content: 'inside' }]);
    assert.equal((await put(id, '/root/up', tar)).status, 200);
    assert.equal((await put(id, '/root/abs', tar)).status, 200);
    for (const place of ['/mark', '/etc/mark']) {
      assert.equal((await box.daemon.api('HEAD', at(id, place))).status, 200, place);
    }
    const evil = await layerTar([
      { name: 'out', type: 'symlink', linkname: '/../../../..' },
      { name: 'out/mark2', content: 'inside too' },
    ]);
    await put(id, '/root', evil);
    assert.throws(() => readFileSync('/mark2'), { code: 'ENOENT' });
    const climbing = await layerTar([{ name: '../../climbed', content: 'x' }]);
    assert.equal((await put(id, '/root', climbing)).status, 400);
  });

  test("are refused in Docker's words", async () => {
    const tar = await layerTar([{ name: 'x', content: '' }]);
    const id = await box.create({ Cmd: ['true'], HostConfig: { ReadonlyRootfs: true } });
    const readOnly = await put(id, '/etc', tar);
    assert.equal(readOnly.status, 403);
    assert.match(message(readOnly), /container rootfs is marked read-only/);
    const other = await box.create({ Cmd: ['true'] });
    const missing = await put(other, '/nope', tar);
    assert.equal(missing.status, 404);
    assert.match(message(missing), /Could not find the file \/nope in container/);
    const file = await put(other, '/etc/motd', tar);
    assert.equal(file.status, 400);
    assert.match(message(file), /extraction point is not a directory/);
    const garbage = await put(other, '/etc', Buffer.alloc(5000, 'no tar'));
    assert.equal(garbage.status, 400, garbage.text);
    for (const cut of [tar.subarray(0, 600), gzipSync(tar).subarray(0, 40)]) {
      const answer = await put(other, '/etc', cut);
      assert.deepEqual([answer.status, message(answer)], [400, 'unexpected EOF']);
    }
    assert.equal((await box.daemon.api('GET', at(other, ''))).status, 400);
    const over = await layerTar([{ name: 'etc', content: 'a file' }]);
    const refused = await put(other, '/', over, '&noOverwriteDirNonDir=true');
    assert.equal(refused.status, 400);
    assert.equal(message(refused), 'cannot overwrite directory "/etc" with non-directory "/"');
    // Without the flag a whole tree gives way, a symlink in it with nothing behind it.
    const tree = await layerTar([
      { name: 'way/sub', type: 'directory' },
      { name: 'way/sub/out', type: 'symlink', linkname: '/etc' },
      { name: 'way/pipe', type: 'fifo', mode: 0o622 },
    ]);
    assert.equal((await put(other, '/root', tree)).status, 200);
    const pipe = await box.daemon.api('GET', at(other, '/root/way/pipe'));
    assert.equal(pipe.bytes.subarray(100, 107).toString(), '0000622');
    const file2 = await layerTar([{ name: 'way', content: 'a file' }]);
    assert.equal((await put(other, '/root', file2)).status, 200);
    const way = await box.daemon.api('GET', at(other, '/root/way'));
    assert.deepEqual(await entriesOf(way.bytes), [
      { name: 'way', type: 'file', content: 'a file' },
    ]);
    assert.equal((await box.daemon.api('HEAD', at(other, '/etc/motd'))).status, 200);
  });

  test('of a running container come with what leads nowhere left out', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'] });
    const answer = await box.daemon.api('GET', at(id, '/proc/sys/kernel/random'));
    assert.equal(answer.status, 200, answer.text);
    const names = (await entriesOf(answer.bytes)).map((each) => each.name);
    assert.ok(names.includes('random/boot_id'), names.join());
    // /proc/self is a link to nothing for who is in another PID namespace.
    const own = await box.daemon.api('GET', at(id, '/proc/self'));
    assert.deepEqual([own.status, await entriesOf(own.bytes)], [200, []]);
    await box.remove(id);
  });

  test("become the user's with copyUIDGID", async () => {
    const id = await box.create({ Cmd: ['true'], User: 'user' });
    const tar = await layerTar([{ name: 'mine', content: 'x', uid: 7, gid: 7 }]);
    await put(id, '/home', tar, '&copyUIDGID=true');
    await put(id, '/tmp', tar);
    const ownerAt = async (place: string): Promise<number> => {
      const { bytes } = await box.daemon.api('GET', at(id, place));
      return Number.parseInt(bytes.subarray(108, 115).toString(), 8);
    };
    assert.equal(await ownerAt('/home/mine'), 1000);
    assert.equal(await ownerAt('/tmp/mine'), 7);
  });

  test('a client that goes away in the middle of a copy leaves nothing behind', async () => {
    const id = await box.create({ Cmd: ['sleep', '600'] });
    await box.start(id);
    const before = takeStock(box.daemon);
    for (let round = 0; round < 5; round += 1) {
      await new Promise<void>((resolve) => {
        const { socket: socketPath } = box.daemon;
        const upload = request({ socketPath, path: at(id, '/root'), method: 'PUT' });
        upload.on('error', () => resolve());
        upload.write(Buffer.alloc(4096));
        setTimeout(() => upload.destroy(), 100);
      });
      await new Promise<void>((resolve) => {
        const download = request({ socketPath: box.daemon.socket, path: at(id, '/') }, (answer) => {
          answer.once('data', () => download.destroy());
          answer.on('error', () => undefined);
          answer.once('close', () => resolve());
        });
        download.on('error', () => resolve());
        download.end();
      });
    }
    await sleep(50);
    await eventually(
      () => {
        const { processes, mounts } = takeStock(box.daemon);
        return processes.length <= before.processes.length && mounts.length <= before.mounts.length;
      },
      { what: 'the end of the workers' },
    );
    await eventually(
      () => takeStock(box.daemon).descriptors.length <= before.descriptors.length + 1,
      { what: 'the descriptors to be closed' },
    );
  });

  test('are exported whole, though their container ends before the export begins', async () => {
    for (const seconds of ['0', '0.05', '0.1', '0.15', '0.2']) {
      const id = await box.up({ Cmd: ['sleep', seconds] });
      const [exported, changes] = await Promise.all([
        box.daemon.api('GET', `/containers/${id}/export`),
        box.daemon.api('GET', `/containers/${id}/changes`),
      ]);
      assert.equal(exported.status, 200, exported.text);
      const names = (await entriesOf(exported.bytes)).map((each) => each.name);
      assert.ok(names.includes('bin/busybox'), `sleep ${seconds}: ${names.length} entries`);
      assert.equal(changes.status, 200, changes.text);
      await box.remove(id);
    }
  });

  test('what changed is listed, exported, imported and committed', async () => {
    const id = await box.create({
      Cmd: [
        'sh',
        '-c',
        'echo new >/added; rm /etc/motd; chmod 700 /home; mkdir /var/log/deep; rm -r /home/user',
      ],
      Env: ['KEPT=1'],
    });
    await box.start(id);
    await box.daemon.json('POST', `/containers/${id}/wait`);
    const changes = (await box.daemon.json('GET', `/containers/${id}/changes`)) as {
      Path: string;
      Kind: number;
    }[];
    assert.deepEqual(
      changes.map((each) => `${each.Kind} ${each.Path}`).sort(),
      [
        '0 /etc',
        '0 /home',
        '0 /var',
        '0 /var/log',
        '1 /added',
        '1 /var/log/deep',
        '2 /etc/motd',
        '2 /home/user',
      ].sort(),
    );
    const exported = (await box.daemon.api('GET', `/containers/${id}/export`)).bytes;
    const names = (await entriesOf(exported)).map(({ name }) => name.replace(/\/$/, ''));
    assert(names.includes('added') && names.includes('bin/busybox') && !names.includes('etc/motd'));
    await box.daemon.api('POST', '/images/create?fromSrc=-&repo=flat&tag=v1', exported);
    const commit = new URLSearchParams({
      container: id,
      repo: 'kept',
      tag: 'v1',
      author: 'An Author',
      comment: 'why',
    });
    for (const change of ['ENV MORE=2', 'CMD ["cat","/added"]', 'EXPOSE 80', 'LABEL a=b']) {
      commit.append('changes', change);
    }
    const made = (await box.daemon.json('POST', `/commit?${commit}`)) as { Id: string };
    const image = (await box.daemon.json('GET', '/images/kept:v1/json')) as {
      Id: string;
      Author: string;
      Comment: string;
      Config: { Env: string[]; Cmd: string[]; ExposedPorts: object; Labels: object };
      RootFS: { Layers: string[] };
    };
    assert.equal(image.Id, made.Id);
    assert.deepEqual([image.Author, image.Comment], ['An Author', 'why']);
    assert(image.Config.Env.includes('KEPT=1') && image.Config.Env.includes('MORE=2'));
    assert.deepEqual(image.Config.Cmd, ['cat', '/added']);
    assert.deepEqual(image.Config.Labels, { a: 'b' });
    assert.equal(image.RootFS.Layers.length, 4);
    const run = async (name: string, script: string): Promise<string> => {
      const made = (await box.daemon.json('POST', '/containers/create', {
        Image: name,
        Cmd: ['sh', '-c', script],
        HostConfig: { NetworkMode: 'none' },
      })) as { Id: string };
      await box.start(made.Id);
      await box.daemon.json('POST', `/containers/${made.Id}/wait`);
      return (await box.daemon.api('GET', `/containers/${made.Id}/logs?stdout=1`)).text;
    };
    for (const name of ['kept:v1', 'flat:v1']) {
      const said = await run(name, 'cat /added; ls -d /etc/motd /home/user; stat -c %a /home');
      assert.match(said, /new/);
      assert.match(said, /700/);
      assert.doesNotMatch(said, /motd/);
    }
  });
});
