import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import {
  appendFileSync,
  chmodSync,
  chownSync,
  closeSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  truncateSync,
  unlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { S } from '../../src/kernel/constants.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { METACOPY, REDIRECT } from '../../src/store/layers/objects.ts';
import { verifyLayer } from '../../src/worker/layer-verify.ts';
import { startDaemon } from '../support/daemon.ts';
import {
  buildImage,
  busyboxImage,
  type LayerEntry,
  layerTar,
  pushImage,
} from '../support/images.ts';
import { openStore } from '../support/layers.ts';
import { eventually } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';

const sys = openSyscalls();
const MTIME = new Date(1_600_000_000_000);

/** Something of every kind that a layer can have. */
const ENTRIES: readonly LayerEntry[] = [
  { name: './', type: 'directory', mode: 0o751 },
  { name: 'd/', type: 'directory', mode: 0o750, uid: 3, gid: 4 },
  {
    name: 'd/file',
    content: 'content',
    pax: { 'SCHILY.xattr.user.note': 'a note', 'SCHILY.xattr.user.more': 'more' },
  },
  { name: 'd/link', type: 'symlink', linkname: 'file' },
  { name: 'd/null', type: 'character-device', devmajor: 1, devminor: 3, mode: 0o666 },
  { name: 'd/.wh.gone', content: '' },
  { name: 'hidden/.wh..wh..opq', content: '' },
  { name: 'hidden/kept', content: 'kept' },
  { name: 'deep/er/file', content: 'its folders have no entry' },
];

type Damage = (at: (name: string) => string) => void;

const DAMAGES: readonly (readonly [what: string, damage: Damage, says: RegExp])[] = [
  ['another byte', (at) => overwrite(at('d/file')), /its files add up to/],
  [
    'a longer file',
    (at) => appendFileSync(at('d/file'), 'x'),
    /\/d\/file has 8 bytes instead of 7/,
  ],
  ['another owner', (at) => chownSync(at('d'), 0, 4), /\/d belongs to 0:4 instead of 3:4/],
  ['another mode', (at) => chmodSync(at('d'), 0o777), /\/d has mode 777 instead of 750/],
  ['another mode of its root', (at) => chmodSync(at('.'), 0o755), /\/ has mode 755 instead of 751/],
  [
    'another attribute',
    (at) => sys.lsetxattr(at('d/file'), 'user.note', Buffer.from('other')),
    /\/d\/file has another user\.note/,
  ],
  [
    'a lost attribute',
    (at) => sys.lremovexattr(at('d/file'), 'user.more'),
    /\/d\/file has lost its user\.more/,
  ],
  [
    'one attribute more',
    (at) => sys.lsetxattr(at('d/file'), 'user.added', Buffer.from('x')),
    /\/d\/file has a user\.added, which is not of this layer/,
  ],
  ['a file more', (at) => writeFileSync(at('deep/er/more'), ''), /\/deep\/er\/more is not of this/],
  ['a folder more', (at) => mkdirSync(at('more')), /\/more is not of this layer/],
  ['no whiteout', (at) => unlinkSync(at('d/gone')), /\/d\/gone is missing/],
  [
    'no opaque folder',
    (at) => sys.lremovexattr(at('hidden'), 'trusted.overlay.opaque'),
    /\/hidden does not hide what lies below it/,
  ],
  ['another target', (at) => relink(at('d/link'), 'kept'), /\/d\/link leads elsewhere/],
  ['another device', (at) => redevice(at('d/null')), /\/d\/null is device 1:5 instead of 1:3/],
  ['no folder', (at) => rmSync(at('deep'), { recursive: true }), /no such file/],
];

function overwrite(file: string): void {
  const fd = openSync(file, 'r+');
  writeSync(fd, 'X', 3);
  closeSync(fd);
}

function relink(file: string, target: string): void {
  unlinkSync(file);
  symlinkSync(target, file);
}

function redevice(file: string): void {
  unlinkSync(file);
  sys.mknodat(-100, file, S.IFCHR | 0o666, { major: 1, minor: 5 });
}

test('whatever of a layer is not as it came is found and said', async (t) => {
  const tar = await layerTar(ENTRIES);
  for (const [what, damage, says] of DAMAGES) {
    await t.test(what, async () => {
      await using here = await openStore('overlay2');
      const [diffId] = await here.add(tar);
      assert.ok(diffId !== undefined);
      const directory = path.dirname(here.store.directoryOf(diffId));
      const verify = () => verifyLayer({ sys, directory, diffId }, new AbortController().signal);
      assert.equal(await verify(), undefined);
      damage((name) => path.join(directory, 'diff', name));
      assert.match((await verify()) ?? 'nothing', says);
    });
  }
});

const BIG = randomBytes(300_000);

/** Versions of an image whose files differ in their times alone: the second has stubs. */
async function versions() {
  return await Promise.all(
    [0, 1].map((version) =>
      buildImage({
        layers: [
          [
            { name: 'srv/', type: 'directory', mtime: MTIME },
            { name: 'srv/version', content: `${version}`, mtime: MTIME },
            { name: 'srv/big', content: BIG, mtime: new Date(MTIME.getTime() + version * 1000) },
          ],
        ],
      }),
    ),
  );
}

const SHARED: readonly (readonly [what: string, damage: (stub: string, object: string) => void])[] =
  [
    ['a byte of a shared content', (_stub, object) => overwrite(object)],
    ['a shared content that is gone', (_stub, object) => unlinkSync(object)],
    ['a shared content that lost its end', (_stub, object) => truncateSync(object, 5000)],
    [
      'a redirect that leads elsewhere',
      (stub) => sys.lsetxattr(stub, REDIRECT, Buffer.from('/aaaaaaaa/0/1')),
    ],
    ['a redirect that is no path', (stub) => sys.lsetxattr(stub, REDIRECT, Buffer.from('../../x'))],
    ['a stub that is none any more', (stub) => sys.lremovexattr(stub, METACOPY)],
    ['a stub of another size', (stub) => truncateSync(stub, 5)],
  ];

test('damage to shared contents is found in each layer that has them, and each is repaired', async (t) => {
  await using registry = await startRegistry();
  await using daemon = await startDaemon();
  const call = async (address: string) => (await daemon.api('POST', address)).text;
  const names = [`${registry.host}/app:v0`, `${registry.host}/app:v1`] as const;
  const built = await versions();
  for (const [i, image] of built.entries()) await pushImage(registry, 'app', `v${i}`, image);
  const pull = (name: string) => call(`/images/create?fromImage=${encodeURIComponent(name)}`);
  const verify = (name: string) => call(`/images/${name}/verify`);
  const damagedOnes = async () =>
    ((await daemon.json('POST', '/system/check')) as { Damaged: { Images: string[] }[] }).Damaged;
  const diffOf = async (name: string): Promise<string> => {
    const image = (await daemon.json('GET', `/images/${name}/json`)) as {
      GraphDriver: { Data: { UpperDir: string } };
    };
    return image.GraphDriver.Data.UpperDir;
  };
  for (const [what, damage] of SHARED) {
    await t.test(what, async () => {
      for (const name of names) await pull(name);
      const stub = path.join(await diffOf(names[1]), 'srv/big');
      const redirect = Buffer.from(sys.lgetxattr(stub, REDIRECT) ?? []).toString();
      assert.match(redirect, /^\/[a-z2-7]{8}\/\d+\/\d+$/);
      damage(stub, path.join(daemon.dataRoot, 'objects', redirect));
      const isShared = /shared/.test(what);
      assert.match(await verify(names[1]), /is damaged in/);
      // The file of the first image is another name of the content: what is gone is only the other.
      const isBoth = isShared && !/gone/.test(what);
      const found = (await damagedOnes()).flatMap(({ Images }) => Images).sort();
      assert.deepEqual(found, isBoth ? names : [names[1]]);
      for (const [i, name] of names.entries()) {
        if (i === 0 && !isBoth) continue;
        assert.match(await pull(name), /Repaired damaged layers for/, name);
      }
      for (const name of names) {
        assert.match(await verify(name), /is whole"/);
        assert.match(await pull(name), /Image is up to date/);
        assert.deepEqual(await contentOf(name), BIG);
      }
      assert.deepEqual(await damagedOnes(), []);
      for (const name of names) await daemon.json('DELETE', `/images/${name}`);
      // Not even the objects of what was damaged are left.
      const left = (): string[] =>
        readdirSync(path.join(daemon.dataRoot, 'objects')).filter((each) => !each.startsWith('.'));
      await eventually(() => left().length === 0, { what: 'the objects to go' });
    });
  }

  /** What an image's big file has, by itself or as a stub. */
  async function contentOf(name: string): Promise<Buffer> {
    const file = path.join(await diffOf(name), 'srv/big');
    const redirect = sys.lgetxattr(file, REDIRECT);
    if (redirect === undefined) return readFileSync(file);
    return readFileSync(path.join(daemon.dataRoot, 'objects', Buffer.from(redirect).toString()));
  }
});

test('a container that runs on shared contents which are damaged and repaired goes on', async () => {
  await using registry = await startRegistry();
  await using daemon = await startDaemon();
  const call = async (address: string) => (await daemon.api('POST', address)).text;
  for (const version of [0, 1]) {
    const mtime = new Date(MTIME.getTime() + version * 1000);
    const image = await busyboxImage({ extra: [{ name: 'srv/big', content: BIG, mtime }] });
    await pushImage(registry, 'app', `v${version}`, image);
    await call(`/images/create?fromImage=${registry.host}/app&tag=v${version}`);
  }
  const name = `${registry.host}/app:v1`;
  const { Id } = (await daemon.json('POST', '/containers/create', {
    Image: name,
    Cmd: ['sh', '-c', 'while :; do md5sum /srv/big; sleep 0.1; done'],
    HostConfig: { NetworkMode: 'none' },
  })) as { Id: string };
  await daemon.json('POST', `/containers/${Id}/start`);
  const last = async (): Promise<string> =>
    (await daemon.api('GET', `/containers/${Id}/logs?stdout=1&tail=1`)).text.slice(8, 40);
  const sum = await eventually(async () => (await last()) || undefined);
  const image = (await daemon.json('GET', `/images/${name}/json`)) as {
    GraphDriver: { Data: { UpperDir: string } };
  };
  const stub = path.join(image.GraphDriver.Data.UpperDir, 'srv/big');
  const redirect = Buffer.from(sys.lgetxattr(stub, REDIRECT) ?? []).toString();
  overwrite(path.join(daemon.dataRoot, 'objects', redirect));
  await eventually(async () => (await last()) !== sum, { what: 'the damage to show' });
  assert.match(await call(`/images/${name}/verify`), /is damaged in/);
  for (const version of [0, 1]) {
    const said = await call(`/images/create?fromImage=${registry.host}/app&tag=v${version}`);
    assert.match(said, /Repaired damaged layers/);
  }
  const state = (await daemon.json('GET', `/containers/${Id}/json`)) as {
    State: { Running: boolean };
  };
  assert(state.State.Running);
  await daemon.json('POST', `/containers/${Id}/restart?t=0`);
  await eventually(async () => (await last()) === sum, { what: 'the repaired content' });
});

test('a container whose layer was lost has it again with the next pull, and keeps it', async () => {
  await using registry = await startRegistry();
  await using daemon = await startDaemon();
  const image = await busyboxImage();
  await pushImage(registry, 'app', 'v1', image);
  const name = `${registry.host}/app:v1`;
  const pull = () => daemon.api('POST', `/images/create?fromImage=${encodeURIComponent(name)}`);
  await pull();
  const { Id } = (await daemon.json('POST', '/containers/create', {
    Image: name,
    Cmd: ['cat', '/etc/motd'],
    HostConfig: { NetworkMode: 'none' },
  })) as { Id: string };
  const { GraphDriver } = (await daemon.json('GET', `/images/${name}/json`)) as {
    GraphDriver: { Data: { UpperDir: string } };
  };
  await daemon.stop();
  rmSync(path.dirname(GraphDriver.Data.UpperDir), { recursive: true });
  await daemon.start();
  assert.match(daemon.log(), /a container lost a layer: it starts again when its image is pulled/);
  await pull();
  await daemon.restart();
  await daemon.json('DELETE', `/images/${name}?force=true`);
  await daemon.json('POST', `/containers/${Id}/start`);
  const { StatusCode } = (await daemon.json('POST', `/containers/${Id}/wait`)) as {
    StatusCode: number;
  };
  assert.equal(StatusCode, 0);
});
