import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { networkCreate } from '../../src/spec/docker/network.ts';
import { becomeHost, client, makeHost, Peer, run } from '../support/network-host.ts';

before(becomeHost);

const DNS = '127.0.0.11';
const published = { '80/tcp': [{ HostIp: '', HostPort: '8070' }] };

function body(given: object) {
  return networkCreate.decode(given, '');
}

test('a new daemon takes over what runs: connections, ports, names and addresses', async (t) => {
  const host = makeHost(t, '--bridge=cbr2');
  const first = await host.start();
  await first.networks.create(body({ Name: 'app' }));
  const web = client('web', { mode: 'app', portBindings: published });
  const asker = client('asker', { mode: 'app' });
  const gone = client('gone', { mode: 'app' });
  const [webOpen, askerOpen] = [await first.networks.open(web), await first.networks.open(asker)];
  const goneOpen = await first.networks.open(gone);
  const [inWeb, inAsker, here] = [
    new Peer(t, webOpen.netnsPath),
    new Peer(t, askerOpen.netnsPath),
    new Peer(t),
  ];
  await inWeb.serve(80, 'web');
  assert.match(await here.do({ op: 'open', ip: '127.0.0.1', port: 8070 }), /^web /);

  await first.stop();
  assert.equal(await here.do({ op: 'say', text: 'a' }), 'echo a', 'without a daemon');
  const second = await host.start([web, asker]);
  assert.equal(await here.do({ op: 'say', text: 'b' }), 'echo b');
  assert.match(await here.ask('127.0.0.1', 8070), /^web /);
  await assert.rejects(here.serve(8070, 'thief'), /EADDRINUSE/);
  const found = await inAsker.do<string[]>({ op: 'resolve', name: 'web', type: 'A', server: DNS });
  assert.deepEqual(found, [webOpen.endpoints['app']?.IPAddress]);
  assert.deepEqual(second.networks.find(web.id), webOpen);
  assert.deepEqual(await second.networks.open(web), webOpen, 'open is idempotent');
  assert.ok(!existsSync(goneOpen.netnsPath ?? ''), 'a container that is gone keeps nothing');
  const next = await second.networks.open(client('next', { mode: 'app' }));
  assert.equal(next.endpoints['app']?.IPAddress, goneOpen.endpoints['app']?.IPAddress);

  await second.networks.close(web.id);
  await assert.rejects(here.ask('127.0.0.1', 8070, 'tcp', 300), /ECONNREFUSED/);
});

test('who is in the network of another is taken over, also when that has ended', async (t) => {
  const host = makeHost(t, '--bridge=cbr2');
  const first = await host.start();
  const donor = client('donor', { mode: 'bridge' });
  const borrower = client('borrower', { mode: `container:${donor.id}` });
  const third = client('third', { mode: `container:${borrower.id}` });
  const { netnsPath } = await first.networks.open(donor);
  for (const each of [borrower, third]) await first.networks.open(each);
  await first.stop();
  const second = await host.start([third, borrower, donor]);
  for (const each of [borrower, third]) {
    assert.equal(second.networks.find(each.id)?.netnsPath, netnsPath);
  }
  await second.stop();
  const later = await host.start([third, borrower]);
  assert.ok(!existsSync(netnsPath ?? ''));
  for (const each of [third, borrower]) {
    assert.deepEqual(later.networks.find(each.id)?.endpoints, {});
    await later.networks.close(each.id);
    assert.equal(later.networks.find(each.id), undefined);
  }
});

test('a container that took the ports of its DNS server keeps no daemon from starting', async (t) => {
  const host = makeHost(t, '--bridge=cbr2');
  const first = await host.start();
  await first.networks.create(body({ Name: 'app' }));
  const thief = client('thief', { mode: 'app' });
  const open = await first.networks.open(thief);
  const inThief = new Peer(t, open.netnsPath);
  const state = JSON.parse(readFileSync(`${open.netnsPath}.json`, 'utf8'));
  await first.stop();
  await inThief.serve(state.dns.tcp, 'mine');
  const second = await host.start([thief]);
  assert.deepEqual(second.networks.find(thief.id), open);
  await second.networks.close(thief.id);
});

test('networks and their subnets survive, and are not written again', async (t) => {
  const host = makeHost(t, '--bridge=cbr2');
  const first = await host.start();
  await first.networks.create(body({ Name: 'kept', Labels: { a: 'b' } }));
  const before = first.store.networks.list();
  await first.stop();
  run('ip link del cbr2; nft flush ruleset');
  const second = await host.start();
  assert.deepEqual(second.store.networks.list(), before);
  const open = await second.networks.open(client('c', { portBindings: published }));
  const [here, inside] = [new Peer(t), new Peer(t, open.netnsPath)];
  await inside.serve(80, 'c');
  assert.match(await here.ask('127.0.0.1', 8070), /^c /, 'bridge and rules were made again');
});

test('a firewall that is flushed is repaired, and rules of the user stay', async (t) => {
  const host = makeHost(t, '--bridge=cbr2');
  const { networks, log } = await host.start();
  const open = await networks.open(client('c', { portBindings: published }));
  const [here, inside] = [new Peer(t), new Peer(t, open.netnsPath)];
  await inside.serve(80, 'c');
  const table = run('nft list tables').match(/inet (coracle-[0-9a-f]+)/)?.[1] ?? '';
  run(`nft add rule inet ${table} coracle-user ip saddr 203.0.113.0/24 drop`);
  await networks.create(body({ Name: 'more' }));
  assert.match(run(`nft list chain inet ${table} coracle-user`), /203\.0\.113\.0\/24 drop/);
  run('nft flush ruleset');
  for (let i = 0; i < 40 && !run('nft list tables').includes(table); i += 1) await sleep(250);
  assert.match(await here.ask('127.0.0.1', 8070), /^c /);
  assert.match(log.join('\n'), /somebody changed the firewall table/);
});

for (const iptables of ['iptables-nft', 'iptables-legacy']) {
  test(`a host whose ${iptables} drops what is forwarded lets containers through`, async (t) => {
    try {
      run(`${iptables} -P FORWARD DROP`);
    } catch {
      t.skip(`this kernel has no ${iptables}`);
      return;
    }
    t.after(() => run(`${iptables} -P FORWARD ACCEPT; ${iptables} -F; ${iptables} -X`));
    const host = makeHost(t, '--bridge=cbr2');
    const { networks } = await host.start();
    await networks.create(body({ Name: 'a' }));
    await networks.create(body({ Name: 'b' }));
    const open = await networks.open(client('c', { mode: 'a', portBindings: published }));
    const other = await networks.open(client('d', { mode: 'b' }));
    const [inside, beside] = [new Peer(t, open.netnsPath), new Peer(t, other.netnsPath)];
    await inside.serve(80, 'c');
    assert.match(await beside.ask(other.endpoints['b']?.Gateway ?? '', 8070), /^c /);
    const ip = open.endpoints['a']?.IPAddress ?? '';
    await assert.rejects(beside.ask(ip, 80, 'tcp', 300), /timed out/, 'our own rules hold');
    const rules = () => run(`${iptables} -S`);
    assert.equal(rules().match(/^-A FORWARD -j CORACLE-[0-9A-F]{8}$/gm)?.length, 1);
    await networks.create(body({ Name: 'c' }));
    assert.equal(rules().match(/^-A CORACLE-.* -i /gm)?.length, 4);
  });
}

test('--iptables=false leaves the firewall alone', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr2', '--iptables=false').start();
  await networks.open(client('c', { portBindings: published }));
  assert.equal(run('nft list ruleset'), '');
});

test('questions for the world go to the resolvers, which may fail, lie or be silent', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr2').start();
  await networks.create(body({ Name: 'app' }));
  // The resolver answers from a socket of this thread, which is the host's.
  const asked: string[] = [];
  const resolver = dgram.createSocket('udp4');
  t.after(() => resolver.close());
  resolver.on('message', (query, from) => {
    asked.push(query.toString('latin1', 13, 13 + (query[12] ?? 0)));
    const answer = Buffer.concat([
      query.subarray(0, 2),
      Buffer.from([0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]),
      query.subarray(12, query.indexOf(0, 12) + 5),
      Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 198, 51, 100, 7]),
    ]);
    const forged = Buffer.from(answer);
    forged.writeUInt16BE(forged.readUInt16BE(0) ^ 1, 0);
    forged.writeUInt8(66, forged.length - 1);
    resolver.send(forged, from.port, from.address);
    resolver.send(answer, from.port, from.address);
  });
  await new Promise<void>((done) => resolver.bind(53, '127.0.0.53', done));
  const c = client('c', { mode: 'app', dns: ['127.0.0.52', '127.0.0.53'] });
  const open = await networks.open(c);
  const inside = new Peer(t, open.netnsPath);
  const resolve = (name: string) =>
    inside.do<string[]>({ op: 'resolve', name, type: 'A', server: DNS });
  assert.deepEqual(await resolve('first.example'), ['198.51.100.7'], 'the second resolver');
  assert.deepEqual(await resolve('FIRST.example'), ['198.51.100.7']);
  assert.deepEqual(asked, ['first'], 'the second time from the cache');
  const beganMs = performance.now();
  await resolve('other.example');
  assert.ok(performance.now() - beganMs < 1500, 'a silent resolver is not waited for again');
});

test('the hosts file of a linked container follows, and files that are mounted change in place', async (t) => {
  const host = makeHost(t, '--bridge=cbr2', '--bip=172.31.8.1/24');
  const { networks } = await host.start();
  await assert.rejects(
    networks.open(client('web', { links: ['/db:/web/database'] })),
    /Cannot link to a non running container: \/db AS \/web\/database/,
  );
  const db = client('db');
  await networks.open(db);
  const web = client('web', { links: ['/db:/web/database'], extraHosts: ['up:host-gateway'] });
  const open = await networks.open(web);
  assert.match(open.hosts, /^172\.31\.8\.1\tup$/m);
  assert.ok(open.hosts.includes(`172.31.8.2\tdatabase ${db.id.slice(0, 12)} db\n`));
  const file = path.join(host.execRoot.containers, web.id, 'hosts');
  run(`mkdir -p ${path.dirname(file)}`);
  writeFileSync(file, open.hosts);
  await networks.close(db.id);
  await networks.open(client('taker'));
  await networks.open(db);
  assert.ok(run(`cat ${file}`).includes('172.31.8.4\tdatabase'));
  const shared = await networks.open(client('side', { mode: `container:${web.id}` }));
  assert.equal(shared.netnsPath, open.netnsPath);
  assert.deepEqual([shared.endpoints, shared.ports], [{}, {}]);
  await assert.rejects(
    networks.open(client('lost', { mode: 'container:nobody' })),
    /cannot join network of a non running container: nobody/,
  );
});
