import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { cpSync, existsSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { CLONE, MNT, MS } from '../../src/kernel/constants.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { networkCreate } from '../../src/spec/docker/network.ts';
import { becomeHost, client, makeHost, Peer, run } from '../support/network-host.ts';
import { eventually, run as runProgram } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';
import { CHECKOUT } from '../support/tools.ts';

/** Hosts with a firewall of somebody else, which drops what it does not know. */

const sys = openSyscalls();

/** Files of the machine may be changed: a test's changes are its own, and gone with it. */
const changes = temporaryFolder('changes');

before(() => {
  becomeHost();
  sys.unshare(CLONE.NEWNS);
  sys.mount({ source: '', target: '/', flags: MS.REC | MS.PRIVATE, data: '' });
  for (const folder of ['/etc', '/usr/lib']) {
    const [upper, work] = ['upper', 'work'].map((each) => path.join(changes.path, folder, each));
    run(`mkdir -p ${upper} ${work}`);
    const data = `lowerdir=${folder},upperdir=${upper},workdir=${work}`;
    sys.mount({ source: 'overlay', target: folder, type: 'overlay', flags: 0, data });
  }
});
after(() => {
  for (const folder of ['/etc', '/usr/lib']) sys.umount(folder, MNT.DETACH);
  changes[Symbol.dispose]();
});

const published = { '80/tcp': [{ HostIp: '', HostPort: '8080' }] };

/** Another machine, `10.83.0.2`. */
function neighbour(t: TestContext): Peer {
  // Names of namespaces are the whole machine's.
  const name = `lan-${process.pid}`;
  run(`ip netns add ${name}; ip link add lanfw type veth peer name eth0 netns ${name}
    ip addr add 10.83.0.1/24 dev lanfw; ip link set lanfw up
    ip -n ${name} addr add 10.83.0.2/24 dev eth0; ip -n ${name} link set eth0 up
    ip -n ${name} route add default via 10.83.0.1`);
  t.after(() => run(`ip link del lanfw; ip netns del ${name}`));
  return new Peer(t, `/run/netns/${name}`);
}

/** What has to work whatever the host's firewall: ways in by published ports, out, and no others. */
async function containersWork(t: TestContext, near: Peer): Promise<() => Promise<void>> {
  const { networks } = await makeHost(t, '--bridge=cbr6').start();
  await networks.create(networkCreate.decode({ Name: 'a' }, ''));
  const web = await networks.open(client('web', { mode: 'a', portBindings: published }));
  const inside = new Peer(t, web.netnsPath);
  await inside.serve(80, 'web');
  await near.serve(80, 'near');
  const waysAreOpen = async (): Promise<void> => {
    assert.match(await near.ask('10.83.0.1', 8080), /^web /, 'the published port');
    assert.match(await inside.ask('10.83.0.2', 80), /^near .*10\.83\.0\.1$/, 'the way out');
  };
  await waysAreOpen();
  const ip = web.endpoints['a']?.IPAddress ?? '';
  await assert.rejects(near.ask(ip, 80, 'tcp', 400), /timed out/, 'past the published ports');
  return waysAreOpen;
}

/** As soon as the engine has noticed that another's rules changed. */
async function soon(check: () => Promise<void>): Promise<void> {
  const works = () =>
    check().then(
      () => true,
      () => false,
    );
  await eventually(works, { what: 'the ways to be open again', timeoutMs: 20_000 });
}

test('a host with ufw, which denies what comes in and is forwarded', async (t) => {
  const near = neighbour(t);
  run('ufw --force enable');
  t.after(() => run('ufw --force disable; nft flush ruleset'));
  assert.match(run('iptables -S FORWARD'), /^-P FORWARD DROP$/m);
  const waysAreOpen = await containersWork(t, near);
  run('ufw reload');
  await soon(waysAreOpen);
  run('ufw --force disable; ufw --force enable');
  await soon(waysAreOpen);
  assert.match(run('ufw status'), /Status: active/);
});

/** A message bus for one test, on which all may speak to all. */
function busConfiguration(socket: string): string {
  return `<busconfig><type>system</type><listen>unix:path=${socket}</listen>
    <policy context="default"><allow user="*"/><allow own="*"/><allow eavesdrop="true"/>
      <allow send_destination="*" eavesdrop="true"/></policy></busconfig>`;
}

/** firewalld, unpacked by script/setup, on a message bus of its own. */
async function startFirewalld(t: TestContext): Promise<void> {
  const unpacked = path.join(CHECKOUT, '.cache/debian');
  for (const each of ['etc/firewalld', 'usr/lib/firewalld', 'usr/lib/python3/dist-packages']) {
    cpSync(path.join(unpacked, each), path.join('/', each), { recursive: true });
  }
  const bus = path.join(changes.path, 'bus');
  const configuration = path.join(changes.path, 'bus.conf');
  writeFileSync(configuration, busConfiguration(bus));
  process.env['DBUS_SYSTEM_BUS_ADDRESS'] = `unix:path=${bus}`;
  process.env['PATH'] += `:${path.join(unpacked, 'usr/bin')}:/usr/sbin`;
  const start = (command: string, ...args: string[]): void => {
    const child = spawn(command, args, { stdio: 'ignore' });
    t.after(() => child.kill('SIGKILL'));
  };
  start('dbus-daemon', `--config-file=${configuration}`, '--nofork');
  await eventually(async () => existsSync(bus), { what: 'the message bus' });
  start('/usr/bin/python3', path.join(unpacked, 'usr/sbin/firewalld'), '--nofork', '--nopid');
  const runs = async () => (await runProgram('firewall-cmd', ['--state'])).stdout === 'running\n';
  await eventually(runs, { what: 'firewalld', timeoutMs: 20_000 });
}

test('a host with firewalld, which rejects what comes in and is forwarded', async (t) => {
  const near = neighbour(t);
  await startFirewalld(t);
  t.after(() => run('nft flush ruleset'));
  assert.match(run('nft list chain inet firewalld filter_FORWARD'), /reject with icmpx/);
  const waysAreOpen = await containersWork(t, near);
  assert.match(run('firewall-cmd --zone=trusted --list-interfaces'), /\bcbr6\b/);
  run('firewall-cmd --complete-reload');
  await soon(waysAreOpen);
});
