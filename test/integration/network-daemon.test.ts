import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect } from 'node:net';
import { after, before, test } from 'node:test';
import type { NetworkView } from '../../src/spec/docker/network-view.ts';
import { type Box, openBox } from '../support/box.ts';
import { eventually } from '../support/processes.ts';

/** Networks through the API, with real containers on the machine's own network. */

let box: Box;
before(async () => {
  box = await openBox();
});
after(() => box[Symbol.asyncDispose]());

const FOREVER = { Cmd: ['sleep', '1000'] };

async function network(Name: string, more: object = {}): Promise<string> {
  const made = await box.daemon.json('POST', '/networks/create', { Name, ...more });
  return (made as { Id: string }).Id;
}

async function view(id: string): Promise<NetworkView> {
  return (await box.daemon.json('GET', `/networks/${id}`)) as NetworkView;
}

async function drop(...ids: string[]): Promise<void> {
  for (const id of ids) await box.daemon.json('DELETE', `/networks/${id}`);
}

/** What a TCP server says first. */
async function greet(port: number): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port });
  try {
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    return bytes.toString().trim();
  } finally {
    socket.destroy();
  }
}

test('a web server, a database and a worker find each other by name', async () => {
  const id = await network('project_default');
  const HostConfig = { NetworkMode: 'project_default' };
  const alias = (name: string) => ({
    EndpointsConfig: { project_default: { Aliases: [name] } },
  });
  const serve = (word: string) => ['sh', '-c', `while :; do echo ${word} | nc -l -p 80; done`];
  const db = await box.up(
    { Cmd: serve('rows'), HostConfig, NetworkingConfig: alias('db') },
    'project_db_1',
  );
  const web = await box.up(
    { Cmd: serve('page'), HostConfig, NetworkingConfig: alias('web') },
    'project_web_1',
  );
  const worker = await box.up({ ...FOREVER, HostConfig }, 'project_worker_1');
  for (const [host, word] of [
    ['db', 'rows'],
    ['web', 'page'],
    ['project_web_1', 'page'],
  ] as const) {
    const said = await eventually(
      async () => {
        const { output } = await box.exec(worker, 'sh', '-c', `nc -w 2 ${host} 80 </dev/null`);
        return output.trim() === word;
      },
      { what: `${host} to say ${word}` },
    );
    assert.ok(said);
  }
  const shown = await view(id);
  assert.deepEqual(
    Object.values(shown.Containers)
      .map(({ Name }) => Name)
      .toSorted((a, b) => a.localeCompare(b)),
    ['project_db_1', 'project_web_1', 'project_worker_1'],
  );
  const refused = await box.daemon.api('DELETE', `/networks/${id}`);
  assert.equal(refused.status, 403);
  assert.match(refused.text, /error while removing network: .* has active endpoints/);
  for (const each of [db, web, worker]) await box.remove(each);
  await drop(id);
});

test('a connection through a published port outlives the daemon, killed and started again', async () => {
  const Cmd = ['sh', '-c', 'while :; do nc -l -p 80 -e sh -c "echo hello; exec cat"; done'];
  const PortBindings = { '80/tcp': [{ HostIp: '127.0.0.1', HostPort: '' }] };
  const HostConfig = { NetworkMode: 'bridge', PortBindings };
  const id = await box.up({ Cmd, ExposedPorts: { '81/tcp': {} }, HostConfig });
  const ports = (await box.inspect(id)).NetworkSettings.Ports;
  assert.equal(ports['81/tcp'], null);
  const port = Number(ports['80/tcp']?.[0]?.HostPort);
  const socket = connect({ host: '127.0.0.1', port });
  const say = async (text: string): Promise<string> => {
    socket.write(text);
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    return bytes.toString();
  };
  const [greeting] = (await once(socket, 'data')) as [Buffer];
  assert.equal(greeting.toString(), 'hello\n');
  await box.daemon.restart('SIGKILL');
  assert.equal(await say('still there?'), 'still there?');
  socket.destroy();
  const before = (await box.inspect(id)).NetworkSettings;
  assert.equal(before.Ports['80/tcp']?.[0]?.HostPort, String(port));
  await eventually(async () => (await greet(port)) === 'hello', { what: 'a new connection' });
  await box.remove(id);
});

test('connect and disconnect are kept, whether the container runs or not', async () => {
  const [one, two] = [await network('one'), await network('two')];
  const id = await box.up({ ...FOREVER, HostConfig: { NetworkMode: 'one' } }, 'mover');
  const networks = async () =>
    Object.keys((await box.inspect(id)).NetworkSettings.Networks).toSorted((a, b) =>
      a.localeCompare(b),
    );
  const call = (net: string, what: string, more: object = {}) =>
    box.daemon.api('POST', `/networks/${net}/${what}`, { Container: 'mover', ...more });
  assert.equal((await call('two', 'connect', { EndpointConfig: { Aliases: ['m'] } })).status, 200);
  assert.deepEqual(await networks(), ['one', 'two']);
  const again = await call('two', 'connect');
  assert.equal(again.status, 403);
  assert.match(again.text, /endpoint with name mover already exists in network two/);
  assert.equal((await call('one', 'disconnect')).status, 200);
  assert.deepEqual(await networks(), ['two']);
  await box.daemon.json('POST', `/containers/${id}/restart?t=0`);
  assert.deepEqual(await networks(), ['two'], 'after a restart');
  await box.daemon.json('POST', `/containers/${id}/stop?t=0`);
  assert.equal((await call('one', 'connect')).status, 200);
  assert.deepEqual(await networks(), ['one', 'two'], 'stopped');
  await box.daemon.restart();
  await box.start(id);
  const { output } = await box.exec(id, 'ip', '-o', '-4', 'addr');
  assert.equal(output.match(/ eth\d /g)?.length, 2);
  assert.deepEqual((await view(one)).Containers[id]?.Name, 'mover');
  const host = await call('host', 'connect');
  assert.match(
    host.text,
    /container cannot be disconnected from host network or connected to host/,
  );
  await box.remove(id);
  await drop(one, two);
});

test('prune removes what nobody uses, and events tell of all of it', async () => {
  const since = Date.now() / 1000;
  const used = await network('used', { Labels: { keep: '' } });
  await network('unused');
  await network('labelled', { Labels: { keep: '' } });
  const id = await box.create({ ...FOREVER, HostConfig: { NetworkMode: 'used' } });
  const filters = encodeURIComponent(JSON.stringify({ 'label!': ['keep'] }));
  const first = await box.daemon.json('POST', `/networks/prune?filters=${filters}`);
  assert.deepEqual(first, { NetworksDeleted: ['unused'] });
  const second = await box.daemon.json('POST', '/networks/prune');
  assert.deepEqual(second, { NetworksDeleted: ['labelled'] });
  await box.start(id);
  await box.remove(id);
  await drop(used);
  const query = `since=${since}&until=${Date.now() / 1000}&filters=${encodeURIComponent('{"type":["network"]}')}`;
  const { text } = await box.daemon.api('GET', `/events?${query}`);
  const events = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { Action: string; Actor: { Attributes: { name?: string } } })
    .map(({ Action, Actor }) => `${Action} ${Actor.Attributes.name ?? ''}`.trim());
  assert.deepEqual(events, [
    ...['create used', 'create unused', 'create labelled'],
    ...['destroy unused', 'prune', 'destroy labelled', 'prune'],
    ...['connect used', 'disconnect used', 'destroy used'],
  ]);
});
