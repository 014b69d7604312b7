import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { before, test } from 'node:test';
import { type FaultyOptions, type FaultyRegistry, startFaultyRegistry } from '../fault/registry.ts';
import { Authority } from '../support/certificates.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type BuiltImage, buildImage } from '../support/images.ts';
import { becomeHost, run } from '../support/network-host.ts';
import { eventually } from '../support/processes.ts';
import { startRecordingProxy } from '../support/recording-proxy.ts';
import { startRegistry } from '../support/registry.ts';
import { temporaryFolder } from '../support/temp.ts';

/**
 * The ways to registries: certificates, insecure ones, mirrors and proxies, on addresses that are
 * not loopback's, which would be trusted anyway. The test lives in a network namespace of its own.
 */

/** Of a net for benchmarks (RFC 2544). */
const [HOME, ELSEWHERE, PROXY] = ['198.18.0.1', '198.18.7.1', '198.18.9.1'];
const NAME = 'registry.test';
let image: BuiltImage;

before(async () => {
  becomeHost();
  for (const address of [HOME, ELSEWHERE, PROXY]) run(`ip addr add ${address}/32 dev lo`);
  image = await buildImage({ layers: [[{ name: 'a', content: 'hello' }]] });
});

async function registryAt(address: string, options: FaultyOptions = {}): Promise<FaultyRegistry> {
  const registry = await startFaultyRegistry({ ...options, address });
  registry.add('app', 'v1', image);
  return registry;
}

const portOf = ({ host }: { readonly host: string }): string => host.split(':')[1] ?? '';

/** A daemon whose /etc knows the registry's name and has certificates in a folder of the test's. */
async function daemonIn(
  folder: string,
  options: { config?: Record<string, unknown>; env?: Record<string, string> } = {},
): Promise<TestDaemon> {
  const etc = path.join(folder, 'etc');
  const work = path.join(folder, 'work');
  mkdirSync(etc);
  mkdirSync(work);
  writeFileSync(path.join(etc, 'hosts'), `127.0.0.1 localhost\n${HOME} ${NAME}\n`);
  const script = [`mount -t overlay etc -o upperdir=${etc},workdir=${work},lowerdir=/etc /etc`];
  for (const name of ['docker', 'coracle']) {
    const certificates = `/etc/${name}/certs.d`;
    mkdirSync(path.join(folder, `${name}.d`));
    script.push(`mkdir -p ${certificates}`, `mount --bind ${folder}/${name}.d ${certificates}`);
  }
  script.push('exec "$@"');
  return await startDaemon({
    wrapper: ['unshare', '--mount', 'sh', '-c', script.join(' && '), 'sh'],
    env: { HTTP_PROXY: '', HTTPS_PROXY: '', NO_PROXY: '', ...options.env },
    ...(options.config === undefined ? {} : { config: options.config }),
  });
}

const encoded = (auth: object): string => Buffer.from(JSON.stringify(auth)).toString('base64url');

/** Pulls and removes again; the error, or ''. */
async function pull(daemon: TestDaemon, name: string, auth?: object): Promise<string> {
  const headers = { 'x-registry-auth': encoded(auth ?? {}) };
  const address = `/images/create?fromImage=${name}&tag=v1`;
  const answer = await daemon.api('POST', address, undefined, headers);
  if (answer.status >= 400) return (answer.json() as { message: string }).message;
  const error = /"error":"((?:[^"\\]|\\.)*)"/.exec(answer.text)?.[1];
  if (error !== undefined) return JSON.parse(`"${error}"`) as string;
  await daemon.json('DELETE', `/images/${name}:v1`);
  return '';
}

async function reload(daemon: TestDaemon, config: Record<string, unknown>): Promise<void> {
  const before = daemon.log().length;
  daemon.configure(config);
  daemon.signal('SIGHUP');
  await eventually(() => /Reloaded/.test(daemon.log().slice(before)), { what: 'the reload' });
}

test('TLS: an authority in certs.d is trusted for its registry, and a client certificate is shown', async () => {
  using folder = temporaryFolder('links');
  const authority = new Authority(folder.path);
  const server = authority.issue('registry', `DNS:${NAME},IP:${HOME}`);
  const client = authority.issue('client', 'DNS:client.test');
  await using registry = await startRegistry({
    address: HOME,
    tls: { ...server, ca: authority.cert },
  });
  await using open = await registryAt(HOME, { tls: server });
  await using daemon = await daemonIn(folder.path);
  const name = `${NAME}:${portOf(registry)}`;
  const unknown = `Get "https://${name}/v2/app/manifests/v1": tls: failed to verify certificate: x509: certificate signed by unknown authority`;
  for (const place of ['docker', 'coracle']) {
    const certificates = path.join(folder.path, `${place}.d`, name);
    const put = (file: string, text: string): void =>
      writeFileSync(path.join(certificates, file), text);
    assert.equal(await pull(daemon, `${name}/app`), unknown);
    mkdirSync(certificates);
    put('ca.crt', authority.cert);
    assert.match(
      await pull(daemon, `${name}/app`),
      /": remote error: tls: (bad certificate|certificate required)$/,
    );
    put('client.cert', client.cert);
    assert.match(
      await pull(daemon, `${name}/app`),
      /missing key client\.key for client certificate/,
    );
    put('client.key', client.key);
    assert.match(await pull(daemon, `${name}/app`), /^manifest for .* not found: manifest unknown/);
    // It is trusted for this registry, not for another one of the same host.
    assert.match(await pull(daemon, `${NAME}:${portOf(open)}/app`), /unknown authority/);
    run(`rm -r ${certificates}`);
  }
  // The name is checked as well.
  await using wrong = await registryAt(ELSEWHERE, { tls: server });
  mkdirSync(path.join(folder.path, 'docker.d', wrong.host));
  writeFileSync(path.join(folder.path, 'docker.d', wrong.host, 'ca.crt'), authority.cert);
  assert.match(
    await pull(daemon, `${wrong.host}/app`),
    /x509: certificate is valid for registry\.test, 198\.18\.0\.1, not 198\.18\.7\.1$/,
  );
});

test('without TLS, or with a certificate of nobody, only an insecure registry is reached', async () => {
  using folder = temporaryFolder('links');
  const authority = new Authority(folder.path);
  const tls = authority.issue('registry', `IP:${HOME}`);
  await using plain = await registryAt(HOME);
  await using secret = await registryAt(HOME, { tls });
  await using far = await registryAt(ELSEWHERE);
  await using daemon = await daemonIn(folder.path);
  const refused = async (registry: FaultyRegistry, why: RegExp): Promise<void> => {
    assert.match(await pull(daemon, `${registry.host}/app`), why);
  };
  const noTls = /http: server gave HTTP response to HTTPS client$/;
  await refused(plain, noTls);
  await refused(secret, /certificate signed by unknown authority$/);
  assert(plain.requests.length === 0 && secret.requests.length === 0);

  await reload(daemon, { 'insecure-registries': [plain.host] });
  assert.equal(await pull(daemon, `${plain.host}/app`), '');
  await refused(secret, /unknown authority$/);
  await refused(far, noTls);

  await reload(daemon, { 'insecure-registries': ['198.18.0.0/24'] });
  assert.equal(await pull(daemon, `${plain.host}/app`), '');
  assert.equal(await pull(daemon, `${secret.host}/app`), '');
  assert.equal(await pull(daemon, `${NAME}:${portOf(plain)}/app`), '', 'by the name’s address');
  await refused(far, noTls);
  const info = (await daemon.json('GET', '/info')) as {
    RegistryConfig: { InsecureRegistryCIDRs: string[] };
  };
  assert(info.RegistryConfig.InsecureRegistryCIDRs.includes('198.18.0.0/24'));
});

test('mirrors are asked first and without credentials, one that fails or lacks it gives way', async () => {
  using folder = temporaryFolder('links');
  await using first = await startFaultyRegistry({ address: HOME });
  await using second = await startFaultyRegistry({ address: ELSEWHERE });
  first.fault = (_request, answer) => {
    answer.writeHead(503).end('not now');
    return true;
  };
  second.add('library/app', 'v1', image);
  const mirrors = [first, second].map(({ url }) => url);
  await using daemon = await daemonIn(folder.path, { config: { 'registry-mirrors': mirrors } });
  const auth = { username: 'me', password: 'pa55word' };
  assert.equal(await pull(daemon, 'app', auth), '');
  assert.equal(first.count('GET', '/library/app/manifests/v1'), 1);
  for (const { requests } of [first, second]) {
    assert(requests.every(({ authorization }) => authorization === undefined));
  }
  // Where no mirror has it, the registry itself is asked: which this namespace cannot reach.
  first.fault = () => false;
  assert.match(await pull(daemon, 'other'), /^Get "https:\/\/registry-1\.docker\.io\/v2\/library/);
  assert.doesNotMatch(daemon.log(), /pa55word/);
});

test('proxies of the environment and of daemon.json are used, save for what NO_PROXY names', async () => {
  using folder = temporaryFolder('links');
  const authority = new Authority(folder.path);
  const tls = authority.issue('registry', `DNS:${NAME},IP:${HOME}`);
  await using secret = await registryAt(HOME, { tls });
  await using plain = await registryAt(HOME);
  await using proxy = await startRecordingProxy(PROXY, () => HOME);
  const url = `http://mule:c4rrot@${proxy.host}`;
  const authorization = `Basic ${Buffer.from('mule:c4rrot').toString('base64')}`;
  await using daemon = await daemonIn(folder.path, {
    env: { HTTPS_PROXY: url, http_proxy: url, NO_PROXY: `example.com,${HOME}:${portOf(plain)}` },
    config: { 'insecure-registries': ['198.18.0.0/24', `${NAME}:${portOf(plain)}`] },
  });
  const names = [`${NAME}:${portOf(secret)}`, `${NAME}:${portOf(plain)}`] as const;
  assert.equal(await pull(daemon, `${names[0]}/app`), '');
  assert.equal(await pull(daemon, `${names[1]}/app`), '');
  const asked = proxy.asked.splice(0);
  assert(asked.some(({ what }) => what === `CONNECT ${names[0]}`));
  assert(asked.some(({ what }) => what === `GET http://${names[1]}/v2/app/manifests/v1`));
  assert(asked.every((each) => each.authorization === authorization));
  assert(!secret.requests.some(({ headers }) => headers['proxy-authorization'] !== undefined));
  assert.equal(await pull(daemon, `${plain.host}/app`), '');
  assert.equal(proxy.asked.length, 0, 'the registry is named in NO_PROXY');

  // What daemon.json says goes before the environment.
  await reload(daemon, {
    'insecure-registries': ['198.18.0.0/24'],
    proxies: { 'https-proxy': `http://${proxy.host}`, 'no-proxy': '198.18.7.0/24' },
  });
  assert.equal(await pull(daemon, `${names[0]}/app`), '');
  assert(proxy.asked.length > 0);
  assert(proxy.asked.every(({ authorization: sent }) => sent === undefined));
  const info = await daemon.api('GET', '/info');
  assert.doesNotMatch(`${info.text}${daemon.log()}`, /c4rrot/);
});

test('credentials go to their registry and its realm, to nobody else, and into no log', async () => {
  using folder = temporaryFolder('links');
  await using storage = await registryAt(ELSEWHERE);
  const user = { user: 'me', password: 'pa55word', refreshToken: 'r3fr3sh' };
  await using basic = await registryAt(HOME, { auth: { kind: 'basic', ...user } });
  await using token = await registryAt(HOME, { auth: { kind: 'token', ...user } });
  await using daemon = await daemonIn(folder.path, {
    config: { 'insecure-registries': ['198.18.0.0/16'] },
  });
  const signed = 'X-Signature=5igned';
  for (const registry of [basic, token]) {
    registry.fault = ({ method, path: place }, answer) => {
      if (method !== 'GET' || !place.includes('/blobs/sha256:')) return false;
      answer.writeHead(307, { location: `${storage.url}${place}?${signed}` }).end();
      return true;
    };
  }
  const { password } = user;
  const logins = [
    [basic, { username: 'me', password }],
    [token, { username: 'me', password }],
    [token, { identitytoken: 'r3fr3sh' }],
  ] as const;
  for (const [registry, auth] of logins) {
    assert.equal(await pull(daemon, `${registry.host}/app`, auth), '');
  }
  assert.match(
    await pull(daemon, `${basic.host}/app`, { username: 'me', password: 'gue55' }),
    /^un/,
  );
  assert.match(
    await pull(daemon, `${token.host}/app`, { username: 'me', password: 'gue55' }),
    /^un/,
  );
  // A storage that refuses is named without what its address holds.
  storage.fault = (_request, answer) => {
    answer.writeHead(403).end('no');
    return true;
  };
  const refused = await pull(daemon, `${basic.host}/app`, logins[0][1]);
  assert.match(refused, /403/);
  assert(storage.count('GET', image.layers[0]?.digest ?? '') >= 3);

  // Nor does a storage learn who sends, when a registry has blobs sent there.
  storage.fault = ({ method }, answer) => {
    if (method === 'GET') return false;
    answer.writeHead(201).end();
    return true;
  };
  basic.fault = ({ method, path: place }, answer) => {
    if (method !== 'POST' || !place.includes('/blobs/uploads/')) return false;
    answer.writeHead(202, { location: `${storage.url}/upload?${signed}` }).end();
    return true;
  };
  const from = `${storage.host}/app`;
  const pulled = await daemon.api('POST', `/images/create?fromImage=${from}&tag=v1`);
  assert.match(pulled.text, /Status: Downloaded/);
  await daemon.json('POST', `/images/${from}:v1/tag?repo=${basic.host}/mine&tag=v1`);
  const headers = { 'x-registry-auth': encoded(logins[0][1]) };
  const pushed = await daemon.api('POST', `/images/${basic.host}/mine/push?tag=v1`, '', headers);
  assert.match(pushed.text, /v1: digest: sha256:/);
  assert(storage.count('PUT', '/upload') > 0);
  assert(storage.requests.every(({ authorization }) => authorization === undefined));
  const tokens = token.requests.flatMap(
    ({ authorization }) => /^Bearer (.+)$/.exec(authorization ?? '')?.[1] ?? [],
  );
  assert(tokens.length > 0);
  const pair = Buffer.from(`me:${password}`).toString('base64');
  for (const secret of [password, pair, 'gue55', 'r3fr3sh', '5igned', ...tokens]) {
    assert(!`${daemon.log()}${refused}`.includes(secret), secret);
  }
});
