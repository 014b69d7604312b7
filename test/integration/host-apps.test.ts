import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import fc from 'fast-check';
import type { DiffId } from '../../src/base/digest.ts';
import { hasImage } from '../../src/store/layers/layer-images.ts';
import { type Box, openBox } from '../support/box.ts';
import { layerTar } from '../support/images.ts';
import { openStore } from '../support/layers.ts';
import { runOk } from '../support/processes.ts';
import { sanitizerEnv, sanitizerFindings } from '../support/shim.ts';
import { temporaryFolder } from '../support/temp.ts';
import { CHECKOUT } from '../support/tools.ts';

/* A host that boots from a bare container, as docs/host-apps.md tells it. */

const folder = temporaryFolder('host-apps');
/** The root partition of such a host. */
const sysroot = path.join(folder.path, 'sysroot');
const dataRoot = path.join(sysroot, 'docker');
const mobynit = path.join(CHECKOUT, 'build/mobynit');

let box: Box;
let id: string;
let merged: string;
before(async () => {
  mkdirSync(path.join(sysroot, 'boot'), { recursive: true });
  copyFileSync(mobynit, path.join(sysroot, 'boot/init'));
  copyFileSync('/bin/busybox', path.join(sysroot, 'boot/busybox'));
  box = await openBox({ dataRoot });
  id = await box.create({ HostConfig: { Runtime: 'bare' } });
  merged = path.join(dataRoot, 'containers', id, 'rootfs');
  symlinkSync(`hostapps/${id}`, path.join(sysroot, 'current'));
  const script =
    '#!/bin/sh\necho "$$ $0 $*"\ncat /run/mark\n[ -d /mnt/sysroot/active/docker ] && echo old root\nexec ls -d /proc/1 /etc/motd\n';
  const files = await layerTar([
    { name: 'sbin', type: 'directory' },
    { name: 'sbin/init', content: script, mode: 0o755 },
  ]);
  const put = await box.daemon.api('PUT', `/containers/${id}/archive?path=/`, files);
  assert.equal(put.status, 200, put.text);
});
after(async () => {
  await box[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const recipeOf = (container: string): string =>
  path.join(dataRoot, 'containers', container, 'mount');

/** Runs a shell script in a mount namespace of its own. */
async function inNamespace(script: string): Promise<string> {
  return await runOk('unshare', ['--mount', 'sh', '-ec', script]);
}

test('a bare container is its image and nothing else, and inspect says where it is mounted', async () => {
  const { GraphDriver, HostConfig } = await box.inspect(id);
  assert.equal(GraphDriver.Data?.['MergedDir'], merged);
  assert.equal(HostConfig.Runtime, 'bare');
  const bare = await box.create({ HostConfig: { Runtime: 'bare' } });
  assert.deepEqual(readdirSync(path.join(dataRoot, 'containers', bare, 'upper')), []);
  assert.deepEqual(readdirSync(path.join(dataRoot, 'containers', bare, 'rootfs')), []);
  const ordinary = await box.create({});
  assert.equal(existsSync(recipeOf(ordinary)), false);
  assert.ok(existsSync(path.join(dataRoot, 'containers', ordinary, 'upper/.dockerenv')));
  await box.remove(ordinary);

  const run = await box.create({ Cmd: ['ls', '-A', '/'], HostConfig: { Runtime: 'bare' } });
  await box.start(run);
  assert.equal(await box.wait(run), 0);
  assert.doesNotMatch(await box.logs(run), /dockerenv/);
  await box.remove(run);
  assert.equal(
    existsSync(path.dirname(recipeOf(run))),
    false,
    'the recipe goes with its container',
  );
  await box.remove(bare);
});

test('the recipe names what the container is made of, relative to the data root', async () => {
  const { GraphDriver } = await box.inspect(id);
  const layers = GraphDriver.Data?.['LowerDir']?.split(':') ?? [];
  const lines = readFileSync(recipeOf(id), 'utf8').split('\n');
  assert.deepEqual(
    lines.filter((line) => line.startsWith('lowerdir+=')),
    layers.map((layer) => `lowerdir+=${path.relative(dataRoot, layer)}`),
  );
  assert.equal(lines[1], `target=containers/${id}/rootfs`);
  assert.ok(lines.includes(`upperdir=containers/${id}/upper`));
});

test('without a daemon mobynit mounts it, once, and prints where', async () => {
  await box.daemon.stop();
  const out = await inNamespace(
    `a=$(${mobynit} -sysroot ${sysroot}); b=$(${mobynit} --sysroot=${sysroot}); echo $a; echo $b
     cat $a/etc/motd; echo made >$a/made; grep -c " $a " /proc/self/mountinfo`,
  );
  assert.equal(out, `${merged}\n${merged}\nhello from a layer\n1\n`);
  await box.daemon.start();
  const made = await box.daemon.api('GET', `/containers/${id}/archive?path=/made`);
  assert.match(made.text, /made/);
});

test('a kernel without fsopen is given mount data', async () => {
  const source = readFileSync(path.join(CHECKOUT, 'native/mobynit.c'), 'utf8');
  const old = source.replace('NR_FSOPEN = 430', 'NR_FSOPEN = 9999');
  assert.notEqual(old, source);
  writeFileSync(path.join(folder.path, 'old.c'), old);
  const program = path.join(folder.path, 'old');
  execFileSync('cc', ['-std=gnu11', '-o', program, `${program}.c`]);
  const out = await inNamespace(`cat $(${program} -sysroot ${sysroot})/etc/motd`);
  assert.equal(out, 'hello from a layer\n');
});

test('layers that are images of their names are mounted on the way, and not left so', async () => {
  const own = path.join(folder.path, 'images');
  await using here = await openStore('overlay2', path.join(own, 'coracle'));
  const tarAt = (mtime: Date) =>
    layerTar(Array.from({ length: 40 }, (_, i) => ({ name: `${i}`, content: `file ${i}`, mtime })));
  await here.add(await tarAt(new Date(1_500_000_000_000)));
  const layers = await here.add(await tarAt(new Date(1_600_000_000_000)));
  const lower = here.store.directoryOf(layers[0] as DiffId);
  assert.ok(hasImage(path.dirname(lower)));
  await here.store.createRootfs('c1', layers, { forBoot: true });
  here.store.hideAll();
  symlinkSync('c1', path.join(own, 'current'));
  const out = await inNamespace(
    `a=$(${mobynit} -sysroot ${own}); cat $a/7; stat -c ' %Y' $a/7; ls $a | wc -l; ls ${lower} | wc -l`,
  );
  assert.equal(out, 'file 7 1600000000\n40\n0\n');
  await here.store.removeRootfs('c1');
  await here.settle();
});

test('where there is no overlayfs the copy is bound', async () => {
  const own = path.join(folder.path, 'vfs');
  await using here = await openStore('vfs', path.join(own, 'coracle'));
  const layers = await here.add(await layerTar([{ name: 'file', content: 'of a copy\n' }]));
  await here.store.createRootfs('c1', layers, { forBoot: true });
  symlinkSync('c1', path.join(own, 'current'));
  const out = await inNamespace(`cat $(${mobynit} -sysroot ${own})/file`);
  assert.equal(out, 'of a copy\n');
  await here.store.removeRootfs('c1');
  await here.settle();
});

/** Makes the sysroot a root partition with mounts, as a kernel or an initramfs leaves it. */
const PREPARE = `
  mount --make-rprivate /
  mount --bind ${sysroot} ${sysroot}
  cd ${sysroot}
  mkdir -p proc run dev old`;
const MOUNTS = `
  mount -t proc proc proc
  mount -t tmpfs run run
  echo moved >run/mark`;

async function asProcess1(script: string): Promise<string> {
  return await runOk('unshare', ['--mount', '--pid', '--fork', 'sh', '-ec', script]);
}

test('as process 1 it moves the mounts, pivots and becomes /sbin/init', async () => {
  const out = await asProcess1(`${PREPARE}${MOUNTS}
    pivot_root . old
    exec /boot/busybox sh -c '/boot/busybox umount -l /old; exec /boot/init a b'`);
  assert.equal(out, '1 /sbin/init a b\nmoved\nold root\n/etc/motd\n/proc/1\n');
});

test('from an initramfs it moves itself over the root', async () => {
  const out = await asProcess1(`${PREPARE}
    mkdir ${folder.path}/initramfs
    cd ${folder.path}/initramfs
    mount -t tmpfs initramfs .
    cd ${folder.path}/initramfs
    mkdir -p sysroot proc run old boot
    cp ${sysroot}/boot/* boot
    mount --move ${sysroot} sysroot${MOUNTS}
    pivot_root . old
    exec /boot/busybox sh -c '/boot/busybox umount -l /old; exec /boot/init'`);
  assert.equal(out, '1 /sbin/init \nmoved\nold root\n/etc/motd\n/proc/1\n');
});

test('a hostile recipe is refused in one sentence, and mounts nothing outside', async () => {
  const program = path.join(folder.path, 'sanitized');
  const source = path.join(CHECKOUT, 'native/mobynit.c');
  const flags = ['-std=gnu11', '-O1', '-g', '-fsanitize=address,undefined'];
  execFileSync('cc', [...flags, '-fno-sanitize-recover=all', '-o', program, source]);
  const root = path.join(folder.path, 'hostile');
  const container = path.join(root, 'docker/containers/c1');
  mkdirSync(container, { recursive: true });
  symlinkSync('c1', path.join(root, 'current'));
  const recipe = path.join(container, 'mount');
  const env = sanitizerEnv(folder.path);
  const attempt = (text: string | Uint8Array): { code: number | null; said: string } => {
    writeFileSync(recipe, text);
    const args = ['--mount', program, '-sysroot', root];
    const { status, stderr } = spawnSync('unshare', args, { env, encoding: 'utf8' });
    return { code: status, said: stderr };
  };
  const whole = readFileSync(recipeOf(id), 'utf8').replaceAll(id, 'c1');
  for (const [text, why] of [
    ['', /no version that is known/],
    ['coracle-mount 2 overlay\nend\n', /no version that is known/],
    ['coracle-mount 1 overlay', /cut short/],
    [whole.slice(0, -4), /cut short/],
    ['coracle-mount 1 nfs\nend\n', /type is not known/],
    ['coracle-mount 1 overlay\nend\n', /does not say where/],
    ['coracle-mount 1 bind\ntarget=x\nend\n', /no source/],
    [whole.replace('target=', 'target=/'), /leads out/],
    [whole.replace('target=', 'target=../'), /leads out/],
    [whole.replace('upperdir=', 'upperdir=a/../../'), /leads out/],
    [whole.replace('index=off', 'index=off,lowerdir=/'), /leads out/],
    [whole.replace('index=', 'suid='), /parameter that is not known/],
    [`${whole}x`, /something follows/],
    [`coracle-mount 1 overlay\n${'lowerdir+=a\n'.repeat(1025)}end\n`, /too many/],
    [`coracle-mount 1 overlay\n${'x'.repeat(70_000)}`, /too long/],
    ['coracle-mount 1 overlay\n\0end\n', /NUL/],
  ] as const) {
    const { code, said } = attempt(text);
    assert.equal(code, 1, said);
    assert.match(said, why);
  }
  const damaged = fc.tuple(fc.nat(whole.length), fc.nat(40), fc.uint8Array({ maxLength: 24 }));
  fc.assert(
    fc.property(damaged, ([at, cut, more]) => {
      const bytes = Buffer.from(whole);
      const { code } = attempt(
        Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at + cut)]),
      );
      assert.ok(code === 0 || code === 1);
    }),
    { numRuns: 250 },
  );
  unlinkSync(path.join(root, 'current'));
  symlinkSync('..', path.join(root, 'current'));
  assert.match(attempt(whole).said, /does not end with a container's ID/);
  assert.equal(sanitizerFindings(folder.path), '');
  rmSync(root, { recursive: true });
});
