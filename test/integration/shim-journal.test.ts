import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdirSync, readlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { isEngineError } from '../../src/base/errors.ts';
import { NO_LOG } from '../../src/engine/logs/shim-log.ts';
import type { LogRequest } from '../../src/kernel/shim.ts';
import { openShims } from '../../src/kernel/shims.ts';
import { eventually, stopChild } from '../support/processes.ts';
import { logRequest, sanitizedShims, unframe } from '../support/shim.ts';

/** The driver journald against a journald of its own, with a /run of its own, and back. */

let journald: ChildProcess;
let socket = '';

before(async () => {
  const private_run =
    'mount --make-rprivate / && mount -t tmpfs run /run && mount -t tmpfs log /var/log && mkdir -p /run/systemd/journal /run/log/journal && exec /lib/systemd/systemd-journald';
  journald = spawn('unshare', ['--mount', 'sh', '-c', private_run], { stdio: 'ignore' });
  const inside = `/proc/${journald.pid}/root/run/systemd/journal/socket`;
  // Before it has a /run of its own it sees the host's.
  const isJournald = (): boolean =>
    readlinkSync(`/proc/${journald.pid}/exe`).endsWith('/systemd-journald');
  await eventually(() => isJournald() && existsSync(inside), { what: 'journald' });
  socket = inside;
  const bin = path.join(root, 'bin');
  mkdirSync(bin);
  const enter = `#!/bin/sh\nexec nsenter --mount=/proc/${journald.pid}/ns/mnt /usr/bin/journalctl "$@"\n`;
  writeFileSync(path.join(bin, 'journalctl'), enter, { mode: 0o755 });
});
after(() => stopChild(journald));

const { root, program, env, shims, running } = sanitizedShims('shim-journal');

let count = 0;

/** Runs a shell command with its output going to the journal; returns the container's ID. */
async function run(command: string): Promise<{ id: string; ended: Promise<unknown> }> {
  const id = `journal${++count}`;
  const options = [`SOCKET=${socket}`, `CONTAINER_ID_FULL=${id}`];
  const log = { ...NO_LOG, driver: 'journald' as const, options };
  const shim = await shims.launch(running(command, { log }));
  await shim.start();
  return { id, ended: shim.exited };
}

function request(containerId: string, more: Partial<LogRequest> = {}): LogRequest {
  return logRequest({ driver: 'journald', path: '' }, { containerId, filesMax: 1, ...more });
}

async function read(id: string, more: Partial<LogRequest> = {}): Promise<Buffer> {
  return Buffer.concat(await shims.readLog(request(id, more)).output.toArray());
}

test('what was written comes back, each stream by itself, any bytes, long lines whole', async () => {
  const long = 'y'.repeat(40_000);
  const hard = '\\303\\251 \\033[1m \\377 \\t"q"';
  const { id, ended } = await run(
    `printf '${hard}\\n'; sleep 0.1; echo wrong >&2; sleep 0.1; echo ${long}; printf rest`,
  );
  await ended;
  const want = Buffer.concat([
    Buffer.from([0xc3, 0xa9, 0x20, 0x1b]),
    Buffer.from('[1m '),
    Buffer.of(0xff),
    Buffer.from(` \t"q"\n${long}\nrest`),
  ]);
  await eventually(async () => unframe(await read(id)).stdout.length === want.length);
  const { stdout, stderr } = unframe(await read(id));
  assert.ok(stdout.equals(want), stdout.toString());
  assert.equal(stderr.toString(), 'wrong\n');
  assert.equal((await read(id, { stdout: false, raw: true })).toString(), 'wrong\n');
  assert.ok((await read(id, { stderr: false, raw: true })).equals(want));
});

test('tail, since, until and timestamps are as asked for', async () => {
  const { id, ended } = await run('for i in 1 2 3 4 5; do echo $i; sleep 0.02; done');
  await ended;
  await eventually(async () => (await read(id, { raw: true })).toString() === '1\n2\n3\n4\n5\n');
  assert.equal((await read(id, { raw: true, tail: 2 })).toString(), '4\n5\n');
  assert.equal((await read(id, { raw: true, tail: 0 })).toString(), '');
  const stamped = (await read(id, { raw: true, timestamps: true })).toString().trim().split('\n');
  const times = stamped.map((line) => {
    const at = line.split(' ')[0] ?? '';
    assert.match(at, /^\d{4}-\d\d-\d\dT[\d:]{8}\.\d{9}Z$/);
    return BigInt(Date.parse(at)) * 1_000_000n + BigInt(at.slice(-7, -1));
  });
  const [, second, third] = times;
  assert.equal((await read(id, { raw: true, sinceNs: third })).toString(), '3\n4\n5\n');
  assert.equal((await read(id, { raw: true, untilNs: second })).toString(), '1\n2\n');
  assert.equal((await read('nobody', { raw: true })).toString(), '');
});

test('following goes on until the container has ended', async () => {
  const { id, ended } = await run('for i in 1 2 3 4 5 6; do echo $i; sleep 0.1; done');
  const reading = shims.readLog(request(id, { follow: true, raw: true }));
  void ended.then(reading.end);
  assert.equal(Buffer.concat(await reading.output.toArray()).toString(), '1\n2\n3\n4\n5\n6\n');
  const until = shims.readLog(request(id, { follow: true, raw: true }));
  until.output.destroy();
});

test('garbage instead of entries gives whole frames or nothing, and no crash', async () => {
  const fake = path.join(root, 'fake');
  mkdirSync(fake);
  const file = path.join(root, 'garbage');
  writeFileSync(path.join(fake, 'journalctl'), `#!/bin/sh\ncat ${file}\n`, { mode: 0o755 });
  const reader = openShims({ program, env: { ...env, PATH: `${fake}:${env.PATH}` } });
  const huge = Buffer.alloc(8, 0xff);
  const cases: Buffer[] = [
    Buffer.from('\n\n\n'),
    Buffer.from('MESSAGE'),
    Buffer.from('MESSAGE\n'),
    Buffer.concat([Buffer.from('MESSAGE\n'), huge, Buffer.from('x\n\nMESSAGE=after\n\n')]),
    Buffer.from('__REALTIME_TIMESTAMP=99999999999999999999999999\nMESSAGE=late\n\n'),
    Buffer.from(`A=${'z'.repeat(600_000)}\nMESSAGE=lost\n\nMESSAGE=found\n\n`),
    Buffer.from('=\n=\nMESSAGE=odd\nPRIORITY=33\n\n'),
  ];
  for (const bytes of cases) {
    writeFileSync(file, bytes);
    unframe(Buffer.concat(await reader.readLog(request('x')).output.toArray()));
  }
  writeFileSync(file, cases.at(-2) ?? '');
  const { stdout } = unframe(Buffer.concat(await reader.readLog(request('x')).output.toArray()));
  assert.match(stdout.toString(), /found\n$/);
});

test('a host without journalctl says so', () => {
  const bare = openShims({ program, env: { PATH: '/nonexistent' } });
  assert.throws(
    () => bare.readLog(request('x')),
    (error) =>
      isEngineError(error, 'notImplemented') &&
      /does not support reading: journalctl is not installed/.test(String(error)),
  );
});
