import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  chownSync,
  closeSync,
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { type TestContext, test } from 'node:test';
import { KeyedLock, TaskGroup } from '../../src/base/async.ts';
import { silentLogger } from '../../src/base/log.ts';
import { EventBus } from '../../src/engine/events.ts';
import { LocalVolumes } from '../../src/engine/volumes/local-volumes.ts';
import { systemClock } from '../../src/kernel/clock.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { isMountPoint } from '../../src/kernel/mountinfo.ts';
import { hostConfig } from '../../src/spec/docker/container.ts';
import { openDatabase } from '../../src/store/db.ts';
import { containerStore, networkStore, volumeStore } from '../../src/store/documents.ts';
import { imageStore } from '../../src/store/images.ts';
import { dataRootAt } from '../../src/store/paths.ts';
import { eventually } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

const sys = openSyscalls();
const clock = systemClock;

function makeTemp(t: TestContext): string {
  const folder = temporaryFolder('volumes');
  t.after(() => folder[Symbol.dispose]());
  return folder.path;
}

/** Volumes on a data root; call again on the same root for a new daemon. */
async function open(t: TestContext, root: string) {
  const dataRoot = dataRootAt(root);
  const database = openDatabase(dataRoot.database);
  const tasks = new TaskGroup((name, error) => assert.fail(`${name}: ${String(error)}`));
  const events = new EventBus(clock);
  const volumes = new LocalVolumes({
    sys,
    dataRoot,
    store: {
      images: imageStore(database),
      containers: containerStore(database),
      networks: networkStore(database),
      volumes: volumeStore(database),
    },
    clock,
    random: { bytes: randomBytes },
    log: silentLogger,
    locks: new KeyedLock(),
    events,
    tasks,
  });
  await volumes.restore();
  const close = async (): Promise<void> => {
    await tasks.close();
    database.close();
  };
  t.after(close);
  return { volumes, dataRoot, events, tasks };
}

function resolving(volumes: LocalVolumes, id: string, config: object, anonymous: string[] = []) {
  return volumes.resolve({
    id,
    hostConfig: hostConfig.decode(config, ''),
    anonymous,
    volumesFrom: () => [],
  });
}

test('a volume is made once, found again by the next daemon, and kept while it is used', async (t) => {
  const root = makeTemp(t);
  const first = await open(t, root);
  const [mount] = await resolving(first.volumes, 'c1', { Binds: ['data:/srv'] });
  assert.ok(mount !== undefined);
  writeFileSync(path.join(mount.source, 'kept'), 'yes');
  await assert.rejects(first.volumes.remove('data'), {
    message: 'remove data: volume is in use - [c1]',
  });
  const second = await open(t, root);
  assert.equal(
    readFileSync(path.join(second.volumes.find('data')?.mountpoint ?? '', 'kept'), 'utf8'),
    'yes',
  );
  await second.volumes.forget('c1', true);
  await second.volumes.remove('data');
  assert.deepEqual(readdirSync(second.dataRoot.volumes), []);
  await assert.rejects(second.volumes.remove('data'), { message: 'get data: no such volume' });
  const actions = first.events.kept().map((event) => event.Action);
  assert.deepEqual(actions, ['create']);
});

test('a request that fails leaves no volume behind', async (t) => {
  const { volumes, dataRoot } = await open(t, makeTemp(t));
  const config = {
    Mounts: [
      { Type: 'volume', Source: 'fine', Target: '/a' },
      {
        Type: 'volume',
        Source: 'odd',
        Target: '/b',
        VolumeOptions: { DriverConfig: { Name: 'nfs-plugin' } },
      },
    ],
  };
  await assert.rejects(resolving(volumes, 'c1', config), /volume plugins are not supported/);
  assert.deepEqual(volumes.list(), []);
  assert.deepEqual(readdirSync(dataRoot.volumes), []);
  await assert.rejects(
    resolving(volumes, 'c1', {
      Mounts: [{ Type: 'bind', Source: '/nonexistent/x', Target: '/a' }],
    }),
    /bind source path does not exist: \/nonexistent\/x/,
  );
});

test('a removal that waits for a container to take its volume finds it in use', async (t) => {
  const { volumes } = await open(t, makeTemp(t));
  await volumes.create({ name: 'shared', driver: '', options: {}, labels: {} });
  const mounts = { Binds: ['shared:/a', 'other:/b', 'third:/c'] };
  const taking = resolving(volumes, 'c1', mounts);
  await assert.rejects(volumes.remove('shared'), /volume is in use - \[c1\]/);
  await taking;
  // Two that make it at once: the one that fails leaves it to the other.
  const bad = resolving(volumes, 'c2', { Binds: ['new:/a'], Mounts: [BAD_DRIVER] });
  const good = resolving(volumes, 'c3', { Binds: ['new:/a'] });
  await assert.rejects(bad, /error looking up volume plugin nope/);
  await good;
  assert.deepEqual(volumes.usersOf('new'), ['c3']);
  assert.deepEqual(volumes.usersOf('shared'), ['c1']);
});

const BAD_DRIVER = {
  Type: 'volume',
  Target: '/z',
  Source: 'zz',
  VolumeOptions: { DriverConfig: { Name: 'nope' } },
};

test("a new volume gets the image's content with all that makes a file", async (t) => {
  const root = makeTemp(t);
  const { volumes } = await open(t, root);
  const rootfs = path.join(root, 'rootfs');
  const inside = path.join(rootfs, 'srv/real');
  mkdirSync(path.join(inside, 'sub'), { recursive: true, mode: 0o750 });
  chownSync(inside, 33, 44);
  writeFileSync(path.join(inside, 'program'), 'x', { mode: 0o755 });
  chownSync(path.join(inside, 'program'), 1, 2);
  sys.fchmodat(-100, path.join(inside, 'program'), 0o4755);
  sys.lsetxattr(path.join(inside, 'program'), 'user.kind', Buffer.from('test'));
  linkSync(path.join(inside, 'program'), path.join(inside, 'sub/same'));
  symlinkSync('/etc/passwd', path.join(inside, 'link'));
  // The destination is an absolute symlink: it means a place within the image.
  symlinkSync('/srv/real', path.join(rootfs, 'data'));

  const mounts = await resolving(volumes, 'c1', {}, ['/data']);
  const [source = ''] = await volumes.prepare('c1', mounts, rootfs);
  const program = lstatSync(path.join(source, 'program'));
  assert.deepEqual([program.uid, program.gid, program.mode & 0o7777], [1, 2, 0o4755]);
  assert.equal(String(sys.lgetxattr(path.join(source, 'program'), 'user.kind')), 'test');
  assert.equal(statSync(path.join(source, 'sub/same')).ino, program.ino);
  assert.ok(lstatSync(path.join(source, 'link')).isSymbolicLink());
  const top = statSync(source);
  assert.deepEqual([top.uid, top.gid, top.mode & 0o777], [33, 44, 0o750]);
  assert.deepEqual(readdirSync(path.dirname(source)), ['_data']);

  // Only the first time: what a container deleted does not come back.
  rmSync(path.join(source, 'link'));
  await volumes.prepare('c1', mounts, rootfs);
  assert.equal(existsSync(path.join(source, 'link')), false);
  await volumes.forget('c1', true);
  assert.deepEqual(volumes.list(), []);
});

test('filling a volume leaves the daemon its time, and keeps names that are not UTF-8', async (t) => {
  const folder = makeTemp(t);
  const { volumes } = await open(t, folder);
  const inside = path.join(folder, 'rootfs/data');
  for (let i = 0; i < 1_000; i += 1) {
    const directory = path.join(inside, String(i % 100));
    mkdirSync(directory, { recursive: true });
    writeFileSync(path.join(directory, `${i}`), 'x');
  }
  writeFileSync(path.join(inside, 'large'), Buffer.alloc(32 << 20, 1));
  const odd = Buffer.concat([Buffer.from(`${inside}/caf`), Buffer.of(0xe9)]);
  writeFileSync(odd, 'bytes');

  const mounts = await resolving(volumes, 'c1', {}, ['/data']);
  let [lastMs, longestMs] = [performance.now(), 0];
  const watch = setInterval(() => {
    longestMs = Math.max(longestMs, performance.now() - lastMs);
    lastMs = performance.now();
  }, 5);
  const beganMs = performance.now();
  const [source = ''] = await volumes.prepare('c1', mounts, path.join(folder, 'rootfs'));
  const tookMs = performance.now() - beganMs;
  clearInterval(watch);
  assert.ok(longestMs < tookMs / 2, `silent for ${longestMs} of ${tookMs} ms`);
  assert.equal(readdirSync(source).length, 102);
  assert.equal(statSync(path.join(source, 'large')).size, 32 << 20);
  const copied = Buffer.concat([Buffer.from(`${source}/caf`), Buffer.of(0xe9)]);
  assert.equal(readFileSync(copied, 'utf8'), 'bytes');
});

test('an empty volume that a container has mounted is filled under it', async (t) => {
  const folder = makeTemp(t);
  const { volumes } = await open(t, folder);
  mkdirSync(path.join(folder, 'rootfs/srv'), { recursive: true });
  writeFileSync(path.join(folder, 'rootfs/srv/page'), 'hello');
  const config = { Binds: ['shared:/srv'] };
  const [empty = ''] = await volumes.prepare('c1', await resolving(volumes, 'c1', config), folder);
  const mounted = openSync(empty, 'r');
  t.after(() => closeSync(mounted));
  await volumes.prepare('c2', await resolving(volumes, 'c2', config), path.join(folder, 'rootfs'));
  assert.equal(readFileSync(`/proc/self/fd/${mounted}/page`, 'utf8'), 'hello');
});

test('a volume goes whole, however deep a container made it', async (t) => {
  const { volumes, dataRoot } = await open(t, makeTemp(t));
  const wish = { name: 'deep', driver: 'local', options: {}, labels: {} };
  const { mountpoint } = await volumes.create(wish);
  const [start, name] = [process.cwd(), 'd'.repeat(200)];
  process.chdir(mountpoint);
  try {
    for (let depth = 0; depth < 40; depth += 1) {
      mkdirSync(name);
      process.chdir(name);
    }
  } finally {
    process.chdir(start);
  }
  await volumes.remove('deep');
  await eventually(() => readdirSync(dataRoot.staging).length === 0, { what: 'its end' });
});

test('what lies among the volumes and is none is left alone', async (t) => {
  const root = makeTemp(t);
  const { dataRoot } = await open(t, root);
  mkdirSync(path.join(dataRoot.volumes, 'lost+found'));
  writeFileSync(path.join(dataRoot.volumes, 'metadata.db'), 'x');
  const { volumes } = await open(t, root);
  assert.deepEqual(volumes.list(), []);
  assert.deepEqual(readdirSync(dataRoot.volumes).sort(), ['lost+found', 'metadata.db']);
});

test('a volume with options is mounted while a container runs', async (t) => {
  const { volumes } = await open(t, makeTemp(t));
  const volume = await volumes.create({
    name: 'scratch',
    driver: 'local',
    options: { type: 'tmpfs', device: 'tmpfs', o: 'size=1m,noexec' },
    labels: {},
  });
  const one = await resolving(volumes, 'c1', { Binds: ['scratch:/s'] });
  const two = await resolving(volumes, 'c2', { Binds: ['scratch:/s'] });
  await volumes.prepare('c1', one, '/');
  await volumes.prepare('c2', two, '/');
  assert.ok(isMountPoint(volume.mountpoint));
  await volumes.release('c1');
  assert.ok(isMountPoint(volume.mountpoint));
  await volumes.release('c2');
  assert.equal(isMountPoint(volume.mountpoint), false);
  await assert.rejects(
    volumes.create({ name: 'bad', driver: '', options: { colour: 'red' }, labels: {} }),
    { message: 'create: invalid option: "colour"' },
  );
  const wrong = await resolving(volumes, 'c3', {
    Mounts: [
      {
        Type: 'volume',
        Source: 'wrong',
        Target: '/w',
        VolumeOptions: {
          DriverConfig: { Name: 'local', Options: { type: 'nosuchfs', device: 'x' } },
        },
      },
    ],
  });
  await assert.rejects(
    volumes.prepare('c3', wrong, '/'),
    /failed to mount local volume: mount x:.*: no such device/,
  );
});

test('an anonymous volume comes and goes with the record of its container', async (t) => {
  const root = makeTemp(t);
  const names = async (): Promise<string[]> => {
    const { volumes, dataRoot } = await open(t, root);
    const names = volumes.list().map(({ name }) => name);
    assert.deepEqual(readdirSync(dataRoot.volumes), names);
    return names;
  };
  const first = await open(t, root);
  await resolving(first.volumes, 'c1', {}, ['/cache']);
  assert.deepEqual(await names(), [], 'the container was not made');

  const second = await open(t, root);
  const [mount] = await resolving(second.volumes, 'c1', {}, ['/cache']);
  assert.ok(mount !== undefined);
  second.volumes.recordInTransaction([mount]);
  writeFileSync(path.join(mount.source, 'mark'), '');
  assert.deepEqual(await names(), [mount.name]);

  // The container is gone, and before its volume is the power is cut.
  const third = await open(t, root);
  third.volumes.adopt('c1', [mount], false);
  third.volumes.giveUpInTransaction('c1');
  assert.deepEqual(await names(), []);
});

test('an anonymous volume that another container came to use stays', async (t) => {
  const root = makeTemp(t);
  const first = await open(t, root);
  const [mount] = await resolving(first.volumes, 'c1', {}, ['/cache']);
  assert.ok(mount !== undefined);
  first.volumes.recordInTransaction([mount]);
  first.volumes.giveUpInTransaction('c1');
  await resolving(first.volumes, 'c2', { Binds: [`${mount.name}:/cache`] });
  await first.volumes.forget('c1', true);
  const second = await open(t, root);
  assert.ok(second.volumes.find(mount.name) !== undefined);
});

test('what a power cut leaves is finished at the next start', async (t) => {
  const root = makeTemp(t);
  const { volumes, dataRoot } = await open(t, root);
  await volumes.create({ name: 'gone', driver: '', options: {}, labels: {} });
  await volumes.create({ name: 'half', driver: '', options: {}, labels: {} });
  rmSync(path.join(dataRoot.volumes, 'gone'), { recursive: true }); // renamed away, row still there
  mkdirSync(path.join(dataRoot.volumes, 'half/_new')); // a copy-up that was cut off
  mkdirSync(path.join(dataRoot.volumes, 'unborn/_data'), { recursive: true }); // no row yet
  mkdirSync(path.join(dataRoot.volumes, 'found/_data'), { recursive: true });
  writeFileSync(path.join(dataRoot.volumes, 'found/_data/precious'), '');
  const after = await open(t, root);
  assert.deepEqual(
    after.volumes.list().map((volume) => volume.name),
    ['found', 'half'],
  );
  assert.deepEqual(readdirSync(path.join(dataRoot.volumes, 'half')), ['_data']);
  assert.deepEqual(readdirSync(dataRoot.volumes).sort(), ['found', 'half']);
});
