import assert from 'node:assert/strict';
import { existsSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';
import { temporaryFolder } from '../support/temp.ts';
import { tool } from '../support/tools.ts';

/** Containers outlive the daemon, and the next one takes them over. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const TICK = 'i=0; while :; do i=$((i+1)); echo tick $i; sleep 0.05; done';

describe('the daemon is killed', () => {
  test('containers run on, with every line of their output, and can be used', async () => {
    const id = await box.up({ Cmd: ['sh', '-c', TICK], HostConfig: { NetworkMode: 'bridge' } });
    const first = (await box.inspect(id)).State;
    await box.daemon.stop('SIGKILL');
    await sleep(500);
    await box.daemon.start();
    const second = (await box.inspect(id)).State;
    assert.deepEqual(
      [second.Status, second.Pid, second.StartedAt],
      ['running', first.Pid, first.StartedAt],
    );
    assert.deepEqual(await box.exec(id, 'echo', 'ok'), { code: 0, output: 'ok\n' });
    await box.daemon.json('POST', `/containers/${id}/kill`);
    const lines = (await box.logs(id)).trimEnd().split('\n');
    assert.ok(lines.length > 5);
    assert.deepEqual(
      lines,
      lines.map((_, i) => `tick ${i + 1}`),
    );
    assert.equal((await box.inspect(id)).State.ExitCode, 137);
    await box.remove(id);
    assert.deepEqual(takeStock(box.daemon, [id]).cgroups, []);
  });

  test('ends meanwhile are seen with their code and time, and policies act on them', async () => {
    using folder = temporaryFolder('ends');
    const mark = path.join(folder.path, 'now');
    const wish = (code: number, more: object = {}) => ({
      Cmd: ['sh', '-c', `until [ -e /ends/now ]; do sleep 0.05; done; exit ${code}`],
      HostConfig: { Binds: [`${folder.path}:/ends`], ...more },
    });
    const ended = await box.up(wish(42));
    const again = await box.up(
      wish(43, { RestartPolicy: { Name: 'on-failure', MaximumRetryCount: 1 } }),
    );
    const removed = await box.up(wish(0, { AutoRemove: true }));
    await box.daemon.stop('SIGKILL');
    const killed = Date.now();
    writeFileSync(mark, '');
    const exitFile = (id: string): string =>
      path.join(box.daemon.execRoot, 'containers', id, 'shim/exit');
    await eventually(() => [ended, again, removed].every((id) => existsSync(exitFile(id))));
    const over = Date.now();
    await box.daemon.start();
    const { State } = await box.inspect(ended);
    assert.deepEqual([State.Status, State.ExitCode], ['exited', 42]);
    const finished = Date.parse(State.FinishedAt);
    assert.ok(finished >= killed && finished <= over, State.FinishedAt);
    const view = await box.until(again, 'exited');
    assert.deepEqual([view.RestartCount, view.State.ExitCode], [1, 43]);
    await eventually(
      async () => (await box.daemon.api('GET', `/containers/${removed}/json`)).status === 404,
    );
    await box.remove(ended);
    await box.remove(again);
  });

  test('starts whose runtime hangs keep the next one from answering for some seconds only', async () => {
    using folder = temporaryFolder('hang');
    const hangs = path.join(folder.path, 'hangs');
    const runtime = path.join(folder.path, 'runtime');
    const script = `#!/bin/sh\ncase " $* " in *" run "*) [ ! -e ${hangs} ] || exec sleep 1000 ;; esac\n`;
    writeFileSync(runtime, `${script}exec ${tool('crun')} "$@"\n`, { mode: 0o755 });
    writeFileSync(hangs, '');
    await using slow = await openBox({ config: { runtimes: { slow: { path: runtime } } } });
    const running = await slow.up({ Cmd: ['sleep', '1000'] });
    const stuck = await Promise.all(
      [1, 2].map(() => slow.create({ Cmd: ['sleep', '1000'], HostConfig: { Runtime: 'slow' } })),
    );
    const asked = Promise.allSettled(
      stuck.map((id) => slow.daemon.api('POST', `/containers/${id}/start`)),
    );
    const isStarting = (id: string): boolean =>
      existsSync(path.join(slow.daemon.execRoot, 'containers', id, 'shim/spec'));
    await eventually(() => stuck.every(isStarting));
    await sleep(500);
    await slow.daemon.stop('SIGKILL');
    await asked;
    rmSync(hangs);
    const startMs = performance.now();
    await slow.daemon.start();
    const tookMs = performance.now() - startMs;
    assert(tookMs < 18_000, `it took ${tookMs.toFixed(0)} ms`);
    const { State } = await slow.inspect(running);
    assert.equal(State.Status, 'running');
    const listed = (await slow.daemon.json('GET', '/containers/json')) as { Status: string }[];
    const { Status = '' } = listed[0] ?? {};
    const [, seconds] = /^Up (\d+) seconds/.exec(Status) ?? [];
    assert(Number(seconds) * 1000 >= tookMs - 1000, Status);
    for (const id of stuck) {
      await slow.daemon.json('POST', `/containers/${id}/start`);
      assert.equal((await slow.inspect(id)).State.Running, true);
      await slow.remove(id);
    }
    await slow.remove(running);
  });

  test('paused containers are still paused', async () => {
    const id = await box.up({ Cmd: ['sleep', '100'] });
    await box.daemon.json('POST', `/containers/${id}/pause`);
    await box.daemon.restart('SIGKILL');
    assert.equal((await box.inspect(id)).State.Status, 'paused');
    await box.daemon.json('POST', `/containers/${id}/unpause`);
    assert.equal((await box.exec(id, 'true')).code, 0);
    await box.remove(id);
  });
});

describe('an orderly stop of the daemon', () => {
  test('stops containers, and policies start again what ran and was not stopped', async () => {
    const up = async (Name: string): Promise<string> =>
      await box.up({
        Cmd: ['sleep', '100'],
        StopTimeout: 0,
        HostConfig: { RestartPolicy: { Name } },
      });
    const always = await up('always');
    const stoppedAlways = await up('always');
    const unless = await up('unless-stopped');
    const stoppedUnless = await up('unless-stopped');
    const plain = await up('no');
    const { Pid } = (await box.inspect(plain)).State;
    for (const id of [stoppedAlways, stoppedUnless]) {
      await box.daemon.json('POST', `/containers/${id}/stop?t=0`);
    }
    await box.daemon.stop('SIGTERM');
    assert.throws(() => process.kill(Pid, 0), { code: 'ESRCH' });
    const { dataRoot, execRoot } = box.daemon;
    assert.deepEqual(takeStock({ dataRoot, execRoot, pid: 0 }, [always, plain]).cgroups, []);
    await box.daemon.start();
    for (const id of [always, stoppedAlways, unless]) await box.until(id, 'running');
    assert.equal((await box.inspect(stoppedUnless)).State.Status, 'exited');
    assert.deepEqual((await box.inspect(plain)).State.ExitCode, 137);
    for (const id of [always, stoppedAlways, unless, stoppedUnless, plain]) await box.remove(id);
  });
});

test('with live-restore containers run through a stop of the daemon', async () => {
  await using live = await openBox({ flags: ['--live-restore'] });
  const id = await live.up({ Cmd: ['sleep', '100'] });
  const { Pid } = (await live.inspect(id)).State;
  await live.daemon.restart('SIGTERM');
  const { State } = await live.inspect(id);
  assert.deepEqual([State.Status, State.Pid], ['running', Pid]);
  await live.remove(id);
});
