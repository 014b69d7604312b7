import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import path from 'node:path';
import { after, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { silentLogger } from '../../src/base/log.ts';
import { createWorkers } from '../../src/worker/workers.ts';
import { daemonCommand, startDaemon, TestDaemon } from '../support/daemon.ts';
import { mountsBelow } from '../support/mounts.ts';
import { eventually, freePort, run } from '../support/processes.ts';
import { CHECKOUT } from '../support/tools.ts';

const [command, ...leading] = daemonCommand();

/** Runs the daemon with flags that end it at once. */
function tryDaemon(...flags: string[]) {
  return run(command, [...leading, ...flags]);
}

test('help, version and validate answer and end', async () => {
  const help = await tryDaemon('--help');
  assert.match(help.stdout, /Usage: {2}coracled \[OPTIONS\]/);
  assert.equal(help.code, 0);
  assert.match((await tryDaemon('-v')).stdout, /^Coracle version \d+\.\d+\.\d+, build \S+\n$/);
  assert.equal((await tryDaemon('--validate')).stdout, 'configuration OK\n');
});

test('its workers start where its program is a copy called coracled, and no link', async () => {
  const command = {
    command: process.execPath,
    args: [
      '--disable-warning=ExperimentalWarning',
      path.join(CHECKOUT, 'build/main.cjs'),
      'worker',
    ],
    env: { ...process.env, CORACLE_ARGV0: 'coracled' },
  };
  const workers = createWorkers(command, silentLogger);
  const signal = AbortSignal.timeout(20_000);
  await using job = await workers.start('usage', { layers: '/', images: [] }, { signal });
  assert.deepEqual(await job.result, { totalBytes: 0, uniqueBytes: [] });
  await workers.close();
});

test('a flag, a value or a file that is wrong is one sentence and exit 1', async () => {
  const cases = [
    [['--bogus'], "unknown flag: --bogus\nSee 'coracled --help'.\n"],
    [['--dns', 'nowhere'], 'dns: nowhere is not an ip address\n'],
    [
      ['--config-file', '/nonexistent.json'],
      'unable to configure the Docker daemon with file /nonexistent.json: open /nonexistent.json: no such file or directory\n',
    ],
  ] as const;
  for (const [flags, message] of cases) {
    assert.deepEqual(await tryDaemon(...flags), { code: 1, stdout: '', stderr: message });
  }
});

test('it starts, answers, stops at SIGTERM, and leaves no mount, socket, PID file or process', async () => {
  await using daemon = new TestDaemon();
  await daemon.start();
  const { pid } = daemon;
  assert.equal(readFileSync(path.join(daemon.folder, 'pid'), 'utf8').trim(), String(pid));
  const { mode } = statSync(daemon.socket);
  assert.equal(mode & 0o777, 0o660);
  const ping = await daemon.api('GET', '/_ping');
  assert.deepEqual([ping.status, ping.text], [200, 'OK']);
  assert.equal(await daemon.stop(), 0);
  assert.equal(existsSync(daemon.socket), false);
  assert.equal(existsSync(path.join(daemon.folder, 'pid')), false);
  assert.deepEqual(mountsBelow(daemon.dataRoot, daemon.execRoot), []);
  assert.equal(existsSync(`/proc/${pid}`), false);
});

test('a second daemon on the same data root, socket or PID file refuses with one sentence', async () => {
  await using daemon = await startDaemon();
  await using other = new TestDaemon();
  const flags = (data: string, host: string, pidfile: string): string[] => [
    ...['--data-root', data, '--exec-root', other.execRoot, '--host', host, '--pidfile', pidfile],
    ...['--bridge', other.bridge],
  ];
  const pid = path.join(other.folder, 'pid');
  const cases = [
    [flags(daemon.dataRoot, other.host, pid), /^cannot use the data root .* PID \d+ uses it/],
    [flags(other.dataRoot, daemon.host, pid), /^cannot listen on unix:.*another process serves it/],
    [
      flags(other.dataRoot, other.host, path.join(daemon.folder, 'pid')),
      /^cannot use the PID file .* is still running/,
    ],
  ] as const;
  for (const [args, message] of cases) {
    const { code, stderr } = await tryDaemon(...args);
    assert.equal(code, 1);
    const last = stderr.trimEnd().split('\n').at(-1) ?? '';
    assert.match(last, message);
  }
  assert.equal((await daemon.api('GET', '/_ping')).status, 200);
});

test('after SIGKILL the next start takes over locks, PID file and socket', async () => {
  await using daemon = await startDaemon();
  await daemon.stop('SIGKILL');
  assert.ok(existsSync(daemon.socket));
  await daemon.start();
  assert.equal((await daemon.api('GET', '/_ping')).status, 200);
});

test('SIGHUP reloads what may change, and a bad file changes nothing', async () => {
  await using daemon = await startDaemon({ config: { labels: ['color=red'] } });
  const labels = async (): Promise<unknown> =>
    ((await daemon.json('GET', '/info')) as { Labels: unknown }).Labels;
  assert.deepEqual(await labels(), ['color=red']);
  daemon.configure({ labels: ['color=blue'], mtu: 1400 });
  daemon.signal('SIGHUP');
  await eventually(async () => JSON.stringify(await labels()) === '["color=blue"]');
  assert.match(daemon.log(), /wait for a restart of the daemon" options=mtu/);
  daemon.configure({ labels: 5 });
  daemon.signal('SIGHUP');
  await eventually(() => daemon.log().includes('cannot reload the configuration'));
  assert.deepEqual(await labels(), ['color=blue']);
});

test('it serves a socket that systemd opened, and says when it is ready and stops', async () => {
  await using daemon = new TestDaemon();
  // A service manager in small: opens the API socket and the notification socket.
  const manager = spawn('python3', ['-c', MANAGER, daemon.folder, command, ...leading], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: {
      ...process.env,
      FLAGS: JSON.stringify([
        ...['--data-root', daemon.dataRoot, '--exec-root', daemon.execRoot, '--host', 'fd://'],
        ...['--pidfile', path.join(daemon.folder, 'pid'), '--bridge', daemon.bridge],
      ]),
    },
  });
  after(() => manager.kill('SIGKILL'));
  let said = '';
  manager.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await eventually(() => said.includes('READY=1'), { what: 'READY=1', timeoutMs: 20_000 });
  assert.equal((await daemon.api('GET', '/_ping')).text, 'OK');
  await eventually(() => said.includes('WATCHDOG=1'), { what: 'WATCHDOG=1' });
  manager.stdin.end();
  await eventually(() => said.includes('exit 0'), { what: 'the end', timeoutMs: 20_000 });
  assert.match(said, /STOPPING=1/);
});

const MANAGER = `
import json, os, socket, subprocess, sys, threading
folder, command, leading = sys.argv[1], sys.argv[2], sys.argv[3:]
api = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
api.bind(folder + '/api.sock'); api.listen(16)
notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
notify.bind(folder + '/notify')
def listen():
    while True: print(notify.recv(4096).decode(), flush=True)
threading.Thread(target=listen, daemon=True).start()
argv = [command] + leading + json.loads(os.environ['FLAGS'])
pid = os.fork()
if pid == 0:
    os.dup2(api.fileno(), 3)
    if api.fileno() == 3: os.set_inheritable(3, True)
    env = dict(os.environ, LISTEN_PID=str(os.getpid()), LISTEN_FDS='1',
        NOTIFY_SOCKET=folder + '/notify', WATCHDOG_USEC='400000')
    os.execve(argv[0], argv, env)
sys.stdin.read()
os.kill(pid, 15)
_, status = os.waitpid(pid, 0)
print('exit', os.WEXITSTATUS(status) if os.WIFEXITED(status) else status, flush=True)
`;

test('fd:// without a socket from systemd is one sentence', async () => {
  await using daemon = new TestDaemon();
  const { code, stderr } = await tryDaemon(
    ...['--data-root', daemon.dataRoot, '--exec-root', daemon.execRoot, '--host', 'fd://'],
    ...['--pidfile', '', '--bridge', daemon.bridge],
  );
  assert.equal(code, 1);
  assert.match(
    stderr.trimEnd().split('\n').at(-1) ?? '',
    /^no sockets found via socket activation/,
  );
});

async function certificates(folder: string): Promise<void> {
  const openssl = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await run('openssl', args, { cwd: folder });
    assert.equal(code, 0, stderr);
  };
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes'];
  for (const ca of ['ca', 'stranger-ca']) {
    await openssl(
      'req',
      '-x509',
      ...key,
      '-keyout',
      `${ca}-key.pem`,
      '-out',
      `${ca}.pem`,
      '-subj',
      `/CN=${ca}`,
      '-days',
      '2',
    );
  }
  writeFileSync(path.join(folder, 'san'), 'subjectAltName=IP:127.0.0.1,DNS:localhost\n');
  for (const [name, ca] of [
    ['server', 'ca'],
    ['client', 'ca'],
    ['stranger', 'stranger-ca'],
  ] as const) {
    await openssl(
      'req',
      ...key,
      '-keyout',
      `${name}-key.pem`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${name}`,
    );
    await openssl(
      ...['x509', '-req', '-in', `${name}.csr`, '-CA', `${ca}.pem`, '-CAkey', `${ca}-key.pem`],
      ...['-CAcreateserial', '-days', '2', '-extfile', 'san', '-out', `${name}-cert.pem`],
    );
  }
}

test('over TCP with --tlsverify only clients with a certificate of the authority get an answer', async () => {
  await using daemon = new TestDaemon();
  await certificates(daemon.folder);
  const port = await freePort();
  const at = (name: string): string => path.join(daemon.folder, name);
  await using tls = await startDaemon({
    flags: [
      ...['--host', `tcp://127.0.0.1:${port}`, '--tlsverify', '--tlscacert', at('ca.pem')],
      ...['--tlscert', at('server-cert.pem'), '--tlskey', at('server-key.pem')],
    ],
  });
  const curl = (...args: string[]) =>
    run('curl', ['-sS', '--cacert', at('ca.pem'), ...args, `https://127.0.0.1:${port}/_ping`]);
  const as = (who: string): string[] => [
    ...['--cert', at(`${who}-cert.pem`), '--key', at(`${who}-key.pem`)],
  ];
  assert.equal((await curl(...as('client'))).stdout, 'OK');
  assert.notEqual((await curl()).code, 0);
  assert.notEqual((await curl(...as('stranger'))).code, 0);
  assert.equal((await tls.api('GET', '/_ping')).status, 200);
});

test('plain TCP beyond loopback is warned of', async () => {
  const port = await freePort();
  await using daemon = await startDaemon({ flags: ['--host', `tcp://0.0.0.0:${port}`] });
  assert.match(daemon.log(), /level=warning msg="Binding to TCP without TLS/);
  const { stdout } = await run('curl', ['-sS', `http://127.0.0.1:${port}/_ping`]);
  assert.equal(stdout, 'OK');
});

/** Writes bytes to the API's socket; resolves with what came back once it is closed or quiet. */
async function send(daemon: TestDaemon, bytes: Uint8Array): Promise<string> {
  const socket = connect(daemon.socket);
  let answer = '';
  socket.on('data', (chunk: Buffer) => {
    answer += chunk.toString('latin1');
  });
  const over = new Promise<void>((resolve) => {
    socket.on('close', () => resolve());
    socket.on('error', () => resolve());
  });
  socket.end(bytes);
  await Promise.race([over, sleep(2_000, undefined, { ref: false })]);
  socket.destroy();
  return answer;
}

test('garbage instead of HTTP is answered with 400 or a closed connection, and it serves on', async () => {
  await using daemon = await startDaemon();
  const { pid } = daemon;
  const line = 'POST /v1.41/containers/create HTTP/1.1\r\nHost: x\r\n';
  const crafted = [
    'GET\r\n\r\n',
    'GET / HTTP/9.9\r\n\r\n',
    `${line}Content-Length: -1\r\n\r\n`,
    `${line}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n`,
    `${line}Transfer-Encoding: chunked\r\n\r\nzz\r\n`,
    `${line}Content-Length: 100\r\n\r\n{"Image":`,
    `${line}X: ${'a'.repeat(1 << 20)}\r\n\r\n`,
    `GET /${'a'.repeat(1 << 20)} HTTP/1.1\r\n\r\n`,
    'GET /containers/%zz/json HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
    'GET /v99.1/_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n',
  ];
  for (const text of crafted) {
    const answer = await send(daemon, Buffer.from(text));
    assert.match(answer, /^(HTTP\/1\.1 4\d\d |$)/, JSON.stringify(text.slice(0, 60)));
  }
  await Promise.all(
    Array.from({ length: 200 }, (_, i) => send(daemon, randomBytes(1 + ((i * 37) % 4096)))),
  );
  assert.equal((await daemon.api('GET', '/_ping')).status, 200);
  assert.equal(daemon.pid, pid);
  assert.doesNotMatch(daemon.log(), /has crashed/);
});

test('a data root with another file in place of its database is named, and nothing is touched', async () => {
  await using daemon = await startDaemon();
  await daemon.stop();
  for (const name of readdirSync(daemon.dataRoot).filter((each) => each.startsWith('coracle.db'))) {
    rmSync(path.join(daemon.dataRoot, name));
  }
  const file = path.join(daemon.dataRoot, 'coracle.db');
  writeFileSync(file, 'this is no database, and somebody may want it');
  await assert.rejects(
    daemon.start(),
    /the database .*coracle\.db is damaged \(file is not a database\)/,
  );
  assert.equal(readFileSync(file, 'utf8'), 'this is no database, and somebody may want it');
});
