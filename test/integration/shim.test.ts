import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { createConnection } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { isEngineError } from '../../src/base/errors.ts';
import { NO_LOG } from '../../src/engine/logs/shim-log.ts';
import type { Shim, ShimSpec } from '../../src/kernel/shim.ts';
import { openShims } from '../../src/kernel/shims.ts';
import { eventually } from '../support/processes.ts';
import {
  buildShimWithJumpingClock,
  hasEnded,
  logEntries,
  readToEnd,
  sanitizedShims,
  shimSpec,
  unframe,
} from '../support/shim.ts';
import { CHECKOUT } from '../support/tools.ts';

/*
 * The shim under sanitizers, with a stand-in for the runtime. shim-runtime.test.ts has crun and
 * runc.
 */

const { root, program, env, shims, running } = sanitizedShims('shim');
const ALL = { stdin: true, stdout: true, stderr: true };
const OUTPUT = { stdin: false, stdout: true, stderr: true };

const logTo = (file: string) => ({ ...NO_LOG, driver: 'json-file' as const, path: file });

async function launch(command: string, more: Partial<ShimSpec> = {}): Promise<Shim> {
  return await shims.launch(running(command, more));
}

test('an exit code, a signal and the time of the end are kept, and the shim goes away', async () => {
  for (const [command, code] of [
    ['exit 0', 0],
    ['exit 3', 3],
    ['exit 255', 255],
    ['kill -TERM $$', 143],
    ['kill -KILL $$', 137],
  ] as const) {
    const spec = running(command);
    const shim = await shims.launch(spec);
    const before = BigInt(Date.now() - 1) * 1_000_000n;
    const { startedAtNs } = await shim.start();
    const status = await shim.exited;
    assert.equal(status.exitCode, code, command);
    assert.equal(status.oomKilled, false);
    assert.ok(startedAtNs >= before);
    assert.ok(status.exitedAtNs <= BigInt(Date.now() + 1) * 1_000_000n);
    await eventually(() => hasEnded(shim.pid), { what: 'the end of the shim' });
    assert.deepEqual(await shims.reconnect(spec.directory), { state: 'exited', status });
  }
});

test('how long a process ran does not depend on how the wall clock is set', async () => {
  const jumping = openShims({ program: buildShimWithJumpingClock(root), env: {} });
  const spec = running('sleep 0.5');
  const shim = await jumping.launch(spec);
  const { startedAtNs } = await shim.start();
  await sleep(200);
  const seen = await jumping.reconnect(spec.directory);
  assert.equal(seen.state, 'running');
  if (seen.state !== 'running') return;
  seen.shim.detach();
  const { ranNs, exitedAtNs } = await shim.exited;
  const yearNs = 31_536_000n * 1_000_000_000n;
  assert.ok(exitedAtNs - startedAtNs >= yearNs, 'the clock was set');
  assert.ok(ranNs >= 400_000_000n && ranNs < 60_000_000_000n, String(ranNs));
  assert.ok(seen.ranNs >= 150_000_000n && seen.ranNs < ranNs, String(seen.ranNs));
});

test('an exit code is kept when the exec root has become full', async () => {
  const small = path.join(root, 'small');
  mkdirSync(small);
  execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', small]);
  try {
    const { runtime } = running('');
    // The stand-in, unlike a runtime, writes its pid when the process runs already.
    const known = `until [ -s ${small}/full/pid ]; do sleep 0.01; done`;
    const args = [`${known}; cat /dev/zero > ${small}/filler; exit 7`];
    const spec = shimSpec(small, 'full', { ...runtime, args });
    const shim = await shims.launch(spec);
    await shim.start();
    const status = await shim.exited;
    assert.equal(status.exitCode, 7);
    await eventually(() => hasEnded(shim.pid), { what: 'the end of the shim' });
    assert.deepEqual(await shims.reconnect(spec.directory), { state: 'exited', status });
  } finally {
    execFileSync('umount', ['--lazy', small]);
  }
});

test('a runtime that does not come back is killed with what it started', async () => {
  const runtime = path.join(root, 'hanging');
  const script = `#!/bin/sh
sleep 1000 & echo $! > ${root}/hook
setsid sleep 1000 & echo $! > ${root}/init
while [ "$1" != --pid-file ]; do shift; done
cp ${root}/init "$2"
wait
`;
  writeFileSync(runtime, script, { mode: 0o755 });
  const spec = shimSpec(root, 'hangs', { path: runtime, args: [] }, { startMs: 500 });
  const shim = await shims.launch(spec);
  await assert.rejects(shim.start(), (error: unknown) => {
    assert.ok(isEngineError(error, 'internal'));
    assert.equal(error.message, 'the runtime did not come back within 500 ms and was killed');
    return true;
  });
  const left = ['hook', 'init'].map((name) => Number(readFileSync(path.join(root, name), 'utf8')));
  for (const pid of [shim.pid, ...left]) {
    await eventually(() => hasEnded(pid), { what: `the end of ${pid}` });
  }
});

test('a runtime that fails is quoted: its log, else its stderr, else its status', async () => {
  let count = 0;
  const fails = async (script: string): Promise<string> => {
    const name = `bad${++count}`;
    const runtime = path.join(root, `${name}.sh`);
    writeFileSync(runtime, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
    const shim = await shims.launch(shimSpec(root, name, { path: runtime, args: [] }));
    const error = await shim.start().catch((cause: unknown) => cause);
    assert.ok(isEngineError(error, 'internal'), String(error));
    assert.ok(isEngineError(await shim.exited.catch((cause: unknown) => cause)));
    await eventually(() => hasEnded(shim.pid));
    return error.message;
  };
  // The second argument of the runtime is the name of its log.
  const log = '{"level":"error","msg":"exec: \\"x\\": not found","time":"t"}';
  assert.equal(await fails(`echo '${log}' >>"$2"; echo noise >&2; exit 1`), 'exec: "x": not found');
  assert.equal(await fails('echo "cannot \\"run\\"" >&2; exit 1'), 'cannot "run"');
  assert.equal(await fails('exit 7'), 'the runtime exited with 7');
  assert.equal(await fails('kill -9 $$'), 'the runtime exited with 137');
  assert.equal(await fails('exit 0'), 'the runtime wrote no pid file');

  const absent = await shims.launch(
    shimSpec(root, 'absent', { path: '/nonexistent/runtime', args: [] }),
  );
  await assert.rejects(absent.start(), /cannot run \/nonexistent\/runtime: No such file/);
});

test('what cannot be set up is said at launch', async () => {
  const log = logTo(path.join(root, 'none/log'));
  await assert.rejects(
    launch('true', { log }),
    /failed to initialize logging driver: .*\/none\/log: No such file or directory/,
  );
  const missing = openShims({ program: '/nonexistent/shim', env: {} });
  await assert.rejects(missing.launch(running('true')), /cannot start the shim/);
  await assert.rejects(launch('true', { containerId: 'a\0b' }), /cannot hold a NUL/);
});

test('attached clients get the output in frames, each what it asked for', async () => {
  const shim = await launch('echo out; echo err >&2; printf no-newline');
  const both = readToEnd(await shim.attach(OUTPUT));
  const stdout = readToEnd(await shim.attach({ ...OUTPUT, stderr: false }));
  const stderr = readToEnd(await shim.attach({ ...OUTPUT, stdout: false }));
  await shim.start();
  const all = unframe(await both);
  assert.equal(all.stdout.toString(), 'out\nno-newline');
  assert.equal(all.stderr.toString(), 'err\n');
  assert.equal(unframe(await stdout).stderr.length, 0);
  assert.equal(unframe(await stdout).stdout.toString(), 'out\nno-newline');
  assert.equal(unframe(await stderr).stderr.toString(), 'err\n');
});

test('forty clients get ten megabytes each, and the log has them too', async () => {
  const data = path.join(root, 'data');
  writeFileSync(data, randomBytes(5 << 20).toString('hex'));
  const log = path.join(root, 'forty.log');
  const shim = await launch(`cat ${data}`, { log: logTo(log) });
  const clients = [];
  for (let i = 0; i < 40; i++) clients.push(readToEnd(await shim.attach(OUTPUT)));
  await shim.start();
  const expected = readFileSync(data);
  for (const client of clients) {
    const { stdout } = unframe(await client);
    assert.ok(stdout.equals(expected));
  }
  const entries = logEntries(log);
  assert.equal(entries.map((each) => each.log).join(''), expected.toString());
  assert.ok(entries.slice(0, -1).every((each) => each.log.length === 16 << 10));
});

test('input reaches the process; its end only with stdinOnce', async () => {
  const once_ = await launch('cat; echo end', { openStdin: true, stdinOnce: true });
  const a = await once_.attach(ALL);
  a.end('before the start\n');
  await once_.start();
  assert.equal(unframe(await readToEnd(a)).stdout.toString(), 'before the start\nend\n');

  const kept = await launch('head -n 2', { openStdin: true });
  const first = await kept.attach(ALL);
  const output = readToEnd(first);
  await kept.start();
  first.end('one\n');
  await sleep(50);
  const second = await kept.attach({ ...ALL, stdout: false, stderr: false });
  second.end('two\n');
  assert.equal(unframe(await output).stdout.toString(), 'one\ntwo\n');
  assert.equal((await kept.exited).exitCode, 0);
});

test('megabytes of input arrive whole, through a process that is slow to read them', async () => {
  const shim = await launch('sleep 0.1; wc -c', { openStdin: true, stdinOnce: true });
  const socket = await shim.attach(ALL);
  await shim.start();
  socket.end(randomBytes(3 << 20));
  assert.equal(
    unframe(await readToEnd(socket))
      .stdout.toString()
      .trim(),
    String(3 << 20),
  );
});

test('a client that still sends when the process ends gets all of its output', async () => {
  const shim = await launch('head -c 3; echo; echo done', { openStdin: true, stdinOnce: true });
  const socket = await shim.attach(ALL);
  const output = readToEnd(socket);
  await shim.start();
  const timer = setInterval(() => socket.write('x'.repeat(4096)), 2);
  assert.equal(unframe(await output).stdout.toString(), 'xxx\ndone\n');
  clearInterval(timer);
  assert.equal((await shim.exited).exitCode, 0);
});

test('without open stdin the process reads an end of file at once', async () => {
  const shim = await launch('cat; exit 4');
  await shim.start();
  assert.equal((await shim.exited).exitCode, 4);
});

test('a client that takes nothing holds the process up, then is cut off, if there is a log', async () => {
  const log = path.join(root, 'stall.log');
  const spec = running('head -c 3000000 /dev/zero | tr "\\0" x; echo; echo end', {
    log: logTo(log),
    stallMs: 300,
  });
  const shim = await shims.launch(spec);
  const slow = await shim.attach(OUTPUT);
  const good = readToEnd(await shim.attach(OUTPUT));
  await shim.start();
  assert.equal((await shim.exited).exitCode, 0);
  assert.equal(unframe(await good).stdout.length, 3_000_005);
  assert.equal(logEntries(log).at(-1)?.log, 'end\n');
  slow.destroy();
});

test('a client that is the only one who gets the output is waited for', async () => {
  const shim = await launch('head -c 3000000 /dev/zero | tr "\\0" x; echo end', { stallMs: 100 });
  const slow = await shim.attach(OUTPUT);
  await shim.start();
  let ended = false;
  void shim.exited.then(() => (ended = true));
  await sleep(600);
  assert.equal(ended, false);
  const output = await readToEnd(slow);
  assert.equal(unframe(output).stdout.length, 3_000_004);
  assert.equal((await shim.exited).exitCode, 0);
});

test('an end does not wait for a client, which gets the rest later', async () => {
  // Less than buffers and pipe hold together, so that the process can end; more than is read on
  // behalf of a client that takes nothing.
  const spec = running('head -c 330000 /dev/zero | tr "\\0" x; exit 5');
  const shim = await shims.launch(spec);
  const slow = await shim.attach(OUTPUT);
  await shim.start();
  const status = await Promise.race([shim.exited, sleep(30_000, undefined, { ref: false })]);
  assert.equal(status?.exitCode, 5);
  const output = await readToEnd(slow);
  assert.equal(unframe(output).stdout.length, 330_000);
});

test('a client that vanishes is forgotten', async () => {
  const shim = await launch('i=0; while [ $i -lt 30 ]; do echo $i; sleep 0.01; i=$((i+1)); done');
  for (let i = 0; i < 100; i++) {
    const client = await shim.attach(ALL);
    client.write('x');
    client.destroy();
    if (i === 50) await shim.start();
  }
  const last = readToEnd(await shim.attach(OUTPUT));
  assert.equal((await shim.exited).exitCode, 0);
  assert.match(unframe(await last).stdout.toString(), /29\n$/);
});

test('what others hold open does not keep an end back, and nothing written before it is lost', async () => {
  const log = path.join(root, 'held.log');
  const spec = running('(sleep 5 &) ; seq 1 5000; exit 6', { log: logTo(log) });
  const shim = await shims.launch(spec);
  await shim.start();
  const before = performance.now();
  assert.equal((await shim.exited).exitCode, 6);
  assert.ok(performance.now() - before < 3000);
  assert.equal(logEntries(log).length, 5000);
});

test('tens of thousands of short outputs arrive in order, to log and client', async () => {
  const log = path.join(root, 'short.log');
  const spec = running('i=0; while [ $i -lt 20000 ]; do echo $i; i=$((i+1)); done', {
    log: logTo(log),
  });
  const shim = await shims.launch(spec);
  const output = readToEnd(await shim.attach(OUTPUT));
  await shim.start();
  const expected = Array.from({ length: 20_000 }, (_, i) => `${i}\n`);
  assert.equal(unframe(await output).stdout.toString(), expected.join(''));
  await shim.exited;
  assert.deepEqual(
    logEntries(log).map((each) => each.log),
    expected,
  );
});

test('a folder whose name is longer than an address of a socket works', async () => {
  const long = path.join(root, 'l'.repeat(200));
  const spec = shimSpec(long, 'c', running('echo long; sleep 0.2').runtime);
  const shim = await shims.launch(spec);
  const output = readToEnd(await shim.attach(OUTPUT));
  await shim.start();
  const again = await shims.reconnect(spec.directory);
  assert.equal(again?.state, 'running');
  assert.equal(unframe(await output).stdout.toString(), 'long\n');
});

test('a killed daemon: the process runs on, is found again, and its end is kept', async () => {
  const log = path.join(root, 'survive.log');
  const spec = running('read line; echo got $line; exit 9', {
    log: logTo(log),
    openStdin: true,
  });
  const daemon = path.join(root, 'daemon.ts');
  writeFileSync(
    daemon,
    `import { openShims } from '${CHECKOUT}/src/kernel/shims.ts';
     const shims = openShims(${JSON.stringify({ program, env })});
     const shim = await shims.launch(${JSON.stringify(spec)});
     const client = await shim.attach(${JSON.stringify(ALL)});
     const { pid } = await shim.start();
     console.log(JSON.stringify([shim.pid, pid]));
     setInterval(() => client.resume(), 1000);`,
  );
  const child = spawn(process.execPath, [daemon], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(child.stdout, 'data')) as [Buffer];
  const [shimPid, pid] = JSON.parse(line.toString()) as [number, number];
  child.kill('SIGKILL');
  await once(child, 'exit');

  const found = await shims.reconnect(spec.directory);
  assert.ok(found?.state === 'running');
  assert.deepEqual([found.shim.pid, found.pid], [shimPid, pid]);
  assert.equal((await found.shim.start()).pid, pid);
  const client = await found.shim.attach(ALL);
  client.write('hello\n');
  assert.equal(unframe(await readToEnd(client)).stdout.toString(), 'got hello\n');
  const status = await found.shim.exited;
  assert.equal(status.exitCode, 9);
  assert.equal(logEntries(log).at(-1)?.log, 'got hello\n');
  await eventually(() => hasEnded(shimPid));
  assert.deepEqual(await shims.reconnect(spec.directory), { state: 'exited', status });
});

test('a shim that dies is noticed, by who holds it and by who looks for it', async () => {
  const spec = running('exec sleep 60');
  const shim = await shims.launch(spec);
  const { pid } = await shim.start();
  process.kill(shim.pid, 'SIGKILL');
  const error = await shim.exited.catch((cause: unknown) => cause);
  assert.ok(isEngineError(error, 'dataLoss'), String(error));
  assert.deepEqual(await shims.reconnect(spec.directory), { state: 'lost', pid });
  await assert.rejects(shim.attach(OUTPUT));
  process.kill(pid, 'SIGKILL');
});

test('signals to everybody do not end a shim', async () => {
  const shim = await launch('exec sleep 0.5');
  await shim.start();
  for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP', 'SIGUSR1', 'SIGPIPE'] as const) {
    process.kill(shim.pid, signal);
  }
  assert.equal((await shim.exited).exitCode, 0);
});

test('a shim that was never started goes away with its launcher', async () => {
  const spec = running('true');
  const shim = await shims.launch(spec);
  const { pid } = shim;
  shim.detach();
  await eventually(() => hasEnded(pid));
  assert.deepEqual(await shims.reconnect(spec.directory), { state: 'unstarted' });
});

test('a process that is no terminal cannot be resized', async () => {
  const shim = await launch('sleep 0.3');
  await assert.rejects(shim.resize({ rows: 1, columns: 1 }), /not a terminal/);
  await shim.start();
  await assert.rejects(shim.resize({ rows: 1, columns: 1 }), /not a terminal/);
});

test('garbage on the socket is hung up on, and harms nobody', async () => {
  const spec = running('sleep 1.5; echo alive');
  const shim = await shims.launch(spec);
  const output = readToEnd(await shim.attach(OUTPUT));
  await shim.start();
  const address = path.join(spec.directory, 'shim.sock');
  const orders = [
    'start',
    'resize 1 2',
    'resize -1 x',
    'resize 99999999999999999999 1',
    'quit',
    '',
  ];
  const openings = ['control\n', 'attach \n', 'attach ioe\n', 'attach zzz', '\n', '\0\0\0\n'];
  for (let i = 0; i < 400; i++) {
    const socket = createConnection(address).on('error', () => undefined);
    const opening = openings[i % openings.length] ?? '';
    const rest = i % 3 === 0 ? randomBytes(1 + (i % 300)) : Buffer.from(`${orders[i % 6]}\n`);
    socket.write(Buffer.concat([Buffer.from(opening), rest]));
    if (i % 2 === 0) socket.destroySoon();
    await once(socket.resume(), 'close')
      .catch(() => undefined)
      .finally(() => undefined);
    if (i % 7 === 0) socket.destroy();
  }
  assert.equal(unframe(await output).stdout.toString(), 'alive\n');
  assert.equal((await shim.exited).exitCode, 0);
});

test('the folder holds nothing for others to read, and only the exit file at the end', async () => {
  const spec = running('true');
  const shim = await shims.launch(spec);
  assert.equal(statSync(path.join(spec.directory, 'spec')).mode & 0o777, 0o600);
  assert.equal(statSync(path.join(spec.directory, 'shim.sock')).mode & 0o077, 0);
  await shim.start();
  await shim.exited;
  assert.equal(statSync(path.join(spec.directory, 'exit')).mode & 0o777, 0o600);
  await eventually(() => !existsSync(path.join(spec.directory, 'shim.sock')));
});
