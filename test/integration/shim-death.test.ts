import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { eventually, parentOf } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';
import { hasEnded } from '../support/shim.ts';

/**
 * Somebody, or the kernel that is out of memory, kills a shim. What stood below it is killed too,
 * because nobody would take its output or learn how it ends; then its container is dead, or its
 * restart policy has started it again.
 */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const SLEEP = { Cmd: ['sleep', '1000'], StopTimeout: 0 };

async function pidOf(id: string): Promise<number> {
  return (await box.inspect(id)).State.Pid;
}

/** Kills the shim above a process, which lives on. */
function killShim(pid: number): void {
  process.kill(parentOf(pid), 'SIGKILL');
}

async function assertDead(id: string, pid: number): Promise<void> {
  const { State } = await box.until(id, 'dead');
  assert.ok(hasEnded(pid), 'its process is gone before anybody hears of its end');
  assert.deepEqual([State.Dead, State.Running, State.Pid, State.ExitCode], [true, false, 0, 137]);
  assert.match(State.Error, /^the shim of the container died: what it left running was killed$/);
}

test('it is noticed at once: nothing is left running, and the container is dead', async () => {
  const id = await box.up({ Cmd: ['sh', '-c', 'sleep 1000 & sleep 1000'] });
  const pid = await pidOf(id);
  killShim(pid);
  await assertDead(id, pid);
  await eventually(() => takeStock(box.daemon, [id]).cgroups.length === 0);
  const filters = encodeURIComponent(JSON.stringify({ status: ['dead'] }));
  const list = await box.daemon.json('GET', `/containers/json?all=1&filters=${filters}`);
  const [{ Id, State, Status }] = list as [{ Id: string; State: string; Status: string }];
  assert.deepEqual([Id, State, Status], [id, 'dead', 'Dead']);
  assert.equal(await box.wait(id), 137);
  // It stays so with the next daemon, and is whole: it can be started, or removed without force.
  await box.daemon.restart('SIGKILL');
  assert.equal((await box.inspect(id)).State.Status, 'dead');
  await box.start(id);
  const { State: again } = await box.inspect(id);
  assert.deepEqual([again.Status, again.Dead, again.Error], ['running', false, '']);
  killShim(again.Pid);
  await box.until(id, 'dead');
  await box.daemon.json('DELETE', `/containers/${id}`);
});

test('a dozen of them, with networks, leave nothing', async () => {
  const bridge = { HostConfig: { NetworkMode: 'bridge', IpcMode: 'shareable' } };
  await box.run({ Cmd: ['true'], ...bridge });
  const before = takeStock(box.daemon);
  const ids: string[] = [];
  for (let i = 0; i < 12; i += 1) ids.push(await box.up({ ...SLEEP, ...bridge }));
  for (const id of ids) killShim(await pidOf(id));
  for (const id of ids) await box.until(id, 'dead');
  let left = takeStock(box.daemon, ids);
  await eventually(() => {
    left = takeStock(box.daemon, ids);
    return left.descriptors.length <= before.descriptors.length && left.netns.length === 0;
  }).catch(() => undefined);
  const { descriptors, ...rest } = left;
  assert.deepEqual({ ...rest, descriptors: before.descriptors }, before);
  assert.ok(descriptors.length <= before.descriptors.length, descriptors.join(' '));
  for (const id of ids) await box.remove(id);
});

test('a paused container dies of it too', async () => {
  const id = await box.up(SLEEP);
  const pid = await pidOf(id);
  await box.daemon.json('POST', `/containers/${id}/pause`);
  killShim(pid);
  await assertDead(id, pid);
  await box.remove(id);
});

test('restart policies take it for a failure; unless-stopped, too, starts it again', async () => {
  for (const RestartPolicy of [
    { Name: 'unless-stopped' },
    { Name: 'on-failure', MaximumRetryCount: 3 },
  ]) {
    const id = await box.up({ ...SLEEP, HostConfig: { RestartPolicy } });
    const pid = await pidOf(id);
    killShim(pid);
    const view = await eventually(async () => {
      const now = await box.inspect(id);
      return now.RestartCount === 1 && now.State.Status === 'running' ? now : undefined;
    });
    assert.ok(hasEnded(pid), RestartPolicy.Name);
    assert.deepEqual([view.State.Dead, view.State.ExitCode], [false, 0]);
    await box.remove(id);
  }
});

test('with --rm it is removed', async () => {
  const id = await box.up({ ...SLEEP, HostConfig: { AutoRemove: true } });
  killShim(await pidOf(id));
  await eventually(
    async () => (await box.daemon.api('GET', `/containers/${id}/json`)).status === 404,
  );
});

test('one that died while there was no daemon is noticed at its next start', async () => {
  const plain = await box.up(SLEEP);
  const always = await box.up({ ...SLEEP, HostConfig: { RestartPolicy: { Name: 'always' } } });
  const pids = [await pidOf(plain), await pidOf(always)] as const;
  await box.daemon.stop('SIGKILL');
  for (const pid of pids) killShim(pid);
  assert.ok(
    pids.every((pid) => !hasEnded(pid)),
    'they run on without their shims',
  );
  await box.daemon.start();
  await assertDead(plain, pids[0]);
  const { State } = await box.until(always, 'running');
  assert.ok(State.Pid !== pids[1] && hasEnded(pids[1]));
  for (const id of [plain, always]) await box.remove(id);
});

test("an exec's shim dies: its process is killed, its container runs on", async () => {
  const id = await box.up(SLEEP);
  const start = async (): Promise<{ exec: string; pid: number }> => {
    const body = { Cmd: ['sleep', '1000'] };
    const made = await box.daemon.json('POST', `/containers/${id}/exec`, body);
    const exec = (made as { Id: string }).Id;
    await box.daemon.json('POST', `/exec/${exec}/start`, { Detach: true });
    const { Pid } = (await box.daemon.json('GET', `/exec/${exec}/json`)) as { Pid: number };
    return { exec, pid: Pid };
  };
  const assertEnded = async ({ exec, pid }: { exec: string; pid: number }): Promise<void> => {
    const code = await eventually(async () => {
      const view = await box.daemon.json('GET', `/exec/${exec}/json`);
      return (view as { ExitCode: number | null }).ExitCode ?? undefined;
    });
    assert.equal(code, 137);
    await eventually(() => hasEnded(pid));
  };
  const live = await start();
  killShim(live.pid);
  await assertEnded(live);
  const unseen = await start();
  await box.daemon.stop('SIGKILL');
  killShim(unseen.pid);
  await box.daemon.start();
  await assertEnded(unseen);
  assert.equal((await box.exec(id, 'true')).code, 0);
  await box.remove(id);
});
