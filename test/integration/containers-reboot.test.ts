import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Box, openBox } from '../support/box.ts';
import { unmountAllBelow } from '../support/mounts.ts';
import { eventually, parentOf } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';

/**
 * What a daemon makes of a host that went down under it: the exec root is a tmpfs and empty, the
 * data root is as it was, and no process, mount or namespace is left.
 */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

/** Everything but the data root goes, at once and without a word. */
async function crashHost(ids: readonly string[]): Promise<void> {
  const pids: number[] = [];
  for (const id of ids) {
    const { Pid } = (await box.inspect(id)).State;
    if (Pid > 0) pids.push(parentOf(Pid), Pid);
  }
  await box.daemon.stop('SIGKILL');
  for (const pid of pids) process.kill(pid, 'SIGKILL');
  await eventually(() => pids.every((pid) => !existsSync(`/proc/${pid}`)));
  removeCgroups(ids);
  unmountAllBelow(box.daemon.dataRoot, box.daemon.execRoot);
  rmSync(box.daemon.execRoot, { recursive: true });
}

function removeCgroups(ids: readonly string[]): void {
  for (const folder of takeStock(box.daemon.roots, ids).cgroups) execFileSync('rmdir', [folder]);
}

const SLEEP = { Cmd: ['sleep', '1000'], StopTimeout: 0 };
const policy = (Name: string) => ({ HostConfig: { RestartPolicy: { Name } } });

test('after a reboot always and unless-stopped start again, what was stopped and what has none do not', async () => {
  const always = await box.up({ ...SLEEP, ...policy('always') });
  const unless = await box.up({ ...SLEEP, ...policy('unless-stopped') });
  const stopped = await box.up({ ...SLEEP, ...policy('unless-stopped') });
  const failed = await box.up({ ...SLEEP, ...policy('on-failure') });
  const plain = await box.up(SLEEP);
  const removed = await box.up({ ...SLEEP, HostConfig: { AutoRemove: true } });
  const never = await box.create({ ...SLEEP, ...policy('always') });
  const all = [always, unless, stopped, failed, plain, never];
  await box.daemon.json('POST', `/containers/${stopped}/stop`);
  await crashHost([...all, removed]);
  await box.daemon.start();
  for (const id of [always, unless, failed]) await box.until(id, 'running');
  const statusOf = async (id: string): Promise<string> => (await box.inspect(id)).State.Status;
  assert.equal(await statusOf(stopped), 'exited');
  assert.equal(await statusOf(never), 'created');
  const { State } = await box.inspect(plain);
  assert.deepEqual([State.Status, State.ExitCode, State.Error], ['exited', 255, '']);
  await eventually(
    async () => (await box.daemon.api('GET', `/containers/${removed}/json`)).status === 404,
  );
  for (const id of all) await box.remove(id);
});

test('a restart after a reboot counts from nothing; the restarts of a policy count on', async () => {
  const ready = path.join(box.daemon.folder, 'ready');
  mkdirSync(ready);
  const id = await box.up({
    Cmd: ['sh', '-c', 'test -e /ready/yes && exec sleep 1000; exit 1'],
    StopTimeout: 0,
    HostConfig: { RestartPolicy: { Name: 'always' }, Binds: [`${ready}:/ready`] },
  });
  await eventually(async () => (await box.inspect(id)).RestartCount >= 2);
  // What a policy restarts is written nowhere but in memory, and goes on with the next daemon; one
  // that was being prepared is made again and counts once.
  await box.daemon.restart('SIGKILL');
  const before = (await box.inspect(id)).RestartCount;
  assert.ok(before >= 1, String(before));
  await eventually(async () => (await box.inspect(id)).RestartCount > before);
  writeFileSync(path.join(ready, 'yes'), '');
  // One that lives on has the same process a while later.
  await eventually(async () => {
    const { Pid } = (await box.inspect(id)).State;
    await sleep(300);
    return Pid > 0 && (await box.inspect(id)).State.Pid === Pid;
  });
  await crashHost([id]);
  await box.daemon.start();
  assert.equal((await box.until(id, 'running')).RestartCount, 0);
  await box.remove(id);
});

test('leftovers of a crashed daemon are cleaned: mounts, control groups, folders, namespaces', async () => {
  const id = await box.up({ ...SLEEP, HostConfig: { NetworkMode: 'bridge' } });
  const { Pid } = (await box.inspect(id)).State;
  await box.daemon.stop('SIGKILL');
  // Its process and shim die while there is no daemon.
  process.kill(parentOf(Pid), 'SIGKILL');
  process.kill(Pid, 'SIGKILL');
  const { roots } = box.daemon;
  assert.ok(takeStock(roots, [id]).cgroups.length > 0);
  const stray = path.join(roots.execRoot, 'containers', 'f'.repeat(64));
  mkdirSync(path.join(stray, 'rootfs'), { recursive: true });
  writeFileSync(path.join(stray, 'state.json'), '{}');
  await box.daemon.start();
  const { State } = await box.inspect(id);
  assert.deepEqual([State.Status, State.ExitCode], ['dead', 255]);
  assert.match(State.Error, /died: the end of its process was not seen/);
  await eventually(() => {
    const left = takeStock(box.daemon, [id]);
    return left.cgroups.length === 0 && left.netns.length === 0;
  });
  const left = takeStock(box.daemon, [id]);
  assert.deepEqual(
    left.mounts.filter((each) => each.includes(id)),
    [],
  );
  assert.ok(!existsSync(stray));
  assert.deepEqual(readdirSync(path.join(roots.execRoot, 'runtime', 'crun')), []);
  await box.start(id);
  assert.equal((await box.exec(id, 'true')).code, 0);
  await box.remove(id);
});

test('a daemon that died while it prepared a start leaves nothing mounted, and the start can be done again', async () => {
  const id = await box.up(SLEEP);
  await box.daemon.json('POST', `/containers/${id}/stop`);
  await box.daemon.stop('SIGKILL');
  // As if the daemon had mounted the root, and died before it wrote that it starts.
  const rootfs = path.join(box.daemon.roots.execRoot, 'containers', id, 'rootfs');
  mkdirSync(rootfs, { recursive: true });
  // Where the next daemon will look: its mount namespace outlives it.
  const pin = path.join(box.daemon.roots.execRoot, 'mounts.ns');
  const there = existsSync(pin) ? ['nsenter', `--mount=${pin}`] : [];
  execFileSync('env', [...there, 'mount', '-t', 'tmpfs', 'left', rootfs]);
  await box.daemon.start();
  await eventually(() => !takeStock(box.daemon, [id]).mounts.includes(rootfs));
  await box.start(id);
  assert.equal((await box.exec(id, 'true')).code, 0);
  await box.remove(id);
});
