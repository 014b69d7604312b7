import assert from 'node:assert/strict';
import { chmodSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';
import { takeStock } from '../support/resources.ts';
import { temporaryFolder } from '../support/temp.ts';
import { tool } from '../support/tools.ts';

/** Calls that meet on one container. */

/** How long the runtime `slow` takes to begin: time enough for another call to come between. */
const SLOW_SEC = 2;

const folder = temporaryFolder('slow-runtime');
let box: Box;
before(async () => {
  const slow = path.join(folder.path, 'slow');
  const script = `case " $* " in *" run "*|*" exec "*) sleep ${SLOW_SEC};; esac`;
  writeFileSync(slow, `#!/bin/sh\n${script}\nexec ${tool('crun')} "$@"\n`);
  chmodSync(slow, 0o755);
  box = await openBox({ config: { runtimes: { slow: { path: slow } } } });
});
after(async () => {
  await box[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

const SLEEP = { Cmd: ['sleep', '100'] };
const SLOW = { ...SLEEP, HostConfig: { Runtime: 'slow' } };

const call = async (method: string, address: string): Promise<number> =>
  (await box.daemon.api(method, address)).status;

/** Waits until the runtime is being called for the container. */
async function untilStarting(id: string): Promise<void> {
  const isCalled = (): boolean =>
    takeStock(box.daemon).processes.some((each) => / run /.test(each) && each.includes(id));
  await eventually(isCalled, { what: 'the runtime' });
}

describe('a start that is under way', () => {
  test('is waited for by a stop, which then ends what it started', async () => {
    const id = await box.create(SLOW);
    const starting = call('POST', `/containers/${id}/start`);
    await untilStarting(id);
    assert.equal(await call('POST', `/containers/${id}/stop?t=0`), 204);
    assert.equal(await starting, 204);
    assert.equal((await box.inspect(id)).State.Status, 'exited');
    await box.remove(id);
  });

  test('is waited for by a removal', async () => {
    const id = await box.create(SLOW);
    const starting = call('POST', `/containers/${id}/start`);
    await untilStarting(id);
    assert.equal(await call('DELETE', `/containers/${id}?force=1`), 204);
    assert.equal(await starting, 204);
    assert.equal(await call('GET', `/containers/${id}/json`), 404);
  });
});

describe('a --rm container', () => {
  test('lives through a restart and goes with its next end', async () => {
    const id = await box.up({ ...SLEEP, HostConfig: { AutoRemove: true } });
    const { Pid } = (await box.inspect(id)).State;
    assert.equal(await call('POST', `/containers/${id}/restart?t=0`), 204);
    const { State } = await box.inspect(id);
    assert.equal(State.Status, 'running');
    assert.notEqual(State.Pid, Pid);
    const removed = box.wait(id, 'removed');
    assert.equal(await call('POST', `/containers/${id}/kill`), 204);
    assert.equal(await removed, 137);
    assert.equal(await call('GET', `/containers/${id}/json`), 404);
  });
});

describe('a removal', () => {
  test('is done once, and a rename that came too late does not keep the name', async () => {
    const since = Math.floor(Date.now() / 1000) - 1;
    for (let round = 0; round < 8; round += 1) {
      const id = await box.create({}, 'first');
      const [renamed, ...removed] = await Promise.all([
        call('POST', `/containers/${id}/rename?name=second`),
        ...Array.from({ length: 3 }, () => call('DELETE', `/containers/${id}`)),
        call('POST', `/containers/${id}/rename?name=third`),
      ]);
      assert.ok([204, 404, 409].includes(renamed), String(renamed));
      assert.equal(removed.slice(0, 3).filter((status) => status === 204).length, 1);
      assert.equal(await call('GET', `/containers/${id}/json`), 404);
      for (const name of ['first', 'second', 'third']) {
        const next = await box.create({}, name);
        assert.equal((await box.inspect(name)).Id, next);
        await box.remove(next);
      }
    }
    const filters = encodeURIComponent(JSON.stringify({ event: ['create', 'destroy'] }));
    const until = Math.floor(Date.now() / 1000);
    const events = await box.daemon.api(
      'GET',
      `/events?since=${since}&until=${until}&filters=${filters}`,
    );
    const ids = events.text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as { Action: string; Actor: { ID: string } })
      .filter(({ Action }) => Action === 'destroy')
      .map(({ Actor }) => Actor.ID);
    assert.equal(new Set(ids).size, ids.length, 'each is destroyed once');
  });
});

test('files of a container that is removed while they wait for it are not there', async () => {
  for (let round = 0; round < 5; round += 1) {
    const id = await box.create({ Cmd: ['true'] });
    const calls = await Promise.all([
      call('DELETE', `/containers/${id}`),
      call('GET', `/containers/${id}/export`),
      call('GET', `/containers/${id}/changes`),
      call('GET', `/containers/${id}/archive?path=/etc/passwd`),
      call('POST', `/commit?container=${id}`),
    ]);
    assert.equal(calls[0], 204);
    for (const status of calls) assert.ok([200, 201, 204, 404, 409].includes(status), `${status}`);
    const { mounts } = takeStock(box.daemon);
    assert.deepEqual(
      mounts.filter((each) => each.includes(id)),
      [],
    );
  }
});

describe('clients', () => {
  test('that leave while their exec is being made end its input', async () => {
    const id = await box.up({ ...SLOW });
    const made = (await box.daemon.json('POST', `/containers/${id}/exec`, {
      ...{ Cmd: ['cat'], AttachStdin: true, AttachStdout: true },
    })) as { Id: string };
    const socket = connect(box.daemon.socket).resume();
    const json = '{"Detach":false}';
    socket.write(
      `POST /exec/${made.Id}/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: ${json.length}\r\n\r\n${json}`,
    );
    await eventually(() => socket.bytesRead > 0, { what: 'the answer' });
    socket.destroy();
    await eventually(
      async () => {
        const exec = await box.daemon.json('GET', `/exec/${made.Id}/json`);
        return (exec as { ExitCode: number | null }).ExitCode === 0;
      },
      { what: 'the end of cat', timeoutMs: 20_000 },
    );
    await box.remove(id);
  });

  test('that make execs and never start them are given up on the oldest', async () => {
    const id = await box.up(SLEEP);
    const ids: string[] = [];
    for (let i = 0; i < 1030; i += 1) {
      const made = await box.daemon.json('POST', `/containers/${id}/exec`, { Cmd: ['true'] });
      ids.push((made as { Id: string }).Id);
    }
    assert.equal(await call('GET', `/exec/${ids[0]}/json`), 404);
    assert.equal(await call('GET', `/exec/${ids.at(-1)}/json`), 200);
    await box.remove(id);
  });
});
