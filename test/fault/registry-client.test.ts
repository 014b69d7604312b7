import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync, readFileSync } from 'node:fs';
import http from 'node:http';
import net, { type AddressInfo } from 'node:net';
import path from 'node:path';
import { test } from 'node:test';
import { isEngineError } from '../../src/base/errors.ts';
import { parseReference } from '../../src/base/reference.ts';
import { login } from '../../src/registry/login.ts';
import { fetchManifest } from '../../src/registry/manifests.ts';
import { pullError } from '../../src/registry/registry-error.ts';
import { listTags } from '../../src/registry/tags.ts';
import { buildImage } from '../support/images.ts';
import { temporaryFolder } from '../support/temp.ts';
import { type FaultyAuth, startFaultyRegistry } from './registry.ts';
import { testSession } from './session.ts';

const IMAGE = await buildImage({ layers: [[{ name: 'a', content: 'hello' }]] });
const USER = { username: 'me', password: 'secret' };

async function messageOf(work: Promise<unknown>, reference: string): Promise<string> {
  try {
    await work;
  } catch (error) {
    return (pullError(error, parseReference(reference)) as Error).message;
  }
  throw new Error('it did not fail');
}

test('a manifest is fetched by tag and by digest, and verified', async () => {
  await using registry = await startFaultyRegistry();
  registry.add('app', 'v1', IMAGE);
  await using session = await testSession(registry.host);
  const byTag = await fetchManifest(session, 'app', 'v1');
  assert.equal(byTag.digest, IMAGE.manifest.digest);
  assert.equal(byTag.content.kind, 'image');
  const byDigest = await fetchManifest(session, 'app', byTag.digest);
  assert.deepEqual(byDigest.bytes, byTag.bytes);

  const other = await buildImage({ layers: [[{ name: 'b' }]] });
  registry.manifests.set(`app:${byTag.digest}`, other.manifest);
  await assert.rejects(fetchManifest(session, 'app', byTag.digest), (error) =>
    isEngineError(error, 'dataLoss'),
  );
});

test('what is not there is said in the words of Docker', async () => {
  await using registry = await startFaultyRegistry();
  await using session = await testSession(registry.host);
  const name = `${registry.host}/app:v1`;
  assert.equal(
    await messageOf(fetchManifest(session, 'app', 'v1'), name),
    `manifest for ${name} not found: manifest unknown: manifest unknown`,
  );
  registry.fault = (_, answer) => {
    const body = {
      errors: [{ code: 'DENIED', message: 'requested access to the resource is denied' }],
    };
    answer.writeHead(403).end(JSON.stringify(body));
    return true;
  };
  assert.equal(
    await messageOf(fetchManifest(session, 'app', 'v1'), name),
    `pull access denied for ${registry.host}/app, repository does not exist or may require 'docker login': denied: requested access to the resource is denied`,
  );
});

test('a registry that answers 5xx is asked three times, one that answers 4xx once', async () => {
  await using registry = await startFaultyRegistry();
  await using session = await testSession(registry.host);
  registry.fault = (_, answer) => {
    answer.writeHead(502).end('bad gateway');
    return true;
  };
  await assert.rejects(
    fetchManifest(session, 'app', 'v1'),
    /received unexpected HTTP status: 502 Bad Gateway/,
  );
  assert.equal(registry.requests.length, 3);
  registry.fault = (_, answer) => {
    answer.writeHead(400).end('what?');
    return true;
  };
  await assert.rejects(
    fetchManifest(session, 'app', 'v1'),
    /error parsing HTTP 400 response body: "what\?"/,
  );
  assert.equal(registry.requests.length, 4);
});

test('429 waits as Retry-After says and then fails in the words of Docker', async () => {
  await using registry = await startFaultyRegistry();
  const waits: number[] = [];
  await using session = await testSession(registry.host, { waits });
  registry.fault = (_, answer) => {
    const body = {
      errors: [{ code: 'TOOMANYREQUESTS', message: 'You have reached your pull rate limit.' }],
    };
    answer.writeHead(429, { 'retry-after': '3' }).end(JSON.stringify(body));
    return true;
  };
  await assert.rejects(
    fetchManifest(session, 'app', 'v1'),
    /toomanyrequests: You have reached your pull rate limit\./,
  );
  assert.deepEqual(waits, [3000, 3000]);
});

test('a manifest of 100 MB is refused before it is read', async () => {
  await using registry = await startFaultyRegistry();
  await using session = await testSession(registry.host);
  let sent = 0;
  registry.fault = (_, answer) => {
    answer.writeHead(200, { 'content-type': IMAGE.manifest.mediaType });
    const chunk = Buffer.alloc(1 << 20, 32);
    const more = (): void => {
      sent += chunk.length;
      if (sent > 100 << 20) answer.end();
      else answer.write(chunk, more);
    };
    more();
    return true;
  };
  await assert.rejects(fetchManifest(session, 'app', 'v1'), /manifest is larger than/);
  assert(sent < 30 << 20, `${sent} bytes were sent`);
});

test('a web page in place of a manifest is said so', async () => {
  await using registry = await startFaultyRegistry();
  await using session = await testSession(registry.host);
  registry.fault = (_, answer) => {
    answer.writeHead(200, { 'content-type': 'text/html' }).end('<html><body>Please log in');
    return true;
  };
  await assert.rejects(fetchManifest(session, 'app', 'v1'), /web page instead of a manifest/);
});

test('nobody there is one clear error, at once', async () => {
  const server = net.createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  await using session = await testSession(`127.0.0.1:${port}`);
  await assert.rejects(fetchManifest(session, 'app', 'v1'), {
    message: `Get "http://127.0.0.1:${port}/v2/app/manifests/v1": dial tcp 127.0.0.1:${port}: connect: connection refused`,
  });
});

test('a name that does not resolve is one clear error', async () => {
  await using session = await testSession('registry.invalid');
  await assert.rejects(
    fetchManifest(session, 'app', 'v1'),
    /^EngineError: Get "https:\/\/registry\.invalid\/v2\/app\/manifests\/v1": dial tcp: lookup registry\.invalid: /,
  );
});

test('what does not speak HTTP is one clear error', async () => {
  const server = net.createServer((socket) => socket.end('220 mail.example ESMTP\r\n'));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  try {
    await using session = await testSession(`127.0.0.1:${port}`);
    await assert.rejects(fetchManifest(session, 'app', 'v1'), /malformed HTTP response "220 mail/);
  } finally {
    server.close();
  }
});

for (const field of ['token', 'access_token'] as const) {
  test(`tokens are got once for a scope and used for all (${field})`, async () => {
    const auth: FaultyAuth = { kind: 'token', user: 'me', password: 'secret', field };
    await using registry = await startFaultyRegistry({ auth });
    registry.add('app', 'v1', IMAGE);
    await using session = await testSession(registry.host, { credentials: USER });
    await fetchManifest(session, 'app', 'v1');
    await fetchManifest(session, 'app', IMAGE.manifest.digest);
    const tokens = registry.requests.filter((each) => each.path === '/token');
    assert.equal(tokens.length, 1);
    assert.equal(tokens[0]?.query.get('scope'), 'repository:app:pull');
    assert.equal(tokens[0]?.query.get('service'), 'faulty');
  });
}

test('a token that the registry no longer takes is got anew', async () => {
  const auth: FaultyAuth = { kind: 'token', user: 'me', password: 'secret' };
  await using registry = await startFaultyRegistry({ auth });
  registry.add('app', 'v1', IMAGE);
  await using session = await testSession(registry.host, { credentials: USER });
  await fetchManifest(session, 'app', 'v1');
  let refusals = 0;
  registry.fault = (request, answer) => {
    if (!request.path.startsWith('/v2/') || refusals > 0) return false;
    refusals += 1;
    answer.writeHead(401, {
      'www-authenticate': `Bearer realm="${registry.url}/token",service="faulty",error="invalid_token"`,
    });
    answer.end();
    return true;
  };
  await fetchManifest(session, 'app', 'v1');
  assert.equal(registry.requests.filter((each) => each.path === '/token').length, 2);
});

test('an identity token is refreshed by POST, without a password', async () => {
  const auth: FaultyAuth = { kind: 'token', user: 'x', password: 'y', refreshToken: 'r3fr3sh' };
  await using registry = await startFaultyRegistry({ auth });
  registry.add('app', 'v1', IMAGE);
  await using session = await testSession(registry.host, {
    credentials: { username: '<token>', identityToken: 'r3fr3sh' },
  });
  assert.equal((await fetchManifest(session, 'app', 'v1')).digest, IMAGE.manifest.digest);
  assert.equal(registry.count('POST', '/token'), 1);
});

test('a wrong password ends it, and appears in no message', async () => {
  for (const kind of ['basic', 'token'] as const) {
    await using registry = await startFaultyRegistry({
      auth: { kind, user: 'me', password: 'right' },
    });
    registry.add('app', 'v1', IMAGE);
    await using session = await testSession(registry.host, { credentials: USER });
    await assert.rejects(fetchManifest(session, 'app', 'v1'), (error) => {
      assert(isEngineError(error, 'unauthorized'));
      assert.match(error.message, /^unauthorized: /);
      assert.doesNotMatch(JSON.stringify(error) + error.message + String(error.cause), /secret/);
      return true;
    });
  }
});

test('without credentials, a registry that wants them is told apart', async () => {
  const basic = { kind: 'basic', user: 'me', password: 'secret' } as const;
  await using registry = await startFaultyRegistry({ auth: basic });
  await using session = await testSession(registry.host);
  await assert.rejects(fetchManifest(session, 'app', 'v1'), /no basic auth credentials/);
});

test('credentials are not sent to a realm without TLS by a registry with it', async () => {
  using folder = temporaryFolder('tls');
  const tls = certificate(folder.path, '127.0.0.1');
  await using registry = await startFaultyRegistry({ tls });
  await using thief = await startFaultyRegistry();
  registry.fault = (_, answer) => {
    answer.writeHead(401, { 'www-authenticate': `Bearer realm="${thief.url}/token"` }).end();
    return true;
  };
  await using session = await testSession(registry.host, { credentials: USER });
  await assert.rejects(fetchManifest(session, 'app', 'v1'), /no usable realm/);
  assert.equal(thief.requests.length, 0);
});

test('login verifies a user and gives a refresh token', async () => {
  const auth: FaultyAuth = { kind: 'token', user: 'me', password: 'secret', refreshToken: 'keep' };
  await using registry = await startFaultyRegistry({ auth });
  const none = { identityToken: '', registryToken: '' };
  await using session = await testSession(registry.host);
  assert.equal(await login(session, { ...USER, ...none }), 'keep');
  await assert.rejects(login(session, { username: 'me', password: 'no', ...none }), {
    kind: 'unauthorized',
    message: 'unauthorized: incorrect username or password',
  });

  const basic = { kind: 'basic', user: 'me', password: 'secret' } as const;
  await using plain = await startFaultyRegistry({ auth: basic });
  await using plainSession = await testSession(plain.host);
  assert.equal(await login(plainSession, { ...USER, ...none }), '');
  await assert.rejects(login(plainSession, { username: 'me', password: 'no', ...none }), {
    kind: 'unauthorized',
  });
});

test('TLS: an unknown authority is refused, one in certs.d is taken, and so is a client certificate', async () => {
  using folder = temporaryFolder('tls');
  const tls = certificate(folder.path, '127.0.0.1');
  await using registry = await startFaultyRegistry({ tls });
  registry.add('app', 'v1', IMAGE);
  // 127.0.0.1 is always insecure: another name for it is not.
  const port = registry.host.split(':')[1];
  await using insecure = await testSession(registry.host);
  assert.equal((await fetchManifest(insecure, 'app', 'v1')).digest, IMAGE.manifest.digest);

  const name = `127.0.0.1.nip.test:${port}`;
  const folders = path.join(folder.path, 'certs.d');
  mkdirSync(path.join(folders, name), { recursive: true });
  const { tlsContextFor } = await import('../../src/registry/tls-context.ts');
  assert(tlsContextFor(name, [folders]));
  copyFileSync(path.join(folder.path, 'cert.pem'), path.join(folders, name, 'ca.crt'));
  assert(tlsContextFor(name, [folders]));
  copyFileSync(path.join(folder.path, 'cert.pem'), path.join(folders, name, 'client.cert'));
  assert.throws(
    () => tlsContextFor(name, [folders]),
    /missing key client\.key for client certificate client\.cert/,
  );
  copyFileSync(path.join(folder.path, 'key.pem'), path.join(folders, name, 'client.key'));
  assert(tlsContextFor(name, [folders]));
});

test('plain HTTP by a proxy goes there with the whole URL', async () => {
  await using registry = await startFaultyRegistry();
  registry.add('app', 'v1', IMAGE);
  const seen: string[] = [];
  const proxy = http.createServer((request, answer) => {
    seen.push(`${request.url} ${request.headers['proxy-authorization'] ?? ''}`);
    const target = new URL(request.url ?? '');
    const forward = http.request(
      `${registry.url}${target.pathname}`,
      { headers: { ...request.headers, host: registry.host } },
      (back) => {
        answer.writeHead(back.statusCode ?? 500, back.headers);
        back.pipe(answer);
      },
    );
    forward.end();
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  try {
    const { port } = proxy.address() as AddressInfo;
    await using session = await testSession('registry.invalid', {
      insecure: ['registry.invalid'],
      httpProxy: `http://user:pass@127.0.0.1:${port}`,
    });
    assert.equal((await fetchManifest(session, 'app', 'v1')).digest, IMAGE.manifest.digest);
    const authorization = `Basic ${Buffer.from('user:pass').toString('base64')}`;
    assert.deepEqual(seen, [`http://registry.invalid/v2/app/manifests/v1 ${authorization}`]);
  } finally {
    proxy.closeAllConnections();
    proxy.close();
  }
});

test('mirrors are tried first, without credentials, and left when they fail', async () => {
  await using good = await startFaultyRegistry();
  await using bad = await startFaultyRegistry();
  good.add('library/app', 'v1', IMAGE);
  bad.fault = (_, answer) => {
    answer.writeHead(500).end();
    return true;
  };
  await using session = await testSession('docker.io', {
    mirrors: [bad.url, good.url],
    credentials: USER,
  });
  const manifest = await fetchManifest(session, 'library/app', 'v1');
  assert.equal(manifest.digest, IMAGE.manifest.digest);
  assert.equal(bad.requests.length, 1);
  assert(good.requests.every((each) => each.authorization === undefined));
});

test('all tags come, page by page', async () => {
  await using registry = await startFaultyRegistry();
  await using session = await testSession(registry.host);
  registry.fault = (request, answer) => {
    const last = request.query.get('last');
    const more: Record<string, string> =
      last === null ? { link: '</v2/app/tags/list?last=b&n=2>; rel="next"' } : {};
    answer.writeHead(200, more);
    answer.end(
      JSON.stringify({ name: 'app', tags: last === null ? ['a', 'b'] : ['c', 'bad tag\n'] }),
    );
    return true;
  };
  assert.deepEqual(await listTags(session, 'app'), ['a', 'b', 'c']);
});

test('a list of tags that is none, or never ends, is one clear error', async () => {
  await using registry = await startFaultyRegistry();
  await using session = await testSession(registry.host);
  const answerWith = (type: string, text: string, link?: (before: number) => string): void => {
    registry.fault = ({ before }, answer) => {
      const more = link === undefined ? {} : { link: link(before) };
      answer.writeHead(200, { 'content-type': type, ...more }).end(text);
      return true;
    };
  };
  answerWith('text/html', '<html>log in</html>');
  await assert.rejects(listTags(session, 'app'), /web page instead of a list of tags/);
  answerWith('application/json', '{"tags":');
  await assert.rejects(listTags(session, 'app'), /the list of tags is not valid: invalid JSON/);
  answerWith('application/json', '{"tags":"all"}');
  await assert.rejects(listTags(session, 'app'), /the list of tags is not valid: /);
  const tags = JSON.stringify({ tags: Array.from({ length: 5000 }, (_, i) => `t${i}`) });
  answerWith('application/json', tags, (n) => `</v2/app/tags/list?last=${n}>; rel="next"`);
  await assert.rejects(listTags(session, 'app'), /the repository has more than \d+ tags/);
});

/** A self-signed certificate. */
function certificate(folder: string, address: string): { key: string; cert: string } {
  const key = path.join(folder, 'key.pem');
  const cert = path.join(folder, 'cert.pem');
  const subject = ['-subj', '/CN=registry', '-addext', `subjectAltName=IP:${address}`];
  const files = ['-keyout', key, '-out', cert];
  execFileSync(
    'openssl',
    ['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', ...files, ...subject],
    { stdio: 'ignore' },
  );
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}
