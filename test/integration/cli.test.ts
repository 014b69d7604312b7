import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { startFaultyRegistry } from '../fault/registry.ts';
import { clientCommand, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { buildImage, busyboxImage, pushImage } from '../support/images.ts';
import { eventually, run } from '../support/processes.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temp.ts';
import { CHECKOUT } from '../support/tools.ts';

/** Our own client against our daemon, in the ways that a shell and a terminal use it. */

let registry: Registry;
let daemon: TestDaemon;
let image = '';

before(async () => {
  registry = await startRegistry();
  await pushImage(registry, 'box', 'latest', await busyboxImage());
  image = `${registry.host}/box`;
  daemon = await startDaemon();
});
after(async () => {
  await daemon[Symbol.asyncDispose]();
  await registry.stop();
});

const coracle = (args: readonly string[], input?: string | Uint8Array) =>
  run(clientCommand(), ['-H', daemon.host, ...args], input === undefined ? {} : { input });

test('pull prints plain lines to a pipe, and only the name with --quiet', async () => {
  const { code, stdout, stderr } = await coracle(['pull', image]);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^Using default tag: latest\nlatest: Pulling from box\n/);
  assert.match(stdout, /Status: Downloaded newer image for .*\/box:latest\n/);
  assert.doesNotMatch(stdout, /\x1b/);
  assert.equal((await coracle(['pull', '-q', image])).stdout, `${image}:latest\n`);
});

test('exit codes: the container’s own, 125, 126 and 127', async () => {
  const codeOf = async (...args: string[]): Promise<number> =>
    (await coracle(['run', '--rm', '--network', 'none', ...args])).code;
  assert.equal(await codeOf(image, 'sh', '-c', 'exit 42'), 42);
  assert.equal(await codeOf('--init', image, 'sh', '-c', 'kill -TERM $$'), 143);
  assert.equal(await codeOf('--no-such-flag', image), 125);
  assert.equal(await codeOf(image, '/nonexistent'), 127);
  assert.equal(await codeOf(image, '/etc/passwd'), 126);
});

test('a file of variables is the container’s alone: the checkout’s Node takes nothing from it', async () => {
  using folder = temporaryFolder('env-file');
  const file = path.join(folder.path, 'env');
  writeFileSync(file, 'NODE_OPTIONS=--require=/app/of/the/container.js\n');
  const checkout = path.join(CHECKOUT, 'bin/coracle');
  const args = ['-H', daemon.host, 'run', '--rm', '--network', 'none', '--env-file'];
  const { code, stdout, stderr } = await run(checkout, [...args, file, image, 'env']);
  assert.equal(code, 0, stderr);
  assert.match(stdout, /^NODE_OPTIONS=--require=\/app\/of\/the\/container\.js$/m);
  const missing = await run(checkout, [...args, '/nonexistent', image, 'env']);
  assert.equal(missing.code, 125);
  assert.match(missing.stderr, /^coracle: open \/nonexistent: no such file or directory\n/);
});

test('stdin and both outputs go through, byte for byte', async () => {
  const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7) & 127));
  const through = await coracle(['run', '-i', '--rm', '--network', 'none', image, 'cat'], bytes);
  assert.equal(through.stdout, bytes.toString());
  const both = await coracle([
    'run',
    '--rm',
    '--network',
    'none',
    image,
    'sh',
    '-c',
    'echo a; echo b >&2',
  ]);
  assert.deepEqual(both, { code: 0, stdout: 'a\n', stderr: 'b\n' });
});

test('a container from run -d to rm: ps, exec, logs, inspect, stop', async () => {
  const made = await coracle([
    'run',
    '-d',
    '--name',
    'steady',
    image,
    'sh',
    '-c',
    'echo up; exec sleep 1000',
  ]);
  const id = made.stdout.trim();
  assert.match(id, /^[0-9a-f]{64}$/, made.stderr);
  assert.equal((await coracle(['ps', '-q', '--no-trunc'])).stdout.trim(), id);
  const shown = await coracle(['ps', '--format', '{{.Names}} {{.State}}']);
  assert.equal(shown.stdout, 'steady running\n');
  assert.equal((await coracle(['exec', 'steady', 'hostname'])).stdout.trim(), id.slice(0, 12));
  assert.equal((await coracle(['exec', 'steady', 'sh', '-c', 'exit 9'])).code, 9);
  await eventually(async () => (await coracle(['logs', 'steady'])).stdout === 'up\n');
  const inspected = await coracle([
    'inspect',
    '-f',
    '{{.State.Status}} {{.Config.Image}}',
    'steady',
  ]);
  assert.equal(inspected.stdout, `running ${image}\n`);
  assert.equal((await coracle(['stop', '-t', '0', 'steady'])).stdout, 'steady\n');
  assert.equal((await coracle(['rm', 'steady'])).stdout, 'steady\n');
  assert.equal((await coracle(['ps', '-aq'])).stdout, '');
});

test('save and load in a pipe give the same image', async () => {
  const idOf = async (): Promise<string> => (await coracle(['images', '-q', '--no-trunc'])).stdout;
  const id = await idOf();
  assert.match(id, /^sha256:[0-9a-f]{64}\n$/);
  const file = path.join(daemon.folder, 'image.tar');
  assert.equal((await coracle(['save', '-o', file, image])).code, 0);
  assert.equal((await coracle(['rmi', image])).code, 0);
  assert.equal(await idOf(), '');
  const loaded = await coracle(['load', '-i', file]);
  assert.match(loaded.stdout, /Loaded image: .*\/box:latest/);
  assert.equal(await idOf(), id);
});

test('SIGINT of a foreground run reaches the container', async () => {
  const args = ['-H', daemon.host, 'run', '--rm', '--name', 'trap', image, 'sh', '-c'];
  const script = 'trap "echo caught; exit 5" INT; echo ready; while :; do sleep 0.1; done';
  const child = spawn(clientCommand(), [...args, script], { stdio: ['ignore', 'pipe', 'inherit'] });
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => {
    out += chunk.toString();
  });
  await eventually(() => out.includes('ready'));
  child.kill('SIGINT');
  const [code] = await once(child, 'exit');
  assert.equal(code, 5);
  assert.match(out, /caught/);
});

test('no daemon is one sentence that names the address', async () => {
  const { code, stderr } = await run(clientCommand(), ['-H', 'unix:///nonexistent.sock', 'ps']);
  assert.equal(code, 1);
  assert.match(stderr, /Cannot connect to the Docker daemon at unix:\/\/\/nonexistent\.sock/i);
});

test('a daemon that is killed in the middle of an answer is one sentence, whatever was asked', async () => {
  await using faulty = await startFaultyRegistry();
  faulty.add('slow', 'v1', await buildImage({ layers: [[{ name: 'a' }]] }));
  faulty.fault = ({ path: place }) =>
    place.includes('/blobs/') ? new Promise<boolean>(() => undefined) : false;
  await using dying = await startDaemon();
  const at = (...args: string[]): string[] => ['-H', dying.host, ...args];
  const ok = async (...args: string[]): Promise<void> => {
    const { code, stderr } = await run(clientCommand(), at(...args));
    assert.equal(code, 0, stderr);
  };
  await ok('pull', image);
  const sleeper = ['--network', 'none', image, 'sh', '-c', 'echo up; sleep 1000'];
  await ok('run', '-d', '--name', 'sleeper', ...sleeper);
  const asked = [
    ['pull', `${faulty.host}/slow:v1`],
    ['events'],
    ['logs', '-f', 'sleeper'],
    ['attach', '--no-stdin', 'sleeper'],
    ['exec', 'sleeper', 'sleep', '1000'],
    ['wait', 'sleeper'],
    ['stats', 'sleeper'],
    ['run', '--name', 'other', ...sleeper],
  ];
  const running = asked.map((args) => run(clientCommand(), at(...args)));
  let ended = 0;
  for (const each of running) void each.finally(() => (ended += 1));
  await eventually(async () => {
    const { text } = await dying.api('GET', '/containers/sleeper/json');
    const { text: other } = await dying.api('GET', '/containers/other/json');
    return text.includes('"Running":true,') && other.includes('"Running":true,');
  });
  await eventually(() => faulty.requests.some(({ path: place }) => place.includes('/blobs/')));
  await sleep(500); // the rest asks meanwhile
  assert.equal(ended, 0);
  await dying.stop('SIGKILL');
  const outcomes = await Promise.all(running);
  for (const [i, { code, stderr }] of outcomes.entries()) {
    const what = asked[i]?.join(' ') ?? '';
    assert.equal(code, /^(?:run|attach)/.test(what) ? 125 : 1, what);
    assert.match(stderr, /^(?:error waiting for container: )?(?:the|Cannot).* daemon .*\n$/, what);
  }
  await dying.start();
  await ok('rm', '-f', 'sleeper', 'other');
});
