import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { type FaultyRegistry, startFaultyRegistry } from '../fault/registry.ts';
import { clientCommand, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { dockerClis } from '../support/docker-cli.ts';
import { buildImage } from '../support/images.ts';
import { type Outcome, run } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

/**
 * Logging in and out with our client and with Docker's, which share a config file, where passwords
 * lie in it and where helpers keep them.
 */

const USER = { user: 'me', password: 'secret' };
let daemon: TestDaemon;
let basic: FaultyRegistry;
let token: FaultyRegistry;

before(async () => {
  daemon = await startDaemon();
  basic = await startFaultyRegistry({ auth: { kind: 'basic', ...USER } });
  token = await startFaultyRegistry({ auth: { kind: 'token', ...USER, refreshToken: 'r3fr3sh' } });
  const image = await buildImage({ layers: [[{ name: 'a' }]] });
  for (const registry of [basic, token]) registry.add('app', 'v1', image);
});

after(async () => {
  await basic[Symbol.asyncDispose]();
  await token[Symbol.asyncDispose]();
  await daemon[Symbol.asyncDispose]();
});

/** A helper that keeps what it is given in files, and notes how it was called. */
const HELPER = `#!/bin/sh
input=$(cat)
echo "$1 $input" >>"$VAULT.calls"
name="$VAULT.$(printf %s "$2$input" | tr -dc 'a-z0-9:.')"
case $1 in
store) printf %s "$input" >"$VAULT.$(printf %s "$input" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/' | tr -dc 'a-z0-9:.')" ;;
get) cat "$name" 2>/dev/null || { echo credentials not found in native keychain; exit 1; } ;;
erase) rm -f "$name" ;;
esac
`;

/** A config folder with helpers on the PATH. */
function home(config: object = {}) {
  const folder = temporaryFolder('login');
  const file = path.join(folder.path, 'config.json');
  const vault = path.join(folder.path, 'vault');
  const program = (name: string, text: string): void =>
    writeFileSync(path.join(folder.path, `docker-credential-${name}`), text, { mode: 0o755 });
  program('vault', HELPER);
  program('locked', '#!/bin/sh\necho the vault is locked\nexit 2\n');
  program('noise', '#!/bin/sh\necho "secret noise"\n');
  writeFileSync(file, JSON.stringify(config));
  const env = {
    PATH: `${folder.path}:${process.env['PATH'] ?? ''}`,
    VAULT: vault,
    DOCKER_HOST: daemon.host,
    DOCKER_CONFIG: folder.path,
  };
  return {
    file,
    config: () => JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>,
    calls: () => (existsSync(`${vault}.calls`) ? readFileSync(`${vault}.calls`, 'utf8') : ''),
    ours: (args: string[], input = ''): Promise<Outcome> =>
      run(clientCommand(), args, { env, input }),
    dockers: async (args: string[], input = ''): Promise<Outcome> =>
      run((await dockerClis())[0]?.path ?? '', args, { env, input }),
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  };
}

const loginArgs = (host: string): string[] => ['login', '-u', 'me', '--password-stdin', host];
const auth = (text: string): string => Buffer.from(text).toString('base64');

test('a password is kept in the file, readable by its owner, and both clients pull with it', async () => {
  using at = home({ detachKeys: 'ctrl-x' });
  const wrong = await at.ours(loginArgs(basic.host), 'wrong');
  assert.equal(wrong.code, 1);
  assert.equal(
    wrong.stderr,
    `Error response from daemon: login attempt to http://${basic.host}/v2/ failed with status: 401 Unauthorized\n`,
  );
  assert.deepEqual(at.config(), { detachKeys: 'ctrl-x' });

  const right = await at.ours(loginArgs(basic.host), 'secret\n');
  assert.deepEqual([right.code, right.stdout], [0, 'Login Succeeded\n']);
  assert.match(
    right.stderr,
    /^\nWARNING! Your credentials are stored unencrypted in '.*config.json'/,
  );
  assert.deepEqual(at.config(), {
    detachKeys: 'ctrl-x',
    auths: { [basic.host]: { auth: auth('me:secret') } },
  });
  assert.equal(statSync(at.file).mode & 0o777, 0o600);
  for (const pull of [at.ours, at.dockers]) {
    const { code, stderr } = await pull(['pull', '-q', `${basic.host}/app:v1`]);
    assert.deepEqual([code, stderr], [0, '']);
  }
  const again = await at.ours(['login', basic.host]);
  assert.deepEqual([again.code, again.stdout], [0, 'Login Succeeded\n']);
  assert.match(again.stderr, /^Authenticating with existing credentials\.\.\. \[Username: me\]\n/);
  assert.doesNotMatch(again.stderr, /WARNING/);

  const out = await at.ours(['logout', basic.host]);
  assert.equal(out.stdout, `Removing login credentials for ${basic.host}\n`);
  assert.deepEqual(at.config(), { detachKeys: 'ctrl-x', auths: {} });
  const none = await at.ours(['pull', '-q', `${basic.host}/app:v1`]);
  assert.match(none.stderr, /no basic auth credentials/);
});

test('a registry that gives an identity token has that kept, and no password', async () => {
  using at = home();
  const login = await at.ours(loginArgs(token.host), 'secret');
  assert.deepEqual([login.code, login.stdout, login.stderr], [0, 'Login Succeeded\n', '']);
  assert.deepEqual(at.config(), {
    auths: { [token.host]: { auth: auth('me:'), identitytoken: 'r3fr3sh' } },
  });
  for (const pull of [at.ours, at.dockers]) {
    const before = token.count('POST', '/token');
    const { code, stderr } = await pull(['pull', '-q', `${token.host}/app:v1`]);
    assert.deepEqual([code, stderr], [0, '']);
    assert.equal(token.count('POST', '/token'), before + 1);
  }
  const wrong = await at.ours(loginArgs(token.host), 'wrong');
  assert.equal(
    wrong.stderr,
    'Error response from daemon: unauthorized: incorrect username or password\n',
  );
});

test('credentials that Docker’s client kept serve ours, and the other way round', async () => {
  using at = home();
  const theirs = await at.dockers(loginArgs(basic.host), 'secret');
  assert.equal(theirs.code, 0, theirs.stderr);
  assert.equal((await at.ours(['pull', '-q', `${basic.host}/app:v1`])).code, 0);
  assert.equal((await at.ours(['logout', basic.host])).code, 0);
  assert.equal((await at.dockers(['pull', '-q', `${basic.host}/app:v1`])).code, 1);
});

test('with credsStore a helper keeps passwords and tokens, and the file holds names only', async () => {
  using at = home({ credsStore: 'vault' });
  for (const { host } of [basic, token]) {
    const { code, stderr } = await at.ours(loginArgs(host), 'secret');
    assert.deepEqual([code, stderr], [0, '']);
  }
  assert.deepEqual(at.config(), {
    credsStore: 'vault',
    auths: { [basic.host]: {}, [token.host]: {} },
  });
  assert.equal(
    at.calls(),
    [
      `store {"ServerURL":"${basic.host}","Username":"me","Secret":"secret"}\n`,
      `store {"ServerURL":"${token.host}","Username":"<token>","Secret":"r3fr3sh"}\n`,
    ].join(''),
  );
  for (const { host } of [basic, token]) {
    for (const pull of [at.ours, at.dockers]) {
      const { code, stderr } = await pull(['pull', '-q', `${host}/app:v1`]);
      assert.deepEqual([code, stderr], [0, '']);
    }
  }
  assert.equal((await at.ours(['logout', basic.host])).code, 0);
  assert.match(at.calls(), new RegExp(`\nerase ${basic.host}\nerase http://${basic.host}\n`));
  assert.match(
    (await at.ours(['pull', `${basic.host}/app:v1`])).stderr,
    /no basic auth credentials/,
  );
});

test('credHelpers name a helper for one registry, before credsStore', async () => {
  using at = home({ credsStore: 'locked', credHelpers: { [basic.host]: 'vault' } });
  assert.equal((await at.ours(loginArgs(basic.host), 'secret')).code, 0);
  const { code, stderr } = await at.ours(['pull', '-q', `${basic.host}/app:v1`]);
  assert.deepEqual([code, stderr], [0, '']);
});

test('a helper that fails keeps nobody from what needs no password, and is told of', async () => {
  await using anybody = await startFaultyRegistry();
  anybody.add('app', 'v1', await buildImage({ layers: [[{ name: 'a' }]] }));
  for (const [helper, why] of [
    ['locked', 'exit status 2, out: `the vault is locked`'],
    ['missing', 'exec: "docker-credential-missing": executable file not found in $PATH, out: ``'],
  ] as const) {
    using at = home({ credsStore: helper });
    const pulled = await at.ours(['pull', '-q', `${anybody.host}/app:v1`]);
    assert.equal(pulled.code, 0);
    assert.equal(pulled.stderr, `WARNING: error getting credentials - err: ${why}\n`);
    const stored = await at.ours(loginArgs(basic.host), 'secret');
    assert.equal(stored.code, 1);
    assert.equal(
      stored.stderr,
      `Error saving credentials: error storing credentials - err: ${why}\n`,
    );
    assert.deepEqual(at.config(), { credsStore: helper }, 'nothing lies in the file instead');
    const out = await at.ours(['logout', basic.host]);
    assert.equal(out.code, 0);
    assert(out.stderr.endsWith(`error erasing credentials - err: ${why}\n`), out.stderr);
  }
  using at = home({ credsStore: 'noise' });
  const noisy = await at.ours(['pull', '-q', `${anybody.host}/app:v1`]);
  assert.equal(noisy.code, 0);
  assert.equal(
    noisy.stderr,
    'WARNING: error getting credentials - err: the answer is not valid, out: ``\n',
  );
});

test('what cannot be a login is refused in the words of Docker', async () => {
  using at = home();
  const cases: readonly [readonly string[], string][] = [
    [['--password-stdin'], 'the --password-stdin option requires --username to be set\n'],
    [
      ['-u', 'me', '-p', 'x', '--password-stdin'],
      'conflicting options: cannot specify both --password and --password-stdin\n',
    ],
    [['-u', 'me'], 'Error: Cannot perform an interactive login from a non TTY device\n'],
  ];
  for (const [flags, text] of cases) {
    const { code, stderr } = await at.ours(['login', ...flags, basic.host], 'secret');
    assert.deepEqual([code, stderr], [1, text]);
  }
  assert.doesNotMatch(daemon.log(), /secret|r3fr3sh/);
});
