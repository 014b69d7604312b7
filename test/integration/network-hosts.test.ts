import assert from 'node:assert/strict';
import { before, type TestContext, test } from 'node:test';
import { networkCreate } from '../../src/spec/docker/network.ts';
import { becomeHost, client, makeHost, Peer, run } from '../support/network-host.ts';

/** Several machines, as network namespaces joined by veth, with both families. */

before(becomeHost);

function body(given: object) {
  return networkCreate.decode(given, '');
}

/** Names of namespaces are the whole machine's. */
const lanName = (n: number): string => `lan-${process.pid}-${n}`;

/**
 * Two other machines on networks of their own, `10.81.0.2` and `10.82.0.2` (and the same in fd81
 * and fd82); the host is their gateway.
 */
function neighbours(t: TestContext): { near: Peer; far: Peer } {
  const [near, far] = [81, 82].map((n) => {
    const name = lanName(n);
    run(`ip netns add ${name}
      ip link add lan${n} type veth peer name eth0 netns ${name}
      ip addr add 10.${n}.0.1/24 dev lan${n}; ip -6 addr add fd${n}::1/64 dev lan${n} nodad
      ip link set lan${n} up
      ip -n ${name} link set lo up
      ip -n ${name} addr add 10.${n}.0.2/24 dev eth0
      ip -n ${name} -6 addr add fd${n}::2/64 dev eth0 nodad; ip -n ${name} link set eth0 up
      ip -n ${name} route add default via 10.${n}.0.1
      ip -n ${name} -6 route add default via fd${n}::1`);
    t.after(() => run(`ip link del lan${n}; ip netns del ${name}`));
    return new Peer(t, `/run/netns/${name}`);
  });
  assert.ok(near !== undefined && far !== undefined);
  return { near, far };
}

const dual = (name: string, n: number, more: object = {}) =>
  body({
    Name: name,
    EnableIPv6: true,
    IPAM: { Config: [{ Subnet: `10.9${n}.0.0/24` }, { Subnet: `fd9${n}::/64` }] },
    ...more,
  });

test('other hosts reach published ports in both families, and nothing else', async (t) => {
  const { near, far } = neighbours(t);
  const { networks } = await makeHost(t, '--bridge=cbr5').start();
  await networks.create(dual('app', 1));
  const portBindings = {
    '80/tcp': [{ HostIp: '', HostPort: '8080' }],
    '53/udp': [{ HostIp: '', HostPort: '5300-5310' }],
    '81/tcp': [{ HostIp: '10.81.0.1', HostPort: '8081' }],
    '82/tcp': [{ HostIp: 'fd82::1', HostPort: '8082' }],
    '132/sctp': [{ HostIp: '', HostPort: '8132' }],
  };
  const web = await networks.open(client('web', { mode: 'app', portBindings }));
  assert.deepEqual(web.ports['132/sctp'], [
    { HostIp: '0.0.0.0', HostPort: '8132' },
    { HostIp: '::', HostPort: '8132' },
  ]);
  const inside = new Peer(t, web.netnsPath);
  for (const port of [80, 81, 82]) await inside.serve(port, 'web');
  await inside.serve(53, 'dns', 'udp');
  const quick = (peer: Peer, ip: string, port: number) => peer.ask(ip, port, 'tcp', 400);
  assert.match(await near.ask('10.81.0.1', 8080), /^web .*10\.81\.0\.2$/, 'told who asks');
  assert.match(await far.ask('10.82.0.1', 8080), /^web .*10\.82\.0\.2$/);
  assert.match(await near.ask('fd81::1', 8080), /^web fd81::2$/);
  assert.match(await far.ask('fd82::1', 5300, 'udp'), /^dns /);
  assert.match(await far.ask('10.82.0.1', 5300, 'udp'), /^dns .*10\.82\.0\.2$/);
  assert.match(await near.ask('10.81.0.1', 8081), /^web /);
  await assert.rejects(quick(far, '10.82.0.1', 8081), /ECONNREFUSED/, 'another address');
  assert.match(await far.ask('fd82::1', 8082), /^web fd82::2$/);
  await assert.rejects(quick(near, 'fd81::1', 8082), /ECONNREFUSED/);
  const { IPAddress = '', GlobalIPv6Address = '' } = web.endpoints['app'] ?? {};
  for (const ip of [IPAddress, GlobalIPv6Address]) {
    await assert.rejects(quick(near, ip, 80), /timed out/, 'past the published ports');
  }
  await near.serve(80, 'near');
  assert.match(await inside.ask('10.81.0.2', 80), /^near .*10\.81\.0\.1$/, 'the way out');
  assert.match(await inside.ask('fd81::2', 80), /^near fd81::1$/, 'masqueraded too');
});

test('networks do not reach each other in either family; an internal one reaches no host', async (t) => {
  const { near } = neighbours(t);
  const { networks } = await makeHost(t, '--bridge=cbr5').start();
  await networks.create(dual('red', 1));
  await networks.create(dual('blue', 2));
  await networks.create(dual('vault', 3, { Internal: true }));
  const opened = await Promise.all(
    ['red', 'blue', 'vault', 'vault'].map((mode, i) => networks.open(client(`c${i}`, { mode }))),
  );
  const [red, blue, vault, other] = opened.map(({ netnsPath }) => new Peer(t, netnsPath));
  assert.ok(red && blue && vault && other);
  for (const peer of [red, blue, vault, near]) await peer.serve(80, 'here');
  const address = (i: number) => Object.values(opened[i]?.endpoints ?? {})[0];
  const quick = (peer: Peer, ip: string) => peer.ask(ip, 80, 'tcp', 400);
  for (const ip of [address(0)?.IPAddress ?? '', address(0)?.GlobalIPv6Address ?? '']) {
    await assert.rejects(quick(blue, ip), /timed out/);
    await assert.rejects(quick(vault, ip), /ENETUNREACH|EHOSTUNREACH/);
  }
  for (const ip of [address(2)?.IPAddress ?? '', address(2)?.GlobalIPv6Address ?? '']) {
    await assert.rejects(quick(blue, ip), /timed out/);
    await assert.rejects(quick(near, ip), /timed out/);
    assert.match(await quick(other, ip), /^here /, 'within it, yes');
  }
  for (const ip of ['10.81.0.2', 'fd81::2']) {
    assert.match(await quick(red, ip), /^here /);
    await assert.rejects(quick(vault, ip), /ENETUNREACH|EHOSTUNREACH/);
  }
  // Not even with a route of its own.
  run('ip route add default via 10.93.0.1', opened[2]?.netnsPath);
  await assert.rejects(quick(vault, '10.81.0.2'), /timed out/);
});

test("rules in the user's chain come first", async (t) => {
  const { near, far } = neighbours(t);
  const { networks } = await makeHost(t, '--bridge=cbr5').start();
  const portBindings = { '80/tcp': [{ HostIp: '', HostPort: '8080' }] };
  const web = await networks.open(client('web', { portBindings }));
  await new Peer(t, web.netnsPath).serve(80, 'web');
  const table = run('nft list tables').match(/inet (coracle-[0-9a-f]+)/)?.[1] ?? '';
  run(`nft add rule inet ${table} coracle-user ip saddr 10.82.0.0/24 drop`);
  assert.match(await near.ask('10.81.0.1', 8080), /^web /);
  await assert.rejects(far.ask('10.82.0.1', 8080, 'tcp', 400), /timed out/);
});

test('options of a bridge network are obeyed', async (t) => {
  const { near } = neighbours(t);
  run(`ip netns exec ${lanName(81)} ip route replace 10.91.0.0/24 via 10.81.0.1`);
  const { networks } = await makeHost(t, '--bridge=cbr5').start();
  await networks.create(
    dual('plain', 1, {
      EnableIPv6: false,
      IPAM: { Config: [{ Subnet: '10.91.0.0/24' }] },
      Attachable: true,
      Labels: { a: 'b' },
      Options: {
        'com.docker.network.bridge.name': 'plain0',
        'com.docker.network.bridge.enable_ip_masquerade': 'false',
        'com.docker.network.bridge.host_binding_ipv4': '10.81.0.1',
        'com.docker.network.driver.mtu': '1400',
        'com.docker.network.container_iface_prefix': 'net',
      },
    }),
  );
  const portBindings = { '80/tcp': [{ HostIp: '', HostPort: '8080' }] };
  const web = await networks.open(client('web', { mode: 'plain', portBindings }));
  assert.deepEqual(web.ports, { '80/tcp': [{ HostIp: '10.81.0.1', HostPort: '8080' }] });
  assert.match(run('ip link show plain0'), /mtu 1400/);
  assert.match(run('ip link show net0', web.netnsPath), /mtu 1400/);
  const inside = new Peer(t, web.netnsPath);
  await near.serve(80, 'near');
  assert.match(await inside.ask('10.81.0.2', 80), /^near .*10\.91\.0\.2$/, 'its own address');
  await inside.serve(80, 'web');
  assert.match(await near.ask('10.81.0.1', 8080), /^web /);
});

test('pools of the configuration are used, and used up', async (t) => {
  const flags = ['--bridge=cbr5', '--bip=10.70.0.1/24'];
  const pool = '--default-address-pool=base=10.71.0.0/23,size=24';
  const host = makeHost(t, ...flags, pool);
  const { networks } = await host.start();
  for (const n of [0, 1]) {
    const made = await networks.create(body({ Name: `n${n}` }));
    assert.equal(made.document.subnets[0]?.subnet, `10.71.${n}.0/24`);
  }
  const before = run('ip -br link; nft list ruleset');
  await assert.rejects(
    networks.create(body({ Name: 'n2' })),
    /could not find an available, non-overlapping IPv4 address pool among the defaults to assign to the network/,
  );
  assert.equal(run('ip -br link; nft list ruleset'), before);
  assert.equal(networks.list().length, 5);
  await networks.remove(networks.get('n0'));
  const again = await networks.create(body({ Name: 'n2' }));
  assert.equal(again.document.subnets[0]?.subnet, '10.71.0.0/24');
});
