import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { becomeHost, client, makeHost, Peer, run } from '../support/network-host.ts';

before(becomeHost);

/** Names of namespaces are the whole machine's. */
const LAN = `lan-${process.pid}`;

/** Another machine: `10.77.0.2`, behind the host's `10.77.0.1`. */
function neighbour(): string {
  run(`ip netns add ${LAN} 2>/dev/null || true
    ip link add lan0 type veth peer name eth0 netns ${LAN}
    ip addr add 10.77.0.1/24 dev lan0; ip -6 addr add fd77::1/64 dev lan0 nodad; ip link set lan0 up
    ip netns exec ${LAN} sh -c 'ip link set lo up; ip addr add 10.77.0.2/24 dev eth0
      ip -6 addr add fd77::2/64 dev eth0 nodad; ip link set eth0 up'`);
  return `/run/netns/${LAN}`;
}

function dropNeighbour(): void {
  run(`ip link del lan0; ip netns del ${LAN}`);
}

test('none has a loopback and nothing else; host has no namespace of its own', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr0').start();
  const none = client('a', { mode: 'none' });
  const sandbox = await networks.open(none);
  assert.ok(sandbox.netnsPath !== undefined);
  assert.match(run('ip -br link', sandbox.netnsPath), /^lo +UNKNOWN .*\n$/);
  assert.deepEqual(Object.keys(sandbox.endpoints), ['none']);

  const host = await networks.open(client('b', { mode: 'host', extraHosts: ['x:1.2.3.4'] }));
  assert.equal(host.netnsPath, undefined);
  assert.equal(host.hosts, `${readFileSync('/etc/hosts', 'utf8')}1.2.3.4\tx\n`);
  await networks.close(none.id);
  assert.ok(!existsSync(sandbox.netnsPath));
});

test('the default bridge gives addresses, a way out, and the way to each other', async (t) => {
  const lan = neighbour();
  t.after(dropNeighbour);
  const { networks } = await makeHost(t, '--bridge=cbr0', '--bip=172.31.9.1/24').start();
  const a = await networks.open(client('a', { domainname: 'example.org' }));
  const b = await networks.open(client('b'));
  assert.equal(a.endpoints['bridge']?.IPAddress, '172.31.9.2');
  assert.equal(b.endpoints['bridge']?.IPAddress, '172.31.9.3');
  assert.equal(a.endpoints['bridge']?.MacAddress, '02:42:ac:1f:09:02');
  assert.match(a.hosts, /^127\.0\.0\.1\tlocalhost\n(.*\n)+172\.31\.9\.2\ta\.example\.org a\n$/);
  const [outside, inA, inB] = [
    new Peer(t, lan),
    new Peer(t, a.netnsPath),
    new Peer(t, b.netnsPath),
  ];
  await outside.serve(80, 'lan');
  await inB.serve(80, 'b');
  assert.match(await inA.ask('10.77.0.2', 80), /^lan .*10\.77\.0\.1$/, 'masqueraded');
  assert.match(await inA.ask('172.31.9.3', 80), /^b .*172\.31\.9\.2$/);
});

test('a published port is reached from everywhere, and its owner is told who asks', async (t) => {
  const lan = neighbour();
  t.after(dropNeighbour);
  const host = makeHost(t, '--bridge=cbr0', '--bip=172.31.9.1/24');
  const { networks } = await host.start();
  const bindings = {
    '80/tcp': [{ HostIp: '', HostPort: '8080' }],
    '53/udp': [{ HostIp: '', HostPort: '5353' }],
    '81/tcp': [{ HostIp: '127.0.0.1', HostPort: '8081' }],
  };
  const web = client('web', { portBindings: bindings });
  const open = await networks.open(web);
  const sibling = await networks.open(client('sibling'));
  assert.deepEqual(open.ports, {
    '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }],
    '53/udp': [{ HostIp: '0.0.0.0', HostPort: '5353' }],
    '81/tcp': [{ HostIp: '127.0.0.1', HostPort: '8081' }],
  });
  const inside = new Peer(t, open.netnsPath);
  await inside.serve(80, 'web');
  await inside.serve(81, 'private');
  await inside.serve(53, 'udp', 'udp');
  const [here, there, beside] = [new Peer(t), new Peer(t, lan), new Peer(t, sibling.netnsPath)];
  assert.match(await there.ask('10.77.0.1', 8080), /^web .*10\.77\.0\.2$/, 'another host');
  assert.match(await there.ask('10.77.0.1', 5353, 'udp'), /^udp .*10\.77\.0\.2$/);
  assert.match(await here.ask('127.0.0.1', 8080), /^web .*172\.31\.9\.1$/, 'the loopback');
  assert.match(await here.ask('127.0.0.1', 5353, 'udp'), /^udp /);
  assert.match(await here.ask('10.77.0.1', 8080), /^web /, "the host's own address");
  assert.match(await beside.ask('10.77.0.1', 8080), /^web .*172\.31\.9\.1$/, 'hairpin');
  assert.match(await beside.ask('172.31.9.1', 8080), /^web /, 'the gateway');
  assert.match(await inside.ask('10.77.0.1', 8080), /^web /, 'the container itself');
  assert.match(await here.ask('127.0.0.1', 8081), /^private /);
  await assert.rejects(there.ask('10.77.0.1', 8081, 'tcp', 500), /ECONNREFUSED/);
  run(`ip netns exec ${LAN} ip route add 172.31.9.0/24 via 10.77.0.1`);
  await assert.rejects(there.ask('172.31.9.2', 80, 'tcp', 500), /timed out/, 'past the ports');

  await networks.close(web.id);
  await assert.rejects(here.ask('127.0.0.1', 8080, 'tcp', 500), /ECONNREFUSED/);
});

test('a port that is taken is told in the words of Docker, and nothing is left behind', async (t) => {
  const host = makeHost(t, '--bridge=cbr0');
  const { networks } = await host.start();
  const on = (port: string, ip = '') => ({ '80/tcp': [{ HostIp: ip, HostPort: port }] });
  await networks.open(client('one', { portBindings: on('8080') }));
  await assert.rejects(
    networks.open(client('two', { portBindings: on('8080') })),
    /^EngineError: driver failed programming external connectivity on endpoint two \([0-9a-f]{64}\): Bind for 0\.0\.0\.0:8080 failed: port is already allocated$/,
  );
  const here = new Peer(t);
  await here.serve(8090, 'mine');
  await assert.rejects(
    networks.open(client('three', { portBindings: on('8090') })),
    /Error starting userland proxy: listen tcp4 0\.0\.0\.0:8090: bind: address already in use$/,
  );
  await assert.rejects(
    networks.open(client('four', { portBindings: on('80', '203.0.113.9') })),
    /listen tcp4 203\.0\.113\.9:80: bind: cannot assign requested address$/,
  );
  const range = await networks.open(client('five', { portBindings: on('8080-8090') }));
  assert.equal(range.ports['80/tcp']?.[0]?.HostPort, '8081');
  const any = await networks.open(client('six', { portBindings: on('') }));
  assert.ok(Number(any.ports['80/tcp']?.[0]?.HostPort) >= 32768);
  assert.equal(networks.get('bridge').endpoints.size, 3);
  await assert.rejects(here.serve(8081, 'thief'), /EADDRINUSE/, 'the engine holds the port');
});

test('a UDP sender that never pauses reaches whoever has the port now', async (t) => {
  const lan = neighbour();
  t.after(dropNeighbour);
  const { networks } = await makeHost(t, '--bridge=cbr0').start();
  const sender = new Peer(t, lan);
  await sender.do({ op: 'stream', ip: '10.77.0.1', port: 5514 });
  await sleep(200);
  for (const name of ['first', 'second']) {
    const ports = { '514/udp': [{ HostIp: '', HostPort: '5514' }] };
    const c = client(name, { portBindings: ports });
    const open = await networks.open(c);
    await new Peer(t, open.netnsPath).serve(514, name, 'udp');
    let heard = '';
    for (let i = 0; i < 40 && heard === ''; i += 1) {
      await sleep(50);
      heard = await sender.do({ op: 'heard' });
    }
    assert.match(heard, new RegExp(`^${name} `));
    // Another container takes the address of the first before the second has the port.
    await networks.close(c.id);
    await networks.open(client(`${name}-taker`));
    await sender.do({ op: 'heard' });
  }
});

test('two daemons on one host leave each other alone', async (t) => {
  const lan = neighbour();
  t.after(dropNeighbour);
  const outside = new Peer(t, lan);
  await outside.serve(80, 'lan');
  const ports = (HostPort: string) => ({ '80/tcp': [{ HostIp: '', HostPort }] });
  const hosts = [makeHost(t, '--bridge=cbr0'), makeHost(t, '--bridge=cbr9')];
  for (const [i, host] of hosts.entries()) {
    const { networks } = await host.start();
    const open = await networks.open(client(`c${i}`, { portBindings: ports(`807${i}`) }));
    const inside = new Peer(t, open.netnsPath);
    await inside.serve(80, `c${i}`);
    assert.match(await inside.ask('10.77.0.2', 80), /^lan /);
  }
  const here = new Peer(t);
  for (const i of [0, 1])
    assert.match(await here.ask('127.0.0.1', 8070 + i), new RegExp(`^c${i} `));
  assert.match(await outside.ask('10.77.0.1', 8070), /^c0 /);
});

test('a program of the host that stays in a namespace keeps no address from the next container', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr0').start();
  const gone = client('gone');
  const before = await networks.open(gone);
  const [here, debugging] = [new Peer(t), new Peer(t, before.netnsPath)];
  await debugging.serve(80, 'gone');
  await networks.close(gone.id);
  const after = await networks.open(client('next'));
  const ip = after.endpoints['bridge']?.IPAddress ?? '';
  assert.equal(ip, before.endpoints['bridge']?.IPAddress);
  await new Peer(t, after.netnsPath).serve(80, 'next');
  await sleep(1200);
  for (let i = 0; i < 3; i += 1) assert.match(await here.ask(ip, 80), /^next /);
  assert.equal(run('ip -br link show master cbr0').trim().split('\n').length, 1);
});
