import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { before, test } from 'node:test';
import { messageOf } from '../../src/base/errors.ts';
import { endpointSettings, networkCreate } from '../../src/spec/docker/network.ts';
import { becomeHost, client, makeHost, Peer, run } from '../support/network-host.ts';

before(becomeHost);

/** A request's body with what is given; the rest as clients leave it out. */
function body(given: object) {
  return networkCreate.decode(given, '');
}

function wish(given: object) {
  return endpointSettings.decode(given, '');
}

const DNS = '127.0.0.11';

test('containers of a network find each other by name, alias, short ID and link', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr1', '--dns=127.0.0.99').start();
  await networks.create(body({ Name: 'app' }));
  const db = client('db', { mode: 'app', endpoints: { app: wish({ Aliases: ['store'] }) } });
  const twin = client('twin', { mode: 'app', endpoints: { app: wish({ Aliases: ['store'] }) } });
  const web = client('web', { mode: 'app', links: ['db:database'] });
  const [dbOpen, twinOpen, webOpen] = [
    await networks.open(db),
    await networks.open(twin),
    await networks.open(web),
  ];
  assert.equal(webOpen.resolvConf.includes('nameserver 127.0.0.11\n'), true);
  assert.match(webOpen.resolvConf, /options .*ndots:0/);
  const ask = new Peer(t, webOpen.netnsPath);
  const resolve = (name: string, type = 'A') =>
    ask.do<string[]>({ op: 'resolve', name, type, server: DNS });
  const dbIp = dbOpen.endpoints['app']?.IPAddress ?? '';
  const twinIp = twinOpen.endpoints['app']?.IPAddress ?? '';
  assert.deepEqual(await resolve('db'), [dbIp]);
  assert.deepEqual(await resolve('DB.app'), [dbIp]);
  assert.deepEqual(await resolve(db.id.slice(0, 12)), [dbIp]);
  assert.deepEqual(await resolve('database'), [dbIp], 'its own link');
  const orders = [await resolve('store'), await resolve('store')];
  assert.deepEqual(
    orders.map((each) => each.toSorted()),
    [[dbIp, twinIp].toSorted(), [dbIp, twinIp].toSorted()],
  );
  assert.notDeepEqual(orders[0], orders[1], 'in turn');
  await assert.rejects(resolve('db', 'AAAA'), /ENODATA/, 'known, but has no IPv6');
  const names = await ask.do<string[]>({ op: 'reverse', ip: dbIp, server: DNS });
  assert.deepEqual(names, ['db.app']);

  networks.rename(db.id, 'postgres');
  assert.deepEqual(await resolve('postgres'), [dbIp]);
  await networks.close(twin.id);
  assert.deepEqual(await resolve('store'), [dbIp]);
  const other = await networks.open(client('stranger'));
  assert.ok(!other.resolvConf.includes(DNS), 'the default bridge has no DNS');
});

test('a server of the container can have port 53 of its own', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr1').start();
  await networks.create(body({ Name: 'app' }));
  const sandbox = await networks.open(client('pihole', { mode: 'app' }));
  const own = new Peer(t, sandbox.netnsPath);
  assert.equal(await own.serve(53, 'mine', 'udp', '0.0.0.0'), 'serving');
  assert.equal(await own.serve(53, 'mine', 'tcp', '0.0.0.0'), 'serving');
  const found = await own.do<string[]>({ op: 'resolve', name: 'pihole', type: 'A', server: DNS });
  assert.equal(found.length, 1);
});

test('networks do not reach each other; an internal one reaches nothing', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr1').start();
  await networks.create(body({ Name: 'red' }));
  await networks.create(body({ Name: 'blue' }));
  await networks.create(body({ Name: 'vault', Internal: true }));
  const published = { '80/tcp': [{ HostIp: '', HostPort: '8085' }] };
  const red = await networks.open(client('r', { mode: 'red', portBindings: published }));
  const blue = await networks.open(client('b', { mode: 'blue' }));
  const vault = await networks.open(client('v', { mode: 'vault' }));
  const second = await networks.open(client('w', { mode: 'vault' }));
  const [inRed, inBlue, inVault, inSecond] = [red, blue, vault, second].map(
    (each) => new Peer(t, each.netnsPath),
  );
  assert.ok(inRed && inBlue && inVault && inSecond);
  await inRed.serve(80, 'red');
  await inVault.serve(80, 'vault');
  const redIp = red.endpoints['red']?.IPAddress ?? '';
  const redGateway = red.endpoints['red']?.Gateway ?? '';
  await assert.rejects(inBlue.ask(redIp, 80, 'tcp', 400), /timed out/);
  assert.match(await inBlue.ask(redGateway, 8085), /^red /, 'a published port is for all');
  const vaultIp = vault.endpoints['vault']?.IPAddress ?? '';
  assert.match(await inSecond.ask(vaultIp, 80), /^vault /);
  assert.equal(vault.endpoints['vault']?.Gateway, '');
  await assert.rejects(inVault.ask(redIp, 80, 'tcp', 400), /ENETUNREACH/);
  await assert.rejects(inBlue.ask(vaultIp, 80, 'tcp', 400), /timed out/);
  const asked = inVault.do({ op: 'resolve', name: 'example.org', type: 'A', server: DNS });
  await assert.rejects(asked, /ESERVFAIL/);
});

const BRIDGE_FILTER = '/proc/sys/net/bridge/bridge-nf-call-iptables';

// With br_netfilter on, as Docker and Kubernetes have it, bridged packets go through the rules.
for (const filter of existsSync(BRIDGE_FILTER) ? ['0', '1'] : ['absent']) {
  test(`without inter-container communication only published ports are open (br_netfilter ${filter})`, async (t) => {
    if (filter !== 'absent') writeFileSync(BRIDGE_FILTER, filter);
    const { networks } = await makeHost(t, '--bridge=cbr1').start();
    const options = { 'com.docker.network.bridge.enable_icc': 'false' };
    await networks.create(body({ Name: 'quiet', Options: options }));
    const published = { '80/tcp': [{ HostIp: '', HostPort: '8086' }] };
    const a = await networks.open(client('a', { mode: 'quiet', portBindings: published }));
    const b = await networks.open(client('b', { mode: 'quiet' }));
    const [inA, inB] = [new Peer(t, a.netnsPath), new Peer(t, b.netnsPath)];
    await inA.serve(80, 'a');
    await inA.serve(81, 'a');
    const { IPAddress = '', Gateway = '' } = a.endpoints['quiet'] ?? {};
    await assert.rejects(inB.ask(IPAddress, 81, 'tcp', 400), /timed out|EHOSTUNREACH/);
    assert.match(await inB.ask(Gateway, 8086), /^a /);
  });
}

test('IPv6: addresses, names, published ports, and the way out', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr1').start();
  const config = [{ Subnet: 'fd00:cafe::/64' }];
  await networks.create(body({ Name: 'six', EnableIPv6: true, IPAM: { Config: config } }));
  const published = { '80/tcp': [{ HostIp: '', HostPort: '8087' }] };
  const a = await networks.open(client('a', { mode: 'six', portBindings: published }));
  const b = await networks.open(client('b', { mode: 'six' }));
  assert.equal(a.endpoints['six']?.GlobalIPv6Address, 'fd00:cafe::2');
  assert.equal(a.endpoints['six']?.IPv6Gateway, 'fd00:cafe::1');
  assert.deepEqual(a.ports['80/tcp'], [
    { HostIp: '0.0.0.0', HostPort: '8087' },
    { HostIp: '::', HostPort: '8087' },
  ]);
  assert.match(a.hosts, /^fd00:cafe::2\ta$/m);
  const [here, inA, inB] = [new Peer(t), new Peer(t, a.netnsPath), new Peer(t, b.netnsPath)];
  await inA.serve(80, 'six');
  assert.match(await inB.ask('fd00:cafe::2', 80), /^six fd00:cafe::3$/);
  const aaaa = await inB.do<string[]>({ op: 'resolve', name: 'a', type: 'AAAA', server: DNS });
  assert.deepEqual(aaaa, ['fd00:cafe::2']);
  assert.match(await here.ask('fd00:cafe::1', 8087), /^six /);
  assert.match(await inB.ask('fd00:cafe::1', 8087), /^six fd00:cafe::1$/, 'hairpin');
  run(
    'ip link add out0 type veth peer name out1; ip link set out1 up; ip link set out0 up; ip -6 addr add fd99::1/64 dev out0 nodad',
  );
  t.after(() => run('ip link del out0'));
  assert.match(await inB.ask('fd99::1', 8087), /^six /);
});

test('connect and disconnect change a running container', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr1').start();
  const one = await networks.create(body({ Name: 'one' }));
  const two = await networks.create(body({ Name: 'two' }));
  const published = { '80/tcp': [{ HostIp: '', HostPort: '8088' }] };
  const c = client('c', { mode: 'one', portBindings: published });
  await networks.open(c);
  const peer = client('p', { mode: 'two' });
  const peerOpen = await networks.open(peer);
  await networks.connect(two, c.id, wish({ Aliases: ['see'] }));
  const open = networks.find(c.id);
  assert.ok(open !== undefined);
  assert.deepEqual(Object.keys(open.endpoints), ['one', 'two']);
  const [here, inC, inPeer] = [
    new Peer(t),
    new Peer(t, open.netnsPath),
    new Peer(t, peerOpen.netnsPath),
  ];
  await inC.serve(80, 'c');
  assert.equal(
    (await inPeer.do<string[]>({ op: 'resolve', name: 'see', type: 'A', server: DNS })).length,
    1,
  );
  assert.match(await inPeer.ask(open.endpoints['two']?.IPAddress ?? '', 80), /^c /);
  assert.match(await here.ask('127.0.0.1', 8088), /^c /);
  await assert.rejects(
    networks.connect(two, c.id, wish({})),
    /endpoint with name c already exists in network two/,
  );

  await networks.disconnect(one, c.id);
  assert.match(await here.ask('127.0.0.1', 8088), /^c /, 'the port follows the default route');
  assert.match(run('ip route', open.netnsPath), /default via .* dev eth1/);
  assert.doesNotMatch(run('ip -br link', open.netnsPath), /eth0/);
  await networks.remove(one);
  await assert.rejects(
    networks.remove(two),
    /error while removing network: network two id [0-9a-f]{64} has active endpoints/,
  );
  await networks.disconnect(two, c.id);
  assert.equal(run('ip route', open.netnsPath), '');
  await assert.rejects(here.ask('127.0.0.1', 8088, 'tcp', 300), /ECONNREFUSED/);
});

test('connect takes an address of each family, a MAC and links, and refuses what is taken', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr1').start();
  await networks.create(body({ Name: 'one' }));
  const Config = [{ Subnet: '10.89.0.0/24' }, { Subnet: 'fd89::/64' }];
  const two = await networks.create(body({ Name: 'two', EnableIPv6: true, IPAM: { Config } }));
  const [c, d] = [client('c', { mode: 'one' }), client('d', { mode: 'two' })];
  await networks.open(c);
  const other = await networks.open(d);
  const given = {
    IPAMConfig: { IPv4Address: '10.89.0.77', IPv6Address: 'fd89::77' },
    MacAddress: '02:89:00:00:00:77',
    Links: ['d:database'],
  };
  await networks.connect(two, c.id, wish(given));
  const open = networks.find(c.id);
  const seen = run('ip -o addr show eth1; ip -o link show eth1', open?.netnsPath);
  for (const each of ['10.89.0.77/24', 'fd89::77/64', '02:89:00:00:00:77']) {
    assert.ok(seen.includes(each), seen);
  }
  const inC = new Peer(t, open?.netnsPath);
  const found = await inC.do<string[]>({ op: 'resolve', name: 'database', type: 'A', server: DNS });
  assert.deepEqual(found, [other.endpoints['two']?.IPAddress]);
  assert.match(open?.hosts ?? '', /^10\.89\.0\.77\tc$/m);

  const late = client('late', { mode: 'one' });
  const lateOpen = await networks.open(late);
  const before = run('ip -o link', lateOpen.netnsPath);
  for (const [settings, message] of [
    [{ IPAMConfig: { IPv4Address: '10.89.0.77' } }, /Address already in use/],
    [{ IPAMConfig: { IPv6Address: 'fd89::77' } }, /Address already in use/],
    [{ IPAMConfig: { IPv4Address: '10.88.0.1' } }, /does not belong to any of this network's/],
    [{ MacAddress: '02:89:00:00:00:77' }, /MAC address .* already in use/],
    [{ MacAddress: 'nonsense' }, /invalid MAC address: nonsense/],
  ] as const) {
    await assert.rejects(networks.connect(two, late.id, wish(settings)), message);
  }
  assert.equal(run('ip -o link', lateOpen.netnsPath), before);
  assert.equal(two.endpoints.size, 2);
  assert.equal(two.pools[0]?.usedCount, 5, 'two ends, the gateway and two containers');
});

test('static addresses, MAC, ranges and auxiliary addresses are kept to', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr1').start();
  const Config = [
    {
      Subnet: '10.88.0.0/16',
      IPRange: '10.88.7.0/30',
      Gateway: '10.88.255.254',
      AuxiliaryAddresses: { router: '10.88.7.1' },
    },
  ];
  const net = await networks.create(body({ Name: 'fixed', IPAM: { Config } }));
  const at = (name: string, ip: string, mac = '') =>
    client(name, {
      mode: 'fixed',
      endpoints: { fixed: wish({ IPAMConfig: { IPv4Address: ip }, MacAddress: mac }) },
    });
  const a = await networks.open(at('a', '10.88.1.1', '02:11:22:33:44:55'));
  assert.equal(a.endpoints['fixed']?.IPAddress, '10.88.1.1');
  assert.match(run('ip link show eth0', a.netnsPath), /02:11:22:33:44:55/);
  assert.match(run('ip route', a.netnsPath), /default via 10\.88\.255\.254 dev eth0/);
  await assert.rejects(
    networks.open(at('b', '10.88.1.1')),
    /^EngineError: Address already in use$/,
  );
  await assert.rejects(
    networks.open(at('b', '10.89.1.1')),
    /It does not belong to any of this network's subnets/,
  );
  await assert.rejects(
    networks.open(at('b', '10.88.1.2', '02:11:22:33:44:55')),
    /MAC address .* already in use/,
  );
  const first = await networks.open(client('d', { mode: 'fixed' }));
  assert.equal(first.endpoints['fixed']?.IPAddress, '10.88.7.0');
  for (const name of ['e', 'f']) await networks.open(client(name, { mode: 'fixed' }));
  await assert.rejects(
    networks.open(client('g', { mode: 'fixed' })),
    /no available IPv4 addresses on this network's address pools: fixed \(/,
  );
  assert.equal(net.endpoints.size, 4);
});

test('what makes no sense is refused in the words of Docker, and nothing is made', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr1', '--bip=172.31.7.1/24').start();
  const before = run('ip -br link; nft list ruleset');
  const refuse = async (given: object, message: RegExp) => {
    await assert.rejects(networks.create(body(given)), message);
  };
  const subnet = (Subnet: string, more: object = {}) => ({
    IPAM: { Config: [{ Subnet, ...more }] },
  });
  await refuse(
    { Name: 'x', ...subnet('172.31.7.128/25') },
    /Pool overlaps with other one on this address space/,
  );
  await refuse(
    { Name: 'x', ...subnet('10.0.0.1/8') },
    /invalid subnet 10\.0\.0\.1\/8: it should be 10\.0\.0\.0\/8/,
  );
  await refuse({ Name: 'x', ...subnet('10.0.0/8') }, /invalid CIDR block notation/);
  await refuse(
    { Name: 'x', ...subnet('10.0.0.0/8', { Gateway: '11.0.0.1' }) },
    /invalid gateway 11\.0\.0\.1/,
  );
  await refuse({ Name: 'x', Driver: 'overlay' }, /overlay networks are not supported/);
  await refuse({ Name: 'x', Driver: 'weave' }, /plugin "weave" not found/);
  await refuse({ Name: 'bridge' }, /operation is not permitted on predefined bridge network/);
  await refuse({ Name: 'a/b' }, /invalid network name/);
  await refuse(
    { Name: 'x', Driver: 'macvlan', Options: { parent: 'eth9' } },
    /-o parent interface was not found on the host: eth9/,
  );
  await refuse({ Name: 'x', Driver: 'host' }, /only one instance of "host" network is allowed/);
  await refuse({ Name: 'x', Options: { 'com.docker.network.bridge.name': 'lo' } }, /no bridge/);
  await refuse(
    { Name: 'x', Options: { 'com.docker.network.bridge.name': 'a" drop' } },
    /failed to parse com\.docker\.network\.bridge\.name value/,
  );
  assert.equal(run('ip -br link; nft list ruleset'), before);
  await networks.create(body({ Name: 'x' }));
  await refuse({ Name: 'x' }, /network with name x already exists/);
  assert.throws(() => networks.get('nope'), /network nope not found/);
  await assert.rejects(networks.open(client('c', { mode: 'nope' })), /network nope not found/);
  await assert.rejects(
    networks.remove(networks.get('host')),
    /host is a pre-defined network and cannot be removed/,
  );
});

test('macvlan and ipvlan join the network of a link, or say what the kernel lacks', async (t) => {
  run(
    'ip link add par0 type veth peer name par1; ip link set par1 up; ip link set par0 up; ip addr add 10.66.0.1/24 dev par0',
  );
  t.after(() => run('ip link del par0'));
  const { networks } = await makeHost(t, '--bridge=cbr1').start();
  for (const driver of ['macvlan', 'ipvlan']) {
    const Config = [{ Subnet: '10.66.0.0/24', Gateway: '10.66.0.1' }];
    const made = networks.create(
      body({ Name: driver, Driver: driver, Options: { parent: 'par0' }, IPAM: { Config } }),
    );
    const error = await made.then(
      () => undefined,
      (cause: unknown) => cause,
    );
    if (error !== undefined) {
      assert.match(messageOf(error), new RegExp(`this kernel has no ${driver} driver`));
      continue;
    }
    const a = await networks.open(client('a', { mode: driver }));
    const b = await networks.open(client('b', { mode: driver }));
    const [inA, inB] = [new Peer(t, a.netnsPath), new Peer(t, b.netnsPath)];
    await inA.serve(80, driver);
    assert.match(await inB.ask('10.66.0.2', 80), /10\.66\.0\.3$/);
    assert.match(run('ip -d link show eth0', a.netnsPath), new RegExp(`${driver} +mode`));
    for (const each of networks.get(driver).endpoints.values()) {
      await networks.close(each.containerId);
    }
    await networks.remove(networks.get(driver));
  }
});
