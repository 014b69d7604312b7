import assert from 'node:assert/strict';
import { mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';
import Docker from 'dockerode';
import { pack } from 'tar-stream';
import type { ImageInspect } from '../../src/spec/docker/image.ts';
import { type Box, openBox } from '../support/box.ts';
import { type DockerCli, docker, dockerClis } from '../support/docker-cli.ts';
import { type Outcome, run } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/** Builds by other people's clients. */

const clis = await dockerClis();
const folder = temporaryFolder('build');
let box: Box;

before(async () => {
  box = await openBox();
  write('Dockerfile', `FROM ${box.image}\nARG WORD=none\nCOPY . /app/\nRUN echo $WORD > /word\n`);
  write('kept/file', 'kept');
  write('left.log', 'left out');
  write('back.log', 'taken back');
  write('.dockerignore', '*.log\n!back.log\nDockerfile\n');
  symlinkSync('kept/file', path.join(folder.path, 'link'));
});
after(async () => {
  await box[Symbol.asyncDispose]();
  folder[Symbol.dispose]();
});

function write(name: string, text: string): void {
  const file = path.join(folder.path, name);
  mkdirSync(path.dirname(file), { recursive: true });
  writeFileSync(file, text);
}

const listOf = async (Image: string): Promise<string> =>
  await box.sh('cd /app && find . | sort | tr "\\n" " "; cat /word', { Image });

const LIST = '. ./.dockerignore ./back.log ./kept ./kept/file ./link ';

for (const cli of clis) describe(`docker ${cli.version}`, () => suite(cli));

function suite(cli: DockerCli): void {
  const name = `cli${cli.version.split('.')[0]}`;
  const build = async (
    args: readonly string[],
    options: { readonly env?: Record<string, string>; readonly input?: string } = {},
  ): Promise<Outcome> =>
    await docker(cli, box.daemon.host, ['build', ...args], {
      ...{ cwd: folder.path, ...options },
      env: { DOCKER_BUILDKIT: '0', ...options.env },
    });

  test('builds a folder, and has what .dockerignore leaves', async () => {
    const args = ['-t', name, '-t', `${name}:two`, '--build-arg', 'WORD', '--label', 'l=v', '.'];
    const { code, stdout, stderr } = await build(args, { env: { WORD: 'given' } });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /Step 5\/5 : LABEL /);
    assert.ok(
      stdout.endsWith(`Successfully tagged ${name}:latest\nSuccessfully tagged ${name}:two\n`),
    );
    assert.equal(await listOf(`${name}:two`), `${LIST}given\n`);
  });

  test('has the classic builder without being told to', async () => {
    const { code, stdout, stderr } = await build(['-q', '.'], { env: { DOCKER_BUILDKIT: '' } });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^sha256:[0-9a-f]{64}\n$/);
  });

  test('takes a Dockerfile from elsewhere, and from stdin', async () => {
    using other = temporaryFolder('dockerfile');
    const file = path.join(other.path, 'Other');
    writeFileSync(file, `FROM ${box.image}\nCOPY . /app/\nRUN echo other > /word\n`);
    const elsewhere = await build(['-q', '-f', file, '.']);
    assert.equal(elsewhere.code, 0, elsewhere.stderr);
    assert.match(await listOf(elsewhere.stdout.trim()), /\.\/kept\/file .*other\n$/s);
    const input = `FROM ${box.image}\nRUN echo in\n`;
    const stdin = await build(['-q', '-f', '-', '.'], { input });
    assert.equal(stdin.code, 0, stdin.stderr);
    const alone = await build(['-'], { input });
    assert.match(alone.stdout, /Step 2\/2 : RUN echo in/, alone.stderr);
  });

  test('says why it failed, with the exit code', async () => {
    const failing = await build(['--force-rm', '-'], {
      input: `FROM ${box.image}\nRUN exit 9\n`,
    });
    assert.equal(failing.code, 9);
    assert.match(failing.stderr, /The command '\/bin\/sh -c exit 9' returned a non-zero code: 9/);
    const nonsense = await build(['-'], { input: 'FROM x\nNONSENSE y\n' });
    assert.equal(nonsense.code, 1);
    assert.match(nonsense.stderr, /dockerfile parse error line 2: unknown instruction: NONSENSE/);
  });

  test('is told to do without BuildKit', async () => {
    const { code, stderr } = await build(['.'], { env: { DOCKER_BUILDKIT: '1' } });
    assert.notEqual(code, 0);
    assert.match(stderr, /DOCKER_BUILDKIT=0|buildx/);
  });
}

test('docker-py builds a folder and a file', async () => {
  const program = `
import docker, io, sys
client = docker.DockerClient(base_url='unix://' + sys.argv[1])
image, logs = client.images.build(
    path=sys.argv[3], tag='py', buildargs={'WORD': 'py'}, labels={'l': 'v'}, rm=True, nocache=True,
    extra_hosts={'far': '192.0.2.7'}, container_limits={'memory': 64 << 20}, shmsize=1 << 20)
assert image.labels == {'l': 'v'}, image.labels
assert 'py:latest' in image.tags, image.tags
assert any('Successfully built' in line.get('stream', '') for line in logs)
file = io.BytesIO(('FROM %s\\nRUN exit 4' % sys.argv[2]).encode())
try:
    client.images.build(fileobj=file, forcerm=True)
except docker.errors.BuildError as error:
    assert 'returned a non-zero code: 4' in str(error), error
    print('ok')
`;
  const words = ['-c', program, box.daemon.socket, box.image, folder.path];
  const { stdout, stderr } = await run('/usr/bin/python3', words, { timeoutMs: 60_000 });
  assert.equal(stdout, 'ok\n', stderr);
  assert.equal(await listOf('py'), `${LIST}py\n`);
});

test('dockerode builds a stream and follows its progress', async () => {
  const client = new Docker({ socketPath: box.daemon.socket });
  const context = pack();
  context.entry({ name: 'Dockerfile' }, `FROM ${box.image}\nCOPY f /f\n`);
  context.entry({ name: 'f' }, 'by dockerode');
  context.finalize();
  const stream = await client.buildImage(context as unknown as NodeJS.ReadableStream, {
    t: 'rode',
  });
  const lines = await new Promise<{ stream?: string; aux?: { ID: string } }[]>(
    (resolve, reject) => {
      client.modem.followProgress(stream, (error, all) => (error ? reject(error) : resolve(all)));
    },
  );
  const id = lines.findLast((line) => line.aux !== undefined)?.aux?.ID;
  const { Id } = (await box.daemon.json('GET', '/images/rode/json')) as ImageInspect;
  assert.equal(id, Id);
  assert.equal(await box.sh('cat /f', { Image: 'rode' }), 'by dockerode');
});

test('docker-compose builds what its services name', async () => {
  const text = `
version: "2.4"
services:
  made:
    build: {context: ., args: {WORD: compose}}
    image: composed
    command: ["cat", "/word"]
    network_mode: none
`;
  write('docker-compose.yml', text);
  const env = {
    DOCKER_HOST: box.daemon.host,
    COMPOSE_INTERACTIVE_NO_CLI: '1',
    DOCKER_BUILDKIT: '0',
  };
  const compose = async (...args: string[]): Promise<Outcome> =>
    await run('docker-compose', ['--project-name', 'built', '--no-ansi', ...args], {
      ...{ cwd: folder.path, env, timeoutMs: 60_000 },
    });
  const { code, stderr } = await compose('up', '--build', '--detach');
  assert.equal(code, 0, stderr);
  assert.match((await listOf('composed')).slice(-8), /compose\n/);
  await compose('down');
});
