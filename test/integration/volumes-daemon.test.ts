import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { takeStock } from '../support/resources.ts';
import { temporaryFolder } from '../support/temp.ts';

/** Volumes and mounts through the API, with real containers. */

let box: Box;
/** A shared mount, as `/` is where systemd runs: a daemon in a mount namespace sees what comes later. */
const shared = temporaryFolder('shared');
before(async () => {
  execFileSync('mount', ['--bind', shared.path, shared.path]);
  execFileSync('mount', ['--make-shared', shared.path]);
  box = await openBox();
});
after(async () => {
  await box[Symbol.asyncDispose]();
  execFileSync('umount', ['-R', shared.path]);
  shared[Symbol.dispose]();
});

type VolumeList = { Volumes: { Name: string; UsageData?: { RefCount: number; Size: number } }[] };

const FOREVER = ['sleep', '1000'];

async function volume(Name: string, more: object = {}): Promise<string> {
  const made = await box.daemon.json('POST', '/volumes/create', { Name, ...more });
  return (made as { Mountpoint: string }).Mountpoint;
}

function query(filters: object): string {
  return `filters=${encodeURIComponent(JSON.stringify(filters))}`;
}

async function names(filters: object = {}): Promise<string[]> {
  const { Volumes } = (await box.daemon.json('GET', `/volumes?${query(filters)}`)) as VolumeList;
  return Volumes.map(({ Name }) => Name);
}

async function prune(filters: object): Promise<string[]> {
  const answer = await box.daemon.json('POST', `/volumes/prune?${query(filters)}`);
  return (answer as { VolumesDeleted: string[] }).VolumesDeleted;
}

async function refuse(HostConfig: object, status: number, message: RegExp): Promise<void> {
  const answer = await box.tryCreate({ Cmd: ['true'], HostConfig: { ...HostConfig } });
  assert.equal(answer.status, status, answer.text);
  assert.match((answer.json() as { message: string }).message, message);
}

test('a new volume has what the image has there, unless nocopy; what is in it stays', async () => {
  const Binds = ['etc-copy:/etc', 'etc-none:/nothing:nocopy'];
  const more = [{ Type: 'volume', Source: 'no', Target: '/bin2', VolumeOptions: { NoCopy: true } }];
  assert.equal(
    await box.sh('cat /etc/motd; echo changed >/etc/motd; ls /nothing', {
      HostConfig: { Binds, Mounts: more },
    }),
    'hello from a layer\n',
  );
  assert.equal(await box.sh('cat /etc/motd', { HostConfig: { Binds } }), 'changed\n');
  const noCopy = {
    Type: 'volume',
    Source: 'empty',
    Target: '/etc',
    VolumeOptions: { NoCopy: true },
  };
  const id = await box.up({ Cmd: FOREVER, HostConfig: { Mounts: [noCopy] } });
  // The engine's own files are there, of the image's nothing.
  assert.equal((await box.exec(id, 'ls', '/etc')).output.includes('motd'), false);
  await box.remove(id);
  for (const each of ['etc-copy', 'etc-none', 'no', 'empty']) {
    await box.daemon.json('DELETE', `/volumes/${each}`);
  }
});

test('volumes-from takes all mounts of another, read-only when asked', async () => {
  using folder = temporaryFolder('bind');
  writeFileSync(path.join(folder.path, 'file'), 'from the host');
  const donor = await box.create(
    { Cmd: ['true'], HostConfig: { Binds: ['shared:/data', `${folder.path}:/host:ro`] } },
    'donor',
  );
  assert.equal(
    await box.sh('echo written >/data/note; cat /host/file', {
      HostConfig: { VolumesFrom: ['donor'] },
    }),
    'from the host',
  );
  const ro = await box.run({
    Cmd: ['sh', '-c', 'cat /data/note; echo x >/data/note'],
    HostConfig: { VolumesFrom: [`${donor}:ro`] },
  });
  assert.deepEqual([ro.code, ro.stdout], [1, 'written\n']);
  assert.match(ro.stderr, /Read-only file system/);
  await refuse({ VolumesFrom: ['nobody'] }, 404, /No such container: nobody/);
  await refuse({ VolumesFrom: ['donor:xx'] }, 400, /invalid mode: xx/);
  await box.remove(donor);
  await box.daemon.json('DELETE', '/volumes/shared');
});

test('references are counted, survive a crash of the daemon, and keep a volume', async () => {
  await volume('kept');
  const id = await box.up({
    Cmd: FOREVER,
    Volumes: { '/anonymous': {} },
    HostConfig: { Binds: ['kept:/kept'] },
  });
  const inside = await box.exec(id, 'sh', '-c', 'head -c 5000 /dev/zero >/kept/zeros');
  assert.equal(inside.code, 0);
  await box.daemon.restart('SIGKILL');
  const refused = await box.daemon.api('DELETE', '/volumes/kept');
  assert.equal(refused.status, 409);
  assert.match(refused.text, new RegExp(`remove kept: volume is in use - \\[${id}\\]`));
  assert.equal((await box.daemon.api('DELETE', '/volumes/kept?force=1')).status, 409);
  const df = (await box.daemon.json('GET', '/system/df')) as VolumeList;
  assert.deepEqual(df.Volumes.find(({ Name }) => Name === 'kept')?.UsageData, {
    RefCount: 1,
    Size: 5000,
  });
  assert.equal(df.Volumes.length, 2, 'the anonymous one is there too');
  assert.deepEqual(await names({ dangling: ['true'] }), []);
  assert.deepEqual(await prune({ all: ['true'] }), []);
  await box.daemon.json('DELETE', `/containers/${id}?force=1&v=1`);
  assert.deepEqual(await names(), ['kept'], 'with v=1 the anonymous one goes along');
  await box.daemon.json('DELETE', '/volumes/kept');
  assert.equal((await box.daemon.api('DELETE', '/volumes/kept')).status, 404);
  assert.equal((await box.daemon.api('DELETE', '/volumes/kept?force=1')).status, 204);
});

test('prune takes anonymous volumes, with all=true named ones, as labels say', async () => {
  await volume('named');
  await volume('labelled', { Labels: { keep: 'yes', tier: '1' } });
  const anonymous = ((await box.daemon.json('POST', '/volumes/create', {})) as { Name: string })
    .Name;
  assert.match(anonymous, /^[0-9a-f]{64}$/);
  assert.deepEqual(await names({ label: ['keep'] }), ['labelled']);
  assert.deepEqual(await names({ label: ['keep=no'] }), []);
  assert.deepEqual(await names({ name: ['label'], driver: ['local'] }), ['labelled']);
  assert.deepEqual(await prune({ label: ['keep'] }), []);
  assert.deepEqual(await prune({}), [anonymous]);
  assert.deepEqual(await prune({ all: ['true'], 'label!': ['keep=yes'] }), ['named']);
  assert.deepEqual(await prune({ all: ['1'], label: ['tier=1'] }), ['labelled']);
  const wrong = await box.daemon.api('POST', `/volumes/prune?${query({ colour: ['red'] })}`);
  assert.equal(wrong.status, 400);
  assert.match(wrong.text, /invalid filter 'colour'/);
});

test('a password among the options of a mount that fails is told to nobody', async () => {
  const o = 'addr=127.0.0.1,username=me,password=hunter2,vers=3.0';
  await volume('share', { DriverOpts: { type: 'nosuchfs', device: '//127.0.0.1/x', o } });
  const id = await box.create({ HostConfig: { Binds: ['share:/s'] } });
  const answer = await box.daemon.api('POST', `/containers/${id}/start`);
  assert.equal(answer.status, 500);
  assert.match(answer.text, /failed to mount local volume: .*password=\*+,vers=3\.0/);
  assert.ok(!answer.text.includes('hunter2') && !box.daemon.log().includes('hunter2'));
  await box.remove(id);
  await box.daemon.json('DELETE', '/volumes/share');
});

test('driver options: a tmpfs, a bind with read-only, and what the kernel refuses', async () => {
  using folder = temporaryFolder('device');
  writeFileSync(path.join(folder.path, 'here'), 'device');
  const scratch = await volume('scratch', {
    DriverOpts: { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,uid=1000,mode=700' },
  });
  await volume('device', { DriverOpts: { type: 'none', device: folder.path, o: 'bind,ro' } });
  const HostConfig = { Binds: ['scratch:/s', 'device:/d'] };
  const told = await box.sh('stat -c "%u %a" /s; df -k /s | tail -n 1; cat /d/here', {
    HostConfig,
  });
  assert.match(told, /^1000 700\ntmpfs +1024 .*\ndevice$/s);
  const { code, stderr } = await box.run({ Cmd: ['sh', '-c', 'echo x >/d/here'], HostConfig });
  assert.equal(code, 1);
  assert.match(stderr, /Read-only file system/);

  for (const [name, DriverOpts, message] of [
    [
      'nfs',
      { type: 'nfs', device: ':/x', o: 'addr=127.0.0.1,nolock' },
      /failed to mount local volume: mount :\/x:.*data: addr=127\.0\.0\.1,nolock: /,
    ],
    [
      'odd',
      { type: 'tmpfs', device: 'tmpfs', o: 'colour=red' },
      /failed to mount local volume: mount tmpfs:.*: invalid argument/,
    ],
    [
      'gone',
      { type: 'none', device: '/nonexistent/x', o: 'bind' },
      /failed to mount local volume: mount \/nonexistent\/x:.*: no such file or directory/,
    ],
  ] as const) {
    await volume(name, { DriverOpts });
    const id = await box.create({ Cmd: ['true'], HostConfig: { Binds: [`${name}:/v`] } });
    const answer = await box.daemon.api('POST', `/containers/${id}/start`);
    assert.equal(answer.status, 500, answer.text);
    assert.match(answer.text, message);
    assert.equal((await box.inspect(id)).State.Running, false);
    await box.remove(id);
    await box.daemon.json('DELETE', `/volumes/${name}`);
  }
  const mounts = readFileSync('/proc/self/mountinfo', 'utf8');
  assert.ok(!mounts.includes(path.dirname(scratch)), 'nothing is mounted without a container');
  for (const each of ['scratch', 'device']) await box.daemon.json('DELETE', `/volumes/${each}`);
});

test('read-only goes down to what is mounted below, unless it is told not to', async () => {
  const folder = path.join(shared.path, 'deep');
  const below = path.join(folder, 'below');
  mkdirSync(below, { recursive: true });
  execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', below]);
  try {
    const writes = async (more: object): Promise<string> => {
      const mount = { Type: 'bind', Source: folder, Target: '/deep', ...more };
      const Cmd = [
        'sh',
        '-c',
        '(echo x >/deep/top) 2>/dev/null && echo top; (echo x >/deep/below/x) 2>/dev/null && echo below; true',
      ];
      return (await box.run({ Cmd, HostConfig: { Mounts: [mount] } })).stdout;
    };
    assert.equal(await writes({}), 'top\nbelow\n');
    assert.ok(existsSync(path.join(below, 'x')));
    assert.equal(await writes({ ReadOnly: true }), '');
    const top = { ReadOnlyNonRecursive: true };
    assert.equal(await writes({ ReadOnly: true, BindOptions: top }), 'below\n');
    const all = { ReadOnlyForceRecursive: true, Propagation: 'rprivate' };
    assert.equal(await writes({ ReadOnly: true, BindOptions: all }), '');
    await refuse(
      { Mounts: [{ Type: 'bind', Source: folder, Target: '/deep', BindOptions: all }] },
      400,
      /ReadOnlyForceRecursive needs ReadOnly/,
    );
    assert.deepEqual(readdirSync(below), ['x']);
    const flat = { NonRecursive: true };
    assert.equal(await writes({ BindOptions: flat }), 'top\nbelow\n', 'its own folder below');
    assert.deepEqual(readdirSync(below), ['x'], 'not what is mounted there');
    const binds = { Binds: [`${folder}:/deep:ro`] };
    const { code } = await box.run({ Cmd: ['touch', '/deep/below/y'], HostConfig: binds });
    assert.equal(code, 1);
  } finally {
    execFileSync('umount', [below]);
  }
});

test('propagation: what the host mounts later is seen with rslave, and not with rprivate', async () => {
  const folder = path.join(shared.path, 'later');
  mkdirSync(folder, { recursive: true });
  try {
    const HostConfig = {
      Binds: [`${shared.path}:/slave:rslave`, `${shared.path}:/private:rprivate`],
    };
    const id = await box.up({ Cmd: FOREVER, HostConfig });
    const propagations = (await box.inspect(id)).Mounts.map((each) => each.Propagation);
    assert.deepEqual(propagations.toSorted(), ['rprivate', 'rslave']);
    execFileSync('mount', ['-t', 'tmpfs', 'tmpfs', folder]);
    writeFileSync(path.join(folder, 'news'), '');
    const { output } = await box.exec(id, 'sh', '-c', 'ls /slave/later; echo -; ls /private/later');
    assert.equal(output, 'news\n-\n');
    await box.remove(id);
  } finally {
    execFileSync('umount', [folder]);
  }
});

test('a subpath of a volume is all that a container sees', async () => {
  const data = await volume('tree');
  mkdirSync(path.join(data, 'a/b'), { recursive: true });
  writeFileSync(path.join(data, 'a/b/leaf'), 'leaf');
  const at = (Subpath: string) => ({
    Mounts: [{ Type: 'volume', Source: 'tree', Target: '/t', VolumeOptions: { Subpath } }],
  });
  assert.equal(await box.sh('ls /t; cat /t/leaf', { HostConfig: at('a/b') }), 'leaf\nleaf');
  await refuse(at('../x'), 400, /subpath must be a relative path within the volume/);
  const id = await box.create({ Cmd: ['true'], HostConfig: at('missing') });
  const answer = await box.daemon.api('POST', `/containers/${id}/start`);
  assert.match(answer.text, /cannot access path .*missing: .*no such file or directory/);
  await box.remove(id);
  await box.daemon.json('DELETE', '/volumes/tree');
});

test('a subpath stays within its volume, whatever comes in its place', async () => {
  const data = await volume('swapped');
  mkdirSync(path.join(data, 'part'));
  writeFileSync(path.join(data, 'part/leaf'), 'leaf');
  writeFileSync(path.join(data, 'file'), 'file');
  symlinkSync('/etc', path.join(data, 'etc'));
  symlinkSync('part', path.join(data, 'link'));
  const at = (...subpaths: string[]) => ({
    Mounts: subpaths.map((Subpath, i) => ({
      ...{ Type: 'volume', Source: 'swapped', Target: `/t${i}` },
      VolumeOptions: { Subpath },
    })),
  });
  const id = await box.create({ Cmd: FOREVER, HostConfig: at('etc') });
  assert.match(
    (await box.daemon.api('POST', `/containers/${id}/start`)).text,
    /cannot access path/,
  );
  await box.remove(id);

  const run = await box.up({ Cmd: FOREVER, HostConfig: at('link', 'file') });
  assert.equal((await box.exec(run, 'cat', '/t0/leaf', '/t1')).output, 'leaffile');
  // What it was at the start stays mounted; what a path leads to now is another matter.
  unlinkSync(path.join(data, 'link'));
  symlinkSync('/etc', path.join(data, 'link'));
  assert.equal((await box.exec(run, 'ls', '/t0')).output, 'leaf\n');
  assert.equal((await box.exec(run, 'sh', '-c', 'echo x > /t0/new; echo y > /t1')).code, 0);
  assert.equal(readFileSync(path.join(data, 'part/new'), 'utf8'), 'x\n');
  assert.equal(readFileSync(path.join(data, 'file'), 'utf8'), 'y\n');
  await box.daemon.json('POST', `/containers/${run}/stop?t=0`);
  const again = await box.daemon.api('POST', `/containers/${run}/start`);
  assert.match(again.text, /cannot access path/);
  unlinkSync(path.join(data, 'link'));
  symlinkSync('part', path.join(data, 'link'));
  // Also for a copy out of a container that does not run.
  const copied = await box.daemon.api('GET', `/containers/${run}/archive?path=/t0/leaf`);
  assert.equal(copied.status, 200, copied.text);
  assert.ok(copied.bytes.includes('leaf'));
  const { mounts } = takeStock(box.daemon);
  assert.deepEqual(
    mounts.filter((each) => each.includes(run)),
    [],
  );
  await box.remove(run);
  await box.daemon.json('DELETE', '/volumes/swapped');
});

test('what makes no sense is refused in the words of Docker, and nothing is left behind', async () => {
  const create = async (body: object, status: number, message: RegExp): Promise<void> => {
    const answer = await box.daemon.api('POST', '/volumes/create', body);
    assert.equal(answer.status, status, answer.text);
    assert.match((answer.json() as { message: string }).message, message);
  };
  await create(
    { Name: 'a/b' },
    400,
    /^create a\/b: "a\/b" includes invalid characters for a local volume name, only "\[a-zA-Z0-9\]\[a-zA-Z0-9_\.-\]" are allowed\. If you intended to pass a host directory, use absolute path$/,
  );
  await create({ Name: 'x' }, 400, /volume name is too short/);
  await create({ Name: '../../etc' }, 400, /includes invalid characters/);
  await create(
    { Name: 'fine', Driver: 'rexray' },
    404,
    /^error looking up volume plugin rexray: plugin "rexray" not found: volume plugins are not supported, use the local driver$/,
  );
  await create({ Name: 'fine', DriverOpts: { colour: 'red' } }, 400, /invalid option: "colour"/);
  await create(
    { Name: 'fine', DriverOpts: { type: 'nfs' } },
    400,
    /missing required option: "device"/,
  );
  await refuse(
    { Mounts: [{ Type: 'bind', Source: '/nonexistent/source', Target: '/t' }] },
    400,
    /^invalid mount config for type "bind": bind source path does not exist: \/nonexistent\/source$/,
  );
  await refuse({ Binds: ['rel/ative:/t'] }, 400, /includes invalid characters for a local volume/);
  await refuse({ Binds: ['new:/t', 'other:/t'] }, 400, /^Duplicate mount point: \/t$/);
  await refuse({ Binds: ['new:/'] }, 400, /destination can't be '\/'/);
  await refuse({ Binds: ['new:/t:sideways'] }, 400, /^invalid mode: sideways$/);
  await refuse({ Binds: ['new:/t'], VolumeDriver: 'rexray' }, 404, /plugin "rexray" not found/);
  await refuse({ Tmpfs: { '/t': 'colour=red' } }, 400, /invalid tmpfs option \["colour=red"\]/);
  assert.deepEqual(await names(), []);
  assert.deepEqual(readdirSync(path.join(box.daemon.dataRoot, 'volumes')), []);
  assert.deepEqual(await box.daemon.json('GET', '/containers/json?all=1'), []);
});

test('a bind whose source cannot be made fails the start in one sentence', async () => {
  // Where the kernel makes no folders: asked again and again, the daemon would never end.
  const id = await box.create({ Cmd: ['true'], HostConfig: { Binds: ['/proc/none/source:/t'] } });
  const answer = await box.daemon.api('POST', `/containers/${id}/start`);
  assert.equal(answer.status, 500);
  assert.match(
    (answer.json() as { message: string }).message,
    /^error while creating mount source path '\/proc\/none\/source': mkdir \/proc\/none: no such file or directory$/,
  );
  await box.daemon.json('DELETE', `/containers/${id}`);
});
