import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
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

/** A connection to a server that may not listen yet, and what it says first. */
async function greeted(port: number): Promise<{ socket: Socket; greeting: string }> {
  return await eventually(
    async () => {
      const socket = connect({ host: '127.0.0.1', port });
      try {
        const [bytes] = (await once(socket, 'data')) as [Buffer];
        return { socket, greeting: bytes.toString() };
      } catch {
        socket.destroy(); // refused
        return undefined;
      }
    },
    { what: `a server at ${port}` },
  );
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
  const { socket, greeting } = await greeted(port);
  const say = async (text: string): Promise<string> => {
    socket.write(text);
    const [bytes] = (await once(socket, 'data')) as [Buffer];
    return bytes.toString();
  };
  assert.equal(greeting, 'hello\n');
  await box.daemon.restart('SIGKILL');
  assert.equal(await say('still there?'), 'still there?');
  socket.destroy();
  const before = (await box.inspect(id)).NetworkSettings;
  assert.equal(before.Ports['80/tcp']?.[0]?.HostPort, String(port));
  const another = await greeted(port);
  assert.equal(another.greeting, 'hello\n', 'a new connection');
  another.socket.destroy();
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
  const old = encodeURIComponent(JSON.stringify({ until: ['1h'] }));
  const none = await box.daemon.json('POST', `/networks/prune?filters=${old}`);
  assert.deepEqual(none, { NetworksDeleted: null });
  const filters = encodeURIComponent(JSON.stringify({ 'label!': ['keep'] }));
  const first = await box.daemon.json('POST', `/networks/prune?filters=${filters}`);
  assert.deepEqual(first, { NetworksDeleted: ['unused'] });
  const second = await box.daemon.json('POST', '/networks/prune');
  assert.deepEqual(second, { NetworksDeleted: ['labelled'] });
  await box.start(id);
  await box.remove(id);
  await drop(used);
  const query = `since=${since}&until=${(Date.now() + 5) / 1000}&filters=${encodeURIComponent('{"type":["network"]}')}`;
  const { text } = await box.daemon.api('GET', `/events?${query}`);
  const events = text
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { Action: string; Actor: { Attributes: { name?: string } } })
    .map(({ Action, Actor }) => `${Action} ${Actor.Attributes.name ?? ''}`.trim());
  assert.deepEqual(events, [
    ...['create used', 'create unused', 'create labelled'],
    ...['prune', 'destroy unused', 'prune', 'destroy labelled', 'prune'],
    ...['connect used', 'disconnect used', 'destroy used'],
  ]);
});

test('--publish-all takes a free port for each that is exposed; ports in use are told before', async () => {
  const exposed = { ExposedPorts: { '80/tcp': {}, '53/udp': {} } };
  const id = await box.up({
    ...FOREVER,
    ...exposed,
    HostConfig: { NetworkMode: 'bridge', PublishAllPorts: true },
  });
  const { Ports } = (await box.inspect(id)).NetworkSettings;
  const [tcp, udp] = [Ports['80/tcp']?.[0]?.HostPort, Ports['53/udp']?.[0]?.HostPort].map(Number);
  assert.ok(tcp !== undefined && udp !== undefined && tcp >= 1024 && udp >= 1024, `${tcp} ${udp}`);
  const PortBindings = { '80/tcp': [{ HostIp: '', HostPort: String(tcp) }] };
  const second = await box.create({
    ...FOREVER,
    HostConfig: { NetworkMode: 'bridge', PortBindings },
  });
  const refused = await box.daemon.api('POST', `/containers/${second}/start`);
  assert.equal(refused.status, 500);
  assert.match(
    refused.text,
    new RegExp(`Bind for 0\\.0\\.0\\.0:${tcp} failed: port is already allocated`),
  );
  assert.equal((await view('bridge')).Containers[second], undefined);
  await box.remove(id);
  await box.start(second);
  await box.remove(second);
});

test('bad requests get the status and the words of Docker, and leave nothing', async () => {
  const config = { IPAM: { Config: [{ Subnet: '10.201.7.0/29', Gateway: '10.201.7.1' }] } };
  const id = await network('small', config);
  const refused = async (path: string, body: object, status: number, message: RegExp) => {
    const answer = await box.daemon.api('POST', path, body);
    assert.equal(answer.status, status, answer.text);
    assert.match((answer.json() as { message: string }).message, message);
  };
  const create = (body: object, status: number, message: RegExp) =>
    refused('/networks/create', { Name: 'bad', ...body }, status, message);
  const subnet = (Subnet: string) => ({ IPAM: { Config: [{ Subnet }] } });
  await create(subnet('10.201.7.4/30'), 403, /^invalid pool request: Pool overlaps with other one/);
  await create(subnet('10.201.7.0'), 400, /invalid subnet 10\.201\.7\.0: invalid CIDR/);
  await create({ Driver: 'overlay' }, 501, /^overlay networks are not supported/);
  await create({ Name: 'small' }, 409, /^network with name small already exists$/);
  await create({ Driver: 'weave' }, 404, /^plugin "weave" not found$/);

  const joined = (IPv4Address: string, MacAddress = '') => ({
    ...FOREVER,
    HostConfig: { NetworkMode: 'small' },
    NetworkingConfig: {
      EndpointsConfig: { small: { IPAMConfig: { IPv4Address }, MacAddress } },
    },
  });
  const outside = await box.tryCreate(joined('10.202.0.9'));
  assert.equal(outside.status, 400);
  assert.match(outside.text, /Invalid address 10\.202\.0\.9: It does not belong to any of this/);
  const first = await box.up(joined('10.201.7.2', '02:00:00:00:07:02'));
  const fails = async (body: ReturnType<typeof joined>, status: number, message: RegExp) => {
    const container = await box.create(body);
    await refused(`/containers/${container}/start`, {}, status, message);
    await box.remove(container);
  };
  await fails(joined('10.201.7.2'), 403, /Address already in use/);
  await fails(joined('10.201.7.3', '02:00:00:00:07:02'), 409, /MAC address .* already in use/);
  const others: string[] = [];
  for (let i = 3; i < 7; i += 1) others.push(await box.up(joined('')));
  await fails(
    joined(''),
    503,
    /no available IPv4 addresses on this network's address pools: small/,
  );
  assert.equal(Object.keys((await view(id)).Containers).length, 5);
  const inUse = await box.daemon.api('DELETE', `/networks/${id}`);
  assert.equal(inUse.status, 403);
  assert.match(
    inUse.text,
    /error while removing network: network small id .* has active endpoints/,
  );
  for (const each of [first, ...others]) await box.remove(each);
  await drop(id);
  const missing = await box.daemon.api('DELETE', `/networks/${id}`);
  assert.equal(missing.status, 404);
  const filters = encodeURIComponent('{"type":["custom"]}');
  assert.deepEqual(await box.daemon.json('GET', `/networks?filters=${filters}`), []);
});
