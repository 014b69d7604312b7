import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { closeSync, existsSync, mkdirSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import fc from 'fast-check';
import { errnoOf } from '../../src/base/errors.ts';
import { type Cidr, formatCidr, formatIp, type Ip, parseCidr, parseIp } from '../../src/base/ip.ts';
import { getUdpFlows, udpPortOf } from '../../src/formats/conntrack.ts';
import {
  addAddress,
  addRoute,
  deleteAddress,
  deleteLink,
  newLink,
  setBridgePort,
  setLink,
} from '../../src/formats/netlink-route.ts';
import { addElements, deleteElements } from '../../src/formats/nft.ts';
import { forgetUdpFlows } from '../../src/kernel/conntrack.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { NETLINK, NetlinkSocket } from '../../src/kernel/netlink-socket.ts';
import { NetworkNamespaces } from '../../src/kernel/netns.ts';
import { NftSocket, runNft } from '../../src/kernel/nft.ts';
import { RouteSocket } from '../../src/kernel/route-socket.ts';
import { type PortRule, publishMap, renderRuleset } from '../../src/policy/nft-ruleset.ts';
import { PROTOCOLS } from '../../src/policy/ports.ts';
import { becomeHost, run } from '../support/network-host.ts';
import { temporaryFolder } from '../support/temp.ts';

const sys = openSyscalls();

before(becomeHost);

function cidr(text: string): Cidr {
  const parsed = parseCidr(text);
  assert.ok(parsed !== undefined);
  return parsed;
}

function json<T>(command: string): T {
  return JSON.parse(run(command)) as T;
}

type IpLink = { ifname: string; mtu: number; address: string; flags: string[]; master?: string };

test('links, addresses and routes are what ip(8) sees', () => {
  using route = new RouteSocket(sys);
  route.run(
    newLink({ kind: 'bridge' }, { name: 'nlbr', mac: '02:00:00:00:00:09', mtu: 1400, up: true }),
  );
  const bridge = route.link('nlbr');
  assert.ok(bridge !== undefined);
  assert.deepEqual(
    [bridge.kind, bridge.mac, bridge.mtu, bridge.up],
    ['bridge', '02:00:00:00:00:09', 1400, true],
  );
  route.run(
    newLink(
      { kind: 'veth', peer: { name: 'nlb', mtu: 1400 } },
      { name: 'nla', master: bridge.index, mtu: 1400, up: true },
    ),
    addAddress(bridge.index, cidr('10.44.0.1/24')),
    addAddress(bridge.index, cidr('fd44::1/64')),
  );
  const port = route.link('nla');
  assert.ok(port !== undefined && port.master === bridge.index);
  route.run(setBridgePort(port.index, { isolated: true, hairpin: true }));
  assert.match(run('bridge -d link show dev nla'), /hairpin on .* isolated on/s);
  const [seen] = json<IpLink[]>('ip -j link show nla');
  assert.deepEqual([seen?.master, seen?.mtu], ['nlbr', 1400]);

  const peer = route.link('nlb');
  assert.ok(peer !== undefined);
  const gateway = parseIp('10.44.0.254');
  assert.ok(gateway !== undefined);
  route.run(setLink(peer.index, { up: true }));
  route.run(
    addRoute({ family: 4, link: bridge.index, gateway, destination: cidr('10.99.0.0/16') }),
  );
  const shown = json<{ dst: string; gateway?: string; dev: string }[]>('ip -j route');
  const ours = route.routes().filter(({ family }) => family === 4);
  assert.deepEqual(
    ours.flatMap(({ destination }) => (destination ? [formatCidr(destination)] : [])).toSorted(),
    shown.map(({ dst }) => dst).toSorted(),
  );
  assert.ok(
    ours.some((each) => each.gateway !== undefined && formatIp(each.gateway) === '10.44.0.254'),
  );
  type Shown = { ifname: string; addr_info: { local: string; prefixlen: number }[] };
  const addresses = json<Shown[]>('ip -j addr').flatMap((link) =>
    link.addr_info.map((each) => `${each.local}/${each.prefixlen}`),
  );
  assert.deepEqual(
    route
      .addresses()
      .map((each) => formatCidr(each.cidr))
      .toSorted(),
    addresses.toSorted(),
  );
  route.run(
    deleteAddress(bridge.index, cidr('10.44.0.1/24')),
    deleteLink(port.index),
    deleteLink(bridge.index),
  );
  assert.equal(route.link('nlb'), undefined, 'a veth goes with its peer');
});

const address = fc.oneof(
  fc
    .record({
      host: fc.integer({ min: 0x0b000001, max: 0xdfffffff }),
      prefix: fc.integer({ min: 8, max: 32 }),
    })
    .map(({ host, prefix }): Cidr => ({ address: { family: 4, value: BigInt(host) }, prefix })),
  fc
    .record({
      host: fc.bigInt({ min: 1n, max: 2n ** 64n - 2n }),
      prefix: fc.integer({ min: 48, max: 128 }),
    })
    .map(
      ({ host, prefix }): Cidr => ({
        address: { family: 6, value: (0xfd44n << 112n) | host },
        prefix,
      }),
    ),
);
const routed = fc.record({
  third: fc.nat(255),
  prefix: fc.integer({ min: 25, max: 32 }),
  family: fc.constantFrom<4 | 6>(4, 6),
});

test('whatever link, addresses and routes are made, ip(8) shows them and they are read back', () => {
  using route = new RouteSocket(sys);
  type Shown = {
    ifname: string;
    mtu: number;
    address: string;
    addr_info: { local: string; prefixlen: number }[];
  };
  fc.assert(
    fc.property(
      fc.stringMatching(/^[a-z][a-z0-9_.-]{0,13}[a-z]$/),
      fc.integer({ min: 1280, max: 9000 }),
      fc.uint8Array({ minLength: 5, maxLength: 5 }),
      fc.uniqueArray(address, { maxLength: 8, selector: ({ address: ip }) => formatIp(ip) }),
      fc.uniqueArray(routed, {
        maxLength: 6,
        selector: ({ third, family }) => `${third} ${family}`,
      }),
      (name, mtu, tail, addresses, routes) => {
        const mac = [2, ...tail].map((byte) => byte.toString(16).padStart(2, '0')).join(':');
        route.run(newLink({ kind: 'bridge' }, { name, mac, mtu, up: true }));
        const link = route.link(name);
        assert.ok(link !== undefined);
        try {
          assert.deepEqual([link.name, link.mac, link.mtu, link.up], [name, mac, mtu, true]);
          route.run(...addresses.map((each) => addAddress(link.index, each)));
          const ways = routes.map(({ third, prefix, family }): Cidr => {
            const text =
              family === 4 ? `10.1.${third}.0/${prefix}` : `fd77:${third.toString(16)}::/64`;
            return cidr(text);
          });
          route.run(
            ...ways.map((destination) =>
              addRoute({ family: destination.address.family, link: link.index, destination }),
            ),
          );
          const [shown] = json<Shown[]>(`ip -j addr show dev ${name}`);
          assert.deepEqual([shown?.ifname, shown?.mtu, shown?.address], [name, mtu, mac]);
          const seen = (shown?.addr_info ?? []).map((each) => `${each.local}/${each.prefixlen}`);
          const expected = addresses.map(formatCidr);
          assert.deepEqual(
            seen.filter((each) => !each.startsWith('fe80:')).toSorted(),
            expected.toSorted(),
          );
          const read = route.addresses().filter(({ index }) => index === link.index);
          assert.deepEqual(read.map((each) => formatCidr(each.cidr)).toSorted(), seen.toSorted());
          const shownRoutes = ['-4', '-6'].flatMap((family) =>
            json<{ dst: string }[]>(`ip ${family} -j route show dev ${name}`).map(({ dst }) => dst),
          );
          for (const way of ways.map(formatCidr)) {
            assert.ok(
              shownRoutes.includes(way.replace(/\/32$/, '')),
              `${way} of ${shownRoutes.join()}`,
            );
          }
        } finally {
          route.run(deleteLink(link.index));
        }
      },
    ),
    { numRuns: 20 },
  );
});

test('tracked UDP flows are those of /proc/net/nf_conntrack, and those to a port are forgotten', async () => {
  run(
    'nft add table inet track; nft add chain inet track out { type filter hook output priority 0 \\; }; nft add rule inet track out ct state new accept',
  );
  const shown = (port: number): number =>
    run('cat /proc/net/nf_conntrack')
      .split('\n')
      .filter((line) => / udp /.test(line) && new RegExp(`^.*? dport=${port} `).test(line)).length;
  const sockets = Array.from({ length: 12 }, (_, i) =>
    dgram.createSocket(i % 3 === 0 ? 'udp6' : 'udp4'),
  );
  try {
    for (const [i, socket] of sockets.entries()) {
      const to = i % 3 === 0 ? '::1' : '127.0.0.1';
      for (const port of [7001, 7002]) {
        await new Promise((done) => socket.send('x', port, to, done));
      }
    }
    assert.deepEqual([shown(7001), shown(7002)], [12, 12]);
    using socket = new NetlinkSocket(sys, NETLINK.NETFILTER);
    const found = (family: 4 | 6, port?: number) => {
      const { type, payload } = getUdpFlows(family, port);
      return socket.dump(type, payload).filter((each) => udpPortOf(each) === 7001).length;
    };
    assert.deepEqual([found(4), found(6), found(4, 7001), found(6, 7001)], [8, 4, 8, 4]);
    assert.equal(found(4, 7002), 0, 'the kernel gives those to the port alone');
    await forgetUdpFlows(sys, 4, new Set([7001, 7003]));
    assert.deepEqual([shown(7001), shown(7002)], [4, 12]);
    await forgetUdpFlows(sys, 6, new Set([7001]));
    assert.deepEqual([shown(7001), shown(7002)], [0, 12]);
  } finally {
    for (const each of sockets) each.close();
    run('nft delete table inet track');
  }
});

test('a refusal carries its errno and the words of the kernel; the rest of the batch is known', () => {
  using route = new RouteSocket(sys);
  assert.throws(
    () => route.run(newLink({ kind: 'bridge' }, { name: 'lo' })),
    (error) => errnoOf(error) === 'EEXIST',
  );
  const gateway = parseIp('203.0.113.1');
  assert.ok(gateway !== undefined);
  assert.throws(
    () => route.run(addRoute({ family: 4, link: 1, gateway })),
    (error) =>
      errnoOf(error) === 'ENETUNREACH' && /Nexthop has invalid gateway/.test(String(error)),
  );
  assert.equal(route.link('nothere'), undefined);
  assert.equal(route.link('lo')?.index, 1, 'stale answers are not taken for new ones');
});

test('a dump larger than one datagram is whole', () => {
  using route = new RouteSocket(sys);
  const lo = route.link('lo');
  assert.ok(lo !== undefined);
  for (let i = 0; i < 600; i += 1) {
    route.run(addAddress(lo.index, cidr(`127.9.${i >> 8}.${i & 255}/32`)));
  }
  const found = route.addresses().filter((each) => formatCidr(each.cidr).startsWith('127.9.'));
  assert.equal(found.length, 600);
  for (const each of found) route.run(deleteAddress(lo.index, each.cidr));
});

test('a namespace is made, visited and dropped, and the thread is always back', () => {
  using folder = temporaryFolder('netns');
  const place = path.join(folder.path, 'netns');
  mkdirSync(place);
  using namespaces = new NetworkNamespaces(sys, place);
  const home = run('ip -br link');
  assert.throws(() => namespaces.create('bad', () => assert.fail('stop')), /stop/);
  assert.equal(run('ip -br link'), home);
  assert.ok(!existsSync(namespaces.pathOf('bad')), 'a failure leaves nothing');
  {
    using inside = namespaces.create('good', () => new RouteSocket(sys));
    assert.deepEqual(
      inside
        .links()
        .map((each) => each.name)
        .slice(0, 1),
      ['lo'],
    );
    inside.run(newLink({ kind: 'bridge' }, { name: 'inner' }));
  }
  assert.ok(namespaces.exists('good'));
  assert.doesNotMatch(run('ip -br link'), /inner/);
  assert.match(run('ip -br link', namespaces.pathOf('good')), /inner/);
  assert.throws(() => namespaces.enter('good', () => assert.fail('stop')), /stop/);
  assert.equal(run('ip -br link'), home);
  const fd = namespaces.open('good');
  closeSync(fd);
  assert.deepEqual(namespaces.list(), ['good']);
  namespaces.remove('good');
  namespaces.remove('good');
  assert.deepEqual(namespaces.list(), []);
});

const anyIp = (family: 4 | 6): fc.Arbitrary<Ip> =>
  fc
    .bigInt({ min: 0n, max: family === 4 ? 2n ** 32n - 1n : 2n ** 128n - 1n })
    .map((value) => ({ family, value }));

const port = fc.integer({ min: 1, max: 65_535 });
const rules = fc.uniqueArray(
  fc.constantFrom<4 | 6>(4, 6).chain((family) =>
    fc.record({
      protocol: fc.constantFrom(...PROTOCOLS),
      hostIp: fc.oneof(anyIp(family), fc.constant<Ip>({ family, value: 0n })),
      hostPort: port,
      containerIp: anyIp(family),
      containerPort: port,
    }),
  ),
  {
    maxLength: 12,
    selector: (each) => `${each.protocol} ${formatIp(each.hostIp)} ${each.hostPort}`,
  },
);

/** What `nft --json` shows of a map, as one text for each element. */
function elementsOf(table: string, map: string): string[] {
  type Shown = {
    nftables: { map?: { elem?: [{ concat: unknown[] }, { concat: unknown[] }][] } }[];
  };
  const shown = json<Shown>(`nft --json list map inet ${table} ${map}`);
  const elements = shown.nftables.flatMap((each) => each.map?.elem ?? []);
  return elements.map(([key, value]) => [...key.concat, ...value.concat].join(' ')).toSorted();
}

function textOf(rule: PortRule): string {
  const host = rule.hostIp.value === 0n ? [] : [formatIp(rule.hostIp)];
  const { protocol, hostPort, containerIp, containerPort } = rule;
  return [protocol, ...host, hostPort, formatIp(containerIp), containerPort].join(' ');
}

test('elements that are written are what nft(8) shows, as text and as messages', async () => {
  using nft = new NftSocket(sys);
  const table = 'coracle-elements';
  const maps = ['publish4', 'publish4-any', 'publish6', 'publish6-any'];
  const empty = { table, bridges: [], dropOtherForwarding: false };
  const check = (list: readonly PortRule[]): void => {
    for (const map of maps) {
      const expected = list.filter((each) => publishMap(each.hostIp) === map).map(textOf);
      assert.deepEqual(elementsOf(table, map), expected.toSorted());
    }
  };
  await fc.assert(
    fc.asyncProperty(rules, async (list) => {
      await runNft(renderRuleset({ ...empty, ports: list }));
      check(list);
      await runNft(renderRuleset({ ...empty, ports: [] }));
      const element = (each: PortRule) => ({
        protocol: each.protocol,
        hostPort: each.hostPort,
        ...(each.hostIp.value === 0n ? {} : { hostIp: each.hostIp }),
        target: { ip: each.containerIp, port: each.containerPort },
      });
      nft.run(list.map((each) => addElements(table, publishMap(each.hostIp), [element(each)])));
      check(list);
      nft.run(
        list.map((each) => {
          const { target: _target, ...key } = element(each);
          return deleteElements(table, publishMap(each.hostIp), [key]);
        }),
      );
      check([]);
    }),
    { numRuns: 15 },
  );
});

test('a batch is carried out wholly or not at all', async () => {
  using nft = new NftSocket(sys);
  const ip = parseIp('10.0.0.2');
  assert.ok(ip !== undefined);
  await runNft(
    renderRuleset({ table: 'atomic', bridges: [], ports: [], dropOtherForwarding: true }),
  );
  const good = { protocol: 'tcp' as const, hostPort: 80, target: { ip, port: 80 } };
  const before = nft.generation();
  assert.throws(
    () =>
      nft.run([
        addElements('atomic', 'publish4-any', [good]),
        deleteElements('atomic', 'publish4-any', [{ protocol: 'udp', hostPort: 1 }]),
      ]),
    (error) => errnoOf(error) === 'ENOENT',
  );
  assert.deepEqual(elementsOf('atomic', 'publish4-any'), []);
  nft.run([addElements('atomic', 'publish4-any', [good])]);
  assert.notEqual(nft.generation(), before);
  assert.ok(nft.tableUse('atomic') > 10);
  run('nft delete table inet atomic');
  assert.equal(nft.tableUse('atomic'), 0);
  await assert.rejects(runNft('nonsense'), /cannot write firewall rules: nft: .*syntax error/s);
});
