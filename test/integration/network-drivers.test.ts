import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync, mkdirSync } from 'node:fs';
import { before, describe, test } from 'node:test';
import { isEngineError } from '../../src/base/errors.ts';
import { silentLogger } from '../../src/base/log.ts';
import { bridgeDriver } from '../../src/engine/networks/drivers/bridge.ts';
import type { Driver, DriverContext, Namespace } from '../../src/engine/networks/drivers/driver.ts';
import { hostDriver } from '../../src/engine/networks/drivers/host.ts';
import { ipvlanDriver } from '../../src/engine/networks/drivers/ipvlan.ts';
import { macvlanDriver } from '../../src/engine/networks/drivers/macvlan.ts';
import { noneDriver } from '../../src/engine/networks/drivers/none.ts';
import { joinNetwork } from '../../src/engine/networks/namespace-links.ts';
import { type Endpoint, Network } from '../../src/engine/networks/network.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { NetworkNamespaces } from '../../src/kernel/netns.ts';
import { RouteSocket } from '../../src/kernel/route-socket.ts';
import { endpointSettings } from '../../src/spec/docker/network.ts';
import { becomeHost, run } from '../support/network-host.ts';
import { temporaryFolder } from '../support/temp.ts';

/** What every driver owes, tried on each of them. */

const sys = openSyscalls();
const NETWORK_ID = 'ab'.repeat(32);

before(becomeHost);

function network(driver: string, options: Record<string, string>): Network {
  return new Network(NETWORK_ID, 'suite', {
    created: '2024-01-01T00:00:00Z',
    driver,
    enableIPv4: true,
    enableIPv6: true,
    internal: false,
    attachable: false,
    ipamDriver: 'default',
    ipamOptions: null,
    subnets: [
      { subnet: '10.55.0.0/24', range: '', gateway: '10.55.0.1', auxiliary: {}, configured: true },
      { subnet: 'fd55::/64', range: '', gateway: 'fd55::1', auxiliary: {}, configured: true },
    ],
    options,
    labels: {},
    linkIsForeign: driver !== 'bridge',
  });
}

function endpoint(number: number, hostLink: string): Endpoint {
  return {
    id: String(number).repeat(64),
    networkId: NETWORK_ID,
    containerId: String(number).repeat(64),
    containerName: `c${number}`,
    hostname: '',
    link: 'eth0',
    hostLink,
    mac: `02:42:0a:37:00:0${number}`,
    ipv4: { address: `10.55.0.${number}`, prefix: 24, gateway: '10.55.0.1' },
    ipv6: { address: `fd55::${number}`, prefix: 64, gateway: 'fd55::1' },
    wish: endpointSettings.zero(),
  };
}

function contextOf(route: RouteSocket): DriverContext {
  const random = { bytes: (n: number) => randomBytes(n) };
  return { sys, route, log: silentLogger, random, defaultMtu: () => 1450 };
}

const DRIVERS: Readonly<Record<string, (context: DriverContext) => Driver>> = {
  bridge: bridgeDriver,
  macvlan: macvlanDriver,
  ipvlan: ipvlanDriver,
  host: hostDriver,
  null: noneDriver,
};

for (const [name, make] of Object.entries(DRIVERS)) {
  describe(`the ${name} driver`, () => {
    test('makes a network, joins and leaves, restores, and leaves nothing', async (t) => {
      using folder = temporaryFolder('drivers');
      mkdirSync(`${folder.path}/netns`);
      using namespaces = new NetworkNamespaces(sys, `${folder.path}/netns`);
      using route = new RouteSocket(sys);
      run('ip link add par0 type veth peer name par1; ip link set par0 up; ip link set par1 up');
      t.after(() => run('ip link del par0'));
      const links = () => route.links().map((each) => each.name);
      const before = links();
      const driver = make(contextOf(route));
      const net = network(name, { parent: 'par0' });
      try {
        driver.create(net);
      } catch (error) {
        assert.ok(isEngineError(error, 'notImplemented'), String(error));
        assert.match(error.message, /^cannot make a \w+ network: this kernel has no \w+ driver/);
        assert.deepEqual(links(), before, 'a refusal makes nothing');
        return;
      }
      driver.restore(net, []);
      driver.restore(net, []);
      if (driver.hasLinks) await joinAndLeave(driver, net, namespaces);
      await driver.remove(net);
      await driver.remove(net);
      assert.deepEqual(links(), before);
    });
  });
}

async function joinAndLeave(
  driver: Driver,
  net: Network,
  namespaces: NetworkNamespaces,
): Promise<void> {
  const inside = namespaces.create('one', () => new RouteSocket(sys));
  const fd = namespaces.open('one');
  const namespace: Namespace = {
    fd,
    inside,
    enter: (body) => namespaces.enter('one', body),
  };
  try {
    const one = endpoint(2, net.driver === 'bridge' ? 'vethsuite2' : '');
    joinNetwork(driver, net, one, namespace);
    const link = inside.link('eth0');
    assert.ok(link?.up === true);
    if (net.driver !== 'ipvlan') assert.equal(link.mac, one.mac);
    const addresses = run('ip -o addr show eth0', namespaces.pathOf('one'));
    assert.match(addresses, /inet 10\.55\.0\.2\/24/);
    assert.match(addresses, /inet6 fd55::2\/64/);
    driver.restore(net, [one]);
    assert.ok(inside.link('eth0') !== undefined, 'a restore keeps what is there');
    await driver.leave(net, one, namespace);
    assert.equal(inside.link('eth0'), undefined);
    joinNetwork(driver, net, one, namespace);
    assert.ok(inside.link('eth0') !== undefined, 'and may join again');
    await driver.leave(net, one, namespace);
  } finally {
    inside[Symbol.dispose]();
    closeSync(fd);
    namespaces.remove('one');
  }
}
