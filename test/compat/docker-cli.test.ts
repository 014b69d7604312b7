import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type DockerCli, docker, dockerClis } from '../support/docker-cli.ts';
import { busyboxImage, pushImage } from '../support/images.ts';
import { eventually } from '../support/processes.ts';
import { type Registry, startRegistry } from '../support/registry.ts';

/** What people type, with Docker's own client of each version on this machine. */
const clis = await dockerClis();
let registry: Registry;
let image: string;

before(async () => {
  registry = await startRegistry();
  await pushImage(registry, 'compat/box', 'v1', await busyboxImage());
  image = `${registry.host}/compat/box:v1`;
});
after(() => registry.stop());

for (const cli of clis) {
  describe(`docker ${cli.version}`, { timeout: 180_000 }, () => suite(cli));
}

function suite(cli: DockerCli): void {
  let daemon: TestDaemon;
  before(async () => {
    daemon = await startDaemon();
  });
  after(() => daemon[Symbol.asyncDispose]());

  /** Runs a command that must work; gives its stdout. */
  const ok = async (...args: string[]): Promise<string> => {
    const { code, stdout, stderr } = await docker(cli, daemon.host, args);
    assert.equal(code, 0, `docker ${args.join(' ')}: ${stderr}`);
    return stdout;
  };

  test('version and info name us', async () => {
    assert.match(await ok('version', '--format', '{{.Server.Os}}'), /^linux$/m);
    assert.match(await ok('info', '--format', '{{.Driver}}'), /^overlay2$/m);
    assert.match(await ok('info'), /Server Version:/);
  });

  test('pull tells what it does, and that it did it before', async () => {
    const first = await ok('pull', image);
    assert.match(first, /v1: Pulling from compat\/box/);
    assert.match(first, /Digest: sha256:[0-9a-f]{64}/);
    assert.match(first, new RegExp(`Status: Downloaded newer image for ${image}`));
    assert.match(await ok('pull', image), /Status: Image is up to date for/);
    assert.match(await ok('images', '--format', '{{.Repository}}:{{.Tag}}'), new RegExp(image));
    const { code, stderr } = await docker(cli, daemon.host, [
      'pull',
      `${registry.host}/no/such:tag`,
    ]);
    assert.equal(code, 1);
    assert.match(stderr, /not found|does not exist/);
  });

  test('run gives the output and the exit code', async () => {
    assert.equal(await ok('run', '--rm', image, 'cat', '/etc/motd'), 'hello from a layer\n');
    const code = async (...args: string[]) =>
      (await docker(cli, daemon.host, ['run', '--rm', image, ...args])).code;
    assert.equal(await code('sh', '-c', 'exit 7'), 7);
    // Not the shell itself: process 1 does not hear signals that it has no handler for.
    assert.equal(await code('sh', '-c', '(sh -c "kill -9 \\$\\$"); exit $?'), 137);
    assert.equal(await code('/nonexistent'), 127);
    assert.equal(await code('/etc/motd'), 126);
    assert.equal((await ok('ps', '-aq')).trim(), '', 'nothing is left');
  });

  test('stdin reaches the process, and its end too', async () => {
    const { stdout, code } = await docker(
      cli,
      daemon.host,
      ['run', '-i', '--rm', image, 'wc', '-c'],
      {
        input: 'x'.repeat(100_000),
      },
    );
    assert.deepEqual([code, stdout.trim()], [0, '100000']);
  });

  test('a terminal is a terminal', async () => {
    // Older clients tell the size after the start: the program looks until it has one.
    const look = 'tty; for i in 1 2 3 4 5 6 7 8 9; do stty size | grep 3 && break; sleep 0.2; done';
    const command = `${cli.path} run -it --rm ${image} sh -c '${look}'`;
    const child = spawn('script', ['-qec', `stty rows 33 cols 77; ${command}`, '/dev/null'], {
      env: { ...process.env, DOCKER_HOST: daemon.host, TERM: 'xterm' },
      stdio: ['pipe', 'pipe', 'pipe'],
    });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => {
      out += String(chunk);
    });
    const [code] = await once(child, 'exit');
    assert.equal(code, 0, out);
    assert.match(out, /\/dev\/(pts\/0|console)/);
    assert.match(out, /33 77/);
  });

  test('a container lives: run -d, ps, exec, logs -f, inspect, stop, rm', async () => {
    const loop = 'trap "exit 5" TERM; i=0; while :; do echo line $i; i=$((i+1)); sleep 0.1; done';
    const id = (
      await ok('run', '-d', '--name', 'life', '-e', 'A=b', image, 'sh', '-c', loop)
    ).trim();
    assert.match(id, /^[0-9a-f]{64}$/);
    assert.match(await ok('ps', '--format', '{{.Names}} {{.Status}}'), /^life Up /m);
    assert.equal(await ok('exec', 'life', 'sh', '-c', 'echo $A'), 'b\n');
    const failed = await docker(cli, daemon.host, ['exec', 'life', 'sh', '-c', 'exit 9']);
    assert.equal(failed.code, 9);
    const missing = await docker(cli, daemon.host, ['exec', 'life', '/nonexistent']);
    assert.equal(missing.code, 127, missing.stderr);
    assert.equal(await ok('inspect', '-f', '{{.State.Running}} {{.Name}}', 'life'), 'true /life\n');

    const follow = spawn(cli.path, ['logs', '-f', 'life'], {
      env: { ...process.env, DOCKER_HOST: daemon.host },
    });
    // Listened for from here on: the client may be gone before `stop` has come back.
    const ended = once(follow, 'exit');
    let seen = '';
    follow.stdout.on('data', (chunk: Buffer) => {
      seen += String(chunk);
    });
    await eventually(() => seen.includes('line 5'), { what: 'logs -f' });
    await ok('stop', 'life');
    await ended;
    assert.match(seen, /^line 0\nline 1\n/);
    assert.equal(await ok('wait', 'life'), '5\n');
    assert.match(await ok('ps', '-a', '--format', '{{.Status}}'), /^Exited \(5\) /m);
    assert.match(await ok('logs', '--tail', '1', 'life'), /^line \d+\n$/);
    const taken = await docker(cli, daemon.host, ['create', '--name', 'life', image]);
    assert.equal(taken.code, 1);
    assert.match(taken.stderr, /Conflict\. The container name "\/life" is already in use/);
    await ok('start', 'life');
    await ok('rm', '-f', 'life');
    assert.match(
      (await docker(cli, daemon.host, ['start', 'life'])).stderr,
      /No such container: life/,
    );
  });

  test('save | load gives the same image', async () => {
    const folder = mkdtempSync(path.join(daemon.folder, 'save-'));
    const file = path.join(folder, 'image.tar');
    await ok('save', '-o', file, image);
    const id = await ok('image', 'inspect', '-f', '{{.Id}}', image);
    await ok('rmi', image);
    assert.match(await ok('load', '-i', file), /Loaded image: /);
    assert.equal(await ok('image', 'inspect', '-f', '{{.Id}}', image), id);
    assert.equal(await ok('run', '--rm', image, 'cat', '/etc/motd'), 'hello from a layer\n');
    writeFileSync(file, 'this is no image');
    assert.notEqual((await docker(cli, daemon.host, ['load', '-i', file])).code, 0);
  });

  test('volumes keep their data, binds show the host, limits are set', async () => {
    const file = path.join(daemon.folder, 'shown');
    writeFileSync(file, 'of the host\n');
    await ok('run', '--rm', '-v', 'kept:/data', image, 'sh', '-c', 'echo kept > /data/file');
    const args = ['-v', 'kept:/data:ro', '-v', `${file}:/shown`, '--memory', '64m', '--read-only'];
    const out = await ok(
      'run',
      '--rm',
      ...args,
      image,
      'sh',
      '-c',
      'cat /data/file /shown; touch /x 2>&1; id -u',
    );
    assert.match(out, /^kept\nof the host\ntouch: \/x: Read-only file system\n0\n$/);
    assert.equal(
      await ok('run', '--rm', '-u', 'user', '-w', '/home/user', image, 'sh', '-c', 'id -u; pwd'),
      '1000\n/home/user\n',
    );
    assert.match(await ok('volume', 'ls', '-q'), /^kept$/m);
    await ok('volume', 'rm', 'kept');
  });

  test('the bridge gives an address and a way out; none gives nothing', async () => {
    const out = await ok('run', '--rm', image, 'sh', '-c', 'ip -4 addr show eth0; ip route');
    assert.match(out, /inet 10\./);
    assert.match(out, /default via 10\./);
    assert.doesNotMatch(await ok('run', '--rm', '--network', 'none', image, 'ip', 'addr'), /eth0/);
    assert.match(
      await ok('run', '--rm', '--hostname', 'box', image, 'cat', '/etc/hosts'),
      /\tbox$/m,
    );
  });

  test('a daemon that was killed has its containers as they were', async () => {
    const loop = 'i=0; while :; do echo $i; i=$((i+1)); sleep 0.05; done';
    await ok('run', '-d', '--name', 'on', image, 'sh', '-c', loop);
    await ok('run', '-d', '--name', 'off', image, 'sh', '-c', 'sleep 1; exit 3');
    await daemon.stop('SIGKILL');
    await new Promise((resolve) => setTimeout(resolve, 1500));
    await daemon.start();
    assert.match(await ok('ps', '--format', '{{.Names}}'), /^on$/m);
    // On a busy machine it may still have to end.
    await ok('wait', 'off');
    assert.equal(
      await ok('inspect', '-f', '{{.State.ExitCode}} {{.State.Status}}', 'off'),
      '3 exited\n',
    );
    const lines = (await ok('logs', 'on')).trim().split('\n').map(Number);
    assert.deepEqual(
      lines,
      lines.map((_, i) => i),
      'no line is lost or twice',
    );
    assert.ok(lines.length > 30);
    assert.equal(await ok('exec', 'on', 'echo', 'still here'), 'still here\n');
    await ok('rm', '-f', 'on', 'off');
  });
}
