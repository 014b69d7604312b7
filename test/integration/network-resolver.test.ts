import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, type TestContext, test } from 'node:test';
import { CLONE, MS } from '../../src/kernel/constants.ts';
import { openSyscalls } from '../../src/kernel/ffi.ts';
import { endpointSettings, networkCreate } from '../../src/spec/docker/network.ts';
import { becomeHost, client, makeHost, run } from '../support/network-host.ts';
import { eventually, run as runProgram } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/**
 * Names between the engine and programs of others: dnsmasq as the host's resolver, dig and the C
 * library's resolver as clients in the container's namespace.
 */

const sys = openSyscalls();
const folder = temporaryFolder('resolver');
/** Plays the host's /etc/resolv.conf. */
const hostFile = path.join(folder.path, 'resolv.conf');

const emptyFile = path.join(folder.path, 'empty');

before(() => {
  becomeHost();
  writeFileSync(emptyFile, '');
  writeFileSync(hostFile, 'nameserver 10.53.0.1\nsearch corp.test\noptions timeout:1 attempts:2\n');
  sys.unshare(CLONE.NEWNS);
  sys.mount({ source: '', target: '/', flags: MS.REC | MS.PRIVATE, data: '' });
  sys.mount({ source: hostFile, target: '/etc/resolv.conf', flags: MS.BIND, data: '' });
  run('for i in 1 2; do ip addr add 10.53.0.$i/32 dev lo; done; ip addr add fd00:53::1/128 dev lo');
});
after(() => {
  sys.umount('/etc/resolv.conf');
  rmSync(folder.path, { recursive: true });
});

const TEXT = 'a long text '.repeat(20);

/** A real resolver on an address of the host; `host.corp.test` is the address given. */
async function startDnsmasq(t: TestContext, listen: string, answer: string): Promise<void> {
  const args = [
    ...['--no-daemon', '--no-resolv', '--no-hosts', `--conf-file=${emptyFile}`, '--pid-file='],
    ...['--bind-interfaces', `--listen-address=${listen}`, '--except-interface=cbr4'],
    ...['--local=/corp.test/', `--host-record=host.corp.test,${answer},fd00:53::7`],
    ...Array.from({ length: 6 }, (_, i) => `--txt-record=big.corp.test,${i} ${TEXT}`),
  ];
  const child = spawn('dnsmasq', args, { stdio: 'ignore' });
  t.after(() => child.kill('SIGKILL'));
  const command = `dig +short +time=1 +tries=1 @${listen} host.corp.test`;
  await eventually(async () => (await inside(undefined, command)).includes(answer), {
    what: `dnsmasq on ${listen}`,
  });
}

/** What a shell command says, in a namespace; this thread goes on serving meanwhile. */
async function inside(netns: string | undefined, command: string): Promise<string> {
  const words = ['sh', '-c', command];
  const ran =
    netns === undefined
      ? await runProgram('env', words)
      : await runProgram('nsenter', [`--net=${netns}`, ...words]);
  return ran.stdout.trim();
}

function body(given: object) {
  return networkCreate.decode(given, '');
}

/** What the C library makes of a name, with a container's resolv.conf. */
async function libc(
  netns: string | undefined,
  resolvConf: string,
  command: string,
): Promise<string> {
  const file = path.join(folder.path, `container-${randomBytes(4).toString('hex')}`);
  writeFileSync(file, resolvConf);
  const mounted = `mount --bind ${file} /etc/resolv.conf && ${command}`;
  return await inside(netns, `unshare --mount sh -c '${mounted}'`);
}

test('a real resolver is asked for the world, by UDP and TCP; real clients understand all of it', async (t) => {
  await startDnsmasq(t, '10.53.0.1', '198.51.100.7');
  const { networks } = await makeHost(t, '--bridge=cbr4').start();
  const config = [{ Subnet: 'fd00:1::/64' }];
  await networks.create(body({ Name: 'app', EnableIPv6: true, IPAM: { Config: config } }));
  const web = await networks.open(client('web', { mode: 'app' }));
  const asker = await networks.open(client('asker', { mode: 'app' }));
  const dig = (words: string) =>
    inside(asker.netnsPath, `dig +time=2 +tries=1 @127.0.0.11 ${words}`);
  const ip = web.endpoints['app']?.IPAddress ?? '';
  const ip6 = web.endpoints['app']?.GlobalIPv6Address ?? '';

  assert.equal(await dig('+short host.corp.test'), '198.51.100.7');
  assert.equal(await dig('+short host.corp.test AAAA'), 'fd00:53::7');
  assert.equal(await dig('+short +tcp host.corp.test'), '198.51.100.7');
  assert.match(await dig('nothing.corp.test'), /status: NXDOMAIN/);
  assert.match(await dig('+noedns +ignore big.corp.test TXT'), /flags: qr .*\btc\b/);
  assert.equal(
    (await dig('+noedns +short big.corp.test TXT')).split('\n').length,
    6,
    'then by TCP',
  );
  assert.equal((await dig('+bufsize=4096 +short big.corp.test TXT')).split('\n').length, 6);

  assert.equal(await dig('+short web'), ip);
  assert.equal(await dig('+short +tcp web AAAA'), ip6);
  assert.equal(await dig(`+short -x ${ip}`), 'web.app.');
  assert.equal(await dig(`+short -x ${ip6}`), 'web.app.');
  assert.match(await dig('web MX'), /status: NOERROR.*ANSWER: 0/s);
  assert.doesNotMatch(await dig('web ANY'), /malformed|bad packet|warning/i);
  assert.match(await dig('+opcode=update web'), /status: NOTIMP/);

  const lookUp = (command: string) => libc(asker.netnsPath, asker.resolvConf, command);
  assert.match(
    asker.resolvConf,
    /^search corp\.test\nnameserver 127\.0\.0\.11\noptions timeout:1 attempts:2 ndots:0\n$/,
  );
  assert.match(
    await lookUp('getent ahostsv4 web'),
    new RegExp(`^${ip.replaceAll('.', '\\.')} +STREAM web`),
  );
  assert.match(await lookUp('getent ahostsv6 web'), new RegExp(`^${ip6} +STREAM web`));
  assert.match(
    await lookUp('getent ahostsv4 host'),
    /^198\.51\.100\.7 +STREAM host\.corp\.test/,
    'the search list',
  );
  assert.match(await lookUp(`getent hosts ${ip}`), /web\.app$/m);
});

test('whatever the alias, dig finds it', async (t) => {
  const { networks } = await makeHost(t, '--bridge=cbr4', '--dns=10.53.0.99').start();
  await networks.create(body({ Name: 'app' }));
  const letters = 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_';
  const label = (length: number) =>
    [...randomBytes(length)]
      .map((byte) => letters[byte % letters.length])
      .join('')
      .replace(/^-/, 'x');
  const aliases = Array.from({ length: 80 }, (_, i) =>
    i % 4 === 0 ? `${label(1 + (i % 63))}.${label(12)}` : label(1 + ((i * 7) % 63)),
  );
  const endpoints = { app: endpointSettings.decode({ Aliases: aliases }, '') };
  const open = await networks.open(client('many', { mode: 'app', endpoints }));
  const list = path.join(folder.path, 'names');
  // A bare `a` would be a type to dig.
  writeFileSync(list, aliases.map((alias) => `-q ${alias}\n`).join(''));
  const found = await inside(open.netnsPath, `dig +short +time=2 +tries=1 @127.0.0.11 -f ${list}`);
  const ip = open.endpoints['app']?.IPAddress ?? '';
  assert.deepEqual(
    found.split('\n'),
    aliases.map(() => ip),
  );
});

test("the host's resolv.conf may change: running containers ask the new server, new ones are told", async (t) => {
  await startDnsmasq(t, '10.53.0.1', '198.51.100.7');
  await startDnsmasq(t, '10.53.0.2', '198.51.100.8');
  await startDnsmasq(t, '127.0.0.53', '198.51.100.9');
  const { networks } = await makeHost(t, '--bridge=cbr4', '--host-gateway-ip=10.53.0.2').start();
  await networks.create(body({ Name: 'app' }));
  const running = await networks.open(client('running', { mode: 'app' }));
  const before = await networks.open(client('before'));
  assert.match(before.resolvConf, /^nameserver 10\.53\.0\.1$/m);
  const resolved = () => inside(running.netnsPath, 'dig +short @127.0.0.11 host.corp.test');
  assert.equal(await resolved(), '198.51.100.7');

  writeFileSync(hostFile, 'nameserver 10.53.0.2\nsearch other.test\n');
  await eventually(async () => (await resolved()) === '198.51.100.8', { what: 'the new server' });
  const next = await networks.open(client('next'));
  assert.equal(next.resolvConf, 'search other.test\nnameserver 10.53.0.2\n');
  const wishes = { dns: ['192.0.2.1'], dnsSearch: ['.'], dnsOptions: ['rotate'] };
  const own = await networks.open(client('own', { ...wishes, extraHosts: ['up:host-gateway'] }));
  assert.equal(own.resolvConf, 'nameserver 192.0.2.1\noptions rotate\n');
  assert.match(own.hosts, /^10\.53\.0\.2\tup$/m);

  await startDnsmasq(t, 'fd00:53::1', '198.51.100.10');
  writeFileSync(hostFile, 'nameserver FD00:53:0:0::0001\n');
  await eventually(async () => (await resolved()) === '198.51.100.10', { what: 'IPv6' });

  // A stub on the loopback: the engine asks it from the host; a container by itself cannot.
  writeFileSync(hostFile, 'nameserver 127.0.0.53\n');
  await eventually(async () => (await resolved()) === '198.51.100.9', {
    what: 'the stub on the loopback',
  });
  const last = await networks.open(client('last'));
  assert.equal(last.resolvConf, 'nameserver 8.8.8.8\nnameserver 8.8.4.4\n');
});
