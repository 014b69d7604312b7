import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { LIMITS } from '../../src/base/limits.ts';
import type { EventMessage } from '../../src/spec/docker/event.ts';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';

/** Events: everything that Docker reports, with its attributes, in a bounded ring. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

/** Those kept so far that the filters let through. */
async function events(filters: Readonly<Record<string, string[]>>): Promise<EventMessage[]> {
  // Some events may be of this very millisecond.
  const until = (Date.now() + 5) / 1000;
  const query = `since=1&until=${until}&filters=${encodeURIComponent(JSON.stringify(filters))}`;
  const { text } = await box.daemon.api('GET', `/events?${query}`);
  return text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as EventMessage);
}

/** Actions of a container's life in order, without what follows a colon. */
async function actionsOf(id: string): Promise<string[]> {
  return (await events({ container: [id], type: ['container'] })).map(({ Action }) => Action);
}

async function attributesOf(id: string, action: string): Promise<Record<string, string>> {
  const found = (await events({ container: [id] })).find(({ Action }) => Action === action);
  assert.ok(found, `${action} of ${id}`);
  return found.Actor.Attributes;
}

test("a container's whole life is told, each step with its attributes", async () => {
  const post = async (address: string): Promise<void> => {
    await box.daemon.json('POST', address);
  };
  const Labels = { 'org.test': 'yes' };
  const id = await box.up({ Cmd: ['sleep', '100'], Labels, StopTimeout: 0 }, 'told');
  assert.equal((await box.exec(id, 'sh', '-c', 'exit 3')).code, 3);
  await post(`/containers/${id}/pause`);
  await post(`/containers/${id}/unpause`);
  await box.daemon.json('GET', `/containers/${id}/top`);
  await post(`/containers/${id}/rename?name=retold`);
  await box.daemon.json('POST', `/containers/${id}/update`, { CpuShares: 512 });
  await post(`/containers/${id}/kill?signal=WINCH`);
  await post(`/containers/${id}/restart?t=0`);
  await post(`/containers/${id}/stop?t=0`);
  await box.remove(id);
  assert.deepEqual(await actionsOf(id), [
    ...['create', 'start', 'exec_create: sh -c exit 3', 'exec_start: sh -c exit 3', 'exec_die'],
    ...['pause', 'unpause', 'top', 'rename', 'update', 'kill'],
    ...['kill', 'kill', 'die', 'stop', 'start', 'restart'],
    ...['kill', 'kill', 'die', 'stop', 'destroy'],
  ]);
  const common = { ...Labels, image: box.image };
  assert.deepEqual(await attributesOf(id, 'create'), { ...common, name: 'told' });
  assert.deepEqual(await attributesOf(id, 'rename'), {
    ...common,
    name: 'retold',
    oldName: '/told',
  });
  assert.equal((await attributesOf(id, 'kill'))['signal'], '28');
  const die = await attributesOf(id, 'die');
  assert.deepEqual([die['exitCode'], die['execDuration']], ['137', '0']);
  const execDie = await attributesOf(id, 'exec_die');
  assert.match(execDie['execID'] ?? '', /^[0-9a-f]{64}$/);
  assert.equal(execDie['exitCode'], '3');
});

test('volumes and networks are told of, with the container that uses them', async () => {
  await box.daemon.json('POST', '/networks/create', { Name: 'told-net' });
  const id = await box.up({
    Cmd: ['sleep', '100'],
    HostConfig: { NetworkMode: 'told-net', Binds: ['told-vol:/data:ro'] },
  });
  await box.remove(id);
  await box.daemon.json('DELETE', '/volumes/told-vol');
  await box.daemon.json('DELETE', '/networks/told-net');
  const volume = await events({ volume: ['told-vol'] });
  assert.deepEqual(
    volume.map(({ Action, Actor }) => [Action, Actor.Attributes]),
    [
      ['create', { driver: 'local' }],
      [
        'mount',
        {
          ...{ container: id, destination: '/data', driver: 'local' },
          ...{ propagation: '', 'read/write': 'false' },
        },
      ],
      ['unmount', { container: id, driver: 'local' }],
      ['destroy', { driver: 'local' }],
    ],
  );
  const network = await events({ network: ['told-net'] });
  assert.deepEqual(
    network.map(({ Action, Actor }) => [Action, Actor.Attributes['container'] ?? '']),
    [
      ['create', ''],
      ['connect', id],
      ['disconnect', id],
      ['destroy', ''],
    ],
  );
});

test('a configuration that was read again is told of', async () => {
  box.daemon.configure({ 'live-restore': false });
  box.daemon.signal('SIGHUP');
  const told = await eventually(async () => (await events({ type: ['daemon'] }))[0]);
  assert.equal(told.Action, 'reload');
  const { 'live-restore': restore, 'max-download-attempts': attempts } = told.Actor.Attributes;
  assert.deepEqual([restore, attempts], ['false', '5']);
});

test('the newest so many are kept, in memory only', async () => {
  const id = await box.up({ Cmd: ['sleep', '100'] });
  const kills = LIMITS.eventsKeptMax + 50;
  for (let i = 0; i < kills; i += 1) {
    await box.daemon.json('POST', `/containers/${id}/kill?signal=WINCH`);
  }
  const kept = await events({});
  assert.equal(kept.length, LIMITS.eventsKeptMax);
  assert.ok(kept.every(({ Action }) => Action === 'kill'));
  await box.daemon.restart('SIGKILL');
  assert.deepEqual(await events({ container: [id] }), []);
  await box.remove(id);
});
