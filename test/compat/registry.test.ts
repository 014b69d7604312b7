import assert from 'node:assert/strict';
import { test } from 'node:test';
import { TestDaemon } from '../support/daemon.ts';
import { type DockerCli, docker, dockerClis } from '../support/docker-cli.ts';
import { busyboxImage, pushImage } from '../support/images.ts';
import type { Outcome } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temp.ts';

/** A password file with the user `me` and the password `secret`. */
const HTPASSWD = 'me:$2y$04$Sod8w99ekeAF.nBK3ajpe.G1Fr7uN63e8FDFp67OBgrIrCN8ZyVSu\n';

const basic = `Basic ${Buffer.from('me:secret').toString('base64')}`;

for (const cli of await dockerClis()) {
  test(`docker ${cli.version}: pull, push, login, search`, async () => {
    await using daemon = new TestDaemon();
    await daemon.start();
    await open(cli, daemon);
    await closed(cli, daemon);
  });
}

/** A registry that takes anybody. */
async function open(cli: DockerCli, daemon: TestDaemon): Promise<void> {
  await using registry = await startRegistry();
  const run = (...args: string[]): Promise<Outcome> => docker(cli, daemon.host, args);
  const name = `${registry.host}/team/app`;
  const digest = await pushImage(registry, 'team/app', 'v1', await busyboxImage());

  const first = await run('pull', `${name}:v1`);
  assert.equal(first.code, 0, first.stderr);
  assert.match(first.stdout, /^v1: Pulling from team\/app\n/);
  assert.match(first.stdout, new RegExp(`\nDigest: ${digest}\n`));
  assert(first.stdout.includes(`\nStatus: Downloaded newer image for ${name}:v1\n`));
  const second = await run('pull', `${name}:v1`);
  assert(second.stdout.includes(`\nStatus: Image is up to date for ${name}:v1\n`));

  const missing = await run('pull', `${name}:v2`);
  assert.equal(missing.code, 1);
  assert.equal(
    missing.stderr.trim(),
    `Error response from daemon: manifest for ${name}:v2 not found: manifest unknown: manifest unknown`,
  );
  const other = `${registry.host}/team/other:v1`;
  assert.equal((await run('tag', `${name}:v1`, other)).code, 0);
  const pushed = await run('push', other);
  assert.equal(pushed.code, 0, pushed.stderr);
  assert.match(pushed.stdout, /: Mounted from team\/app\n/);
  assert.match(pushed.stdout, new RegExp(`\nv1: digest: ${digest} size: \\d+\n$`));
  const found = await run('search', `${registry.host}/other`);
  assert.match(found.stdout, /team\/other/);
}

/** A registry with a password. */
async function closed(cli: DockerCli, daemon: TestDaemon): Promise<void> {
  await using registry = await startRegistry({ htpasswd: HTPASSWD });
  using config = temporaryFolder('login');
  const env = { DOCKER_CONFIG: config.path };
  const run = (args: string[], input = ''): Promise<Outcome> =>
    docker(cli, daemon.host, args, { env, input });
  const target = { url: registry.url, authorization: basic };
  await pushImage(target, 'private', 'v1', await busyboxImage());

  const anonymous = await run(['pull', `${registry.host}/private:v1`]);
  assert.equal(anonymous.code, 1);
  assert.match(anonymous.stderr, /no basic auth credentials/);
  const login = (password: string): Promise<Outcome> =>
    run(['login', '-u', 'me', '--password-stdin', registry.host], password);
  const wrong = await login('wrong');
  assert.equal(wrong.code, 1);
  assert.match(wrong.stderr, /401 Unauthorized/);
  const right = await login('secret');
  assert.equal(right.code, 0, right.stderr);
  assert.match(right.stdout, /Login Succeeded/);
  const pulled = await run(['pull', `${registry.host}/private:v1`]);
  assert.equal(pulled.code, 0, pulled.stderr);
  assert.doesNotMatch(daemon.log(), /secret/);
}
