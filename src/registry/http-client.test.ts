import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import http from 'node:http';
import https from 'node:https';
import net, { type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, test } from 'node:test';
import { createSecureContext } from 'node:tls';
import { createHttpClient, type HttpClient, type Route } from './http-client.ts';
import { errorOfConnection } from './registry-error.ts';

const folder = mkdtempSync(path.join(tmpdir(), 'coracle-http-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const BYTES = randomBytes(5 << 20);
const signal = new AbortController().signal;

function certificate(name: string, names: string): { key: string; cert: string } {
  const key = path.join(folder, `${name}.key`);
  const cert = path.join(folder, `${name}.pem`);
  execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'rsa:2048', '-nodes', '-days', '2', '-subj', '/CN=x'],
      ...['-addext', `subjectAltName=${names}`, '-keyout', key, '-out', cert],
    ],
    { stdio: 'ignore' },
  );
  return { key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8') };
}

/** Listens on loopback until the test's end; resolves with the port. */
async function listen(server: net.Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  after(() => server.close());
  return (server.address() as AddressInfo).port;
}

const DIRECT: Route = { proxy: undefined, secureContext: undefined, verify: true };
const client = (route: Partial<Route> = {}): HttpClient =>
  createHttpClient({ route: () => ({ ...DIRECT, ...route }), agent: 'test', stallMs: 2000 });

async function get(from: HttpClient, url: string): Promise<Buffer> {
  const answer = await from.request({ method: 'GET', url: new URL(url), headers: {}, signal });
  const pieces: Buffer[] = [];
  for await (const piece of answer.body) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

test('many requests go over one connection, and large bodies come whole', async () => {
  const server = http.createServer((_, answer) => answer.end(BYTES));
  let connections = 0;
  server.on('connection', () => {
    connections += 1;
  });
  const url = `http://127.0.0.1:${await listen(server)}/`;
  await using it = client();
  for (let i = 0; i < 5; i += 1) assert.deepEqual(await get(it, url), BYTES);
  assert.equal(connections, 1);
});

test('a kept connection that the server has closed is no failure', async () => {
  const server = http.createServer((request, answer) => {
    answer.end('x', () => setTimeout(() => request.socket.destroy(), 10));
  });
  const url = `http://127.0.0.1:${await listen(server)}/`;
  await using it = client();
  await get(it, url);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal((await get(it, url)).toString(), 'x');
});

test('what a server said into an idle connection is not taken for an answer', async () => {
  let connections = 0;
  const server = net.createServer((socket) => {
    connections += 1;
    socket.once('data', () => {
      socket.write('HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx');
      const late = 'HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n';
      setTimeout(() => socket.end(late), 20);
    });
    socket.on('error', () => socket.destroy());
  });
  const url = `http://127.0.0.1:${await listen(server)}/`;
  await using it = client();
  await get(it, url);
  await new Promise((resolve) => setTimeout(resolve, 60));
  assert.equal((await get(it, url)).toString(), 'x');
  assert.equal(connections, 2);
});

test('a slow reader slows the server down: little is read ahead', async () => {
  let sent = 0;
  const chunk = Buffer.alloc(64 << 10);
  const server = http.createServer((_, answer) => {
    const more = (): void => {
      sent += chunk.length;
      if (sent < 64 << 20) answer.write(chunk, more);
    };
    more();
  });
  const url = new URL(`http://127.0.0.1:${await listen(server)}/`);
  await using it = client();
  const answer = await it.request({ method: 'GET', url, headers: {}, signal });
  for await (const piece of answer.body) {
    assert(piece.length > 0);
    await new Promise((resolve) => setTimeout(resolve, 300));
    break;
  }
  assert(sent < 32 << 20, `${sent} bytes were sent`);
});

test('TLS: an unknown authority, a wrong name and plain HTTP are told apart in the words of Go', async () => {
  const { key, cert } = certificate('good', 'IP:127.0.0.1');
  const wrong = certificate('wrong', 'DNS:other.example');
  const answer: http.RequestListener = (_, response) => response.end(BYTES);
  const good = `https://127.0.0.1:${await listen(https.createServer({ key, cert }, answer))}/`;
  const bad = `https://127.0.0.1:${await listen(https.createServer(wrong, answer))}/`;
  const plain = `https://127.0.0.1:${await listen(http.createServer(answer))}/`;
  const trusting = createSecureContext({ ca: [cert, wrong.cert] });
  const fails = async (url: string, route: Partial<Route>, message: RegExp): Promise<void> => {
    await using it = client(route);
    try {
      await get(it, url);
    } catch (error) {
      assert.match(errorOfConnection('GET', new URL(url), error).message, message);
      return;
    }
    assert.fail(`${url} was taken`);
  };
  const stranger = createSecureContext({});
  await fails(good, { secureContext: stranger }, /x509: certificate signed by unknown authority$/);
  await fails(
    bad,
    { secureContext: trusting },
    /x509: certificate is valid for other\.example, not 127\.0\.0\.1$/,
  );
  await fails(
    plain,
    { secureContext: trusting },
    /http: server gave HTTP response to HTTPS client$/,
  );

  await using verified = client({ secureContext: trusting });
  assert.deepEqual(await get(verified, good), BYTES);
  await using unverified = client({ secureContext: stranger, verify: false });
  assert.deepEqual(await get(unverified, bad), BYTES);
});

test('TLS bodies come whole to a reader that pauses', async () => {
  const { key, cert } = certificate('slow', 'IP:127.0.0.1');
  const server = https.createServer({ key, cert }, (_, answer) => answer.end(BYTES));
  const url = new URL(`https://127.0.0.1:${await listen(server)}/`);
  await using it = client({ secureContext: createSecureContext({ ca: cert }) });
  const answer = await it.request({ method: 'GET', url, headers: {}, signal });
  const hash = createHash('sha256');
  let pieces = 0;
  for await (const piece of answer.body) {
    pieces += 1;
    if (pieces % 20 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    hash.update(piece);
  }
  assert.equal(hash.digest('hex'), createHash('sha256').update(BYTES).digest('hex'));
});

test('TLS by a proxy goes through a tunnel that the proxy cannot read', async () => {
  const { key, cert } = certificate('tunnel', 'IP:127.0.0.1');
  const server = https.createServer({ key, cert }, (_, answer) => answer.end(BYTES));
  const url = `https://127.0.0.1:${await listen(server)}/`;
  const asked: string[] = [];
  const proxy = http.createServer();
  proxy.on('connect', (request, socket: net.Socket) => {
    asked.push(`${request.url} ${request.headers['proxy-authorization']}`);
    const port = Number(request.url?.split(':')[1]);
    const through = net.connect(port, '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      through.pipe(socket);
      socket.pipe(through);
    });
    socket.on('error', () => through.destroy());
    through.on('error', () => socket.destroy());
  });
  const port = await listen(proxy);
  const secureContext = createSecureContext({ ca: cert });
  await using it = client({ secureContext, proxy: new URL(`http://u:p%40@127.0.0.1:${port}`) });
  assert.deepEqual(await get(it, url), BYTES);
  const basic = Buffer.from('u:p@').toString('base64');
  assert.deepEqual(asked, [`${new URL(url).host} Basic ${basic}`]);
});

test('a proxy that refuses is one clear error', async () => {
  const proxy = http.createServer();
  proxy.on('connect', (_, socket: net.Socket) => socket.end('HTTP/1.1 403 Forbidden\r\n\r\n'));
  const port = await listen(proxy);
  const secureContext = createSecureContext({});
  await using it = client({ secureContext, proxy: new URL(`http://127.0.0.1:${port}`) });
  await assert.rejects(
    get(it, 'https://registry.invalid/'),
    /proxyconnect: the proxy answered 403 Forbidden/,
  );
});

test('a body is sent with its length, and an early refusal is read', async () => {
  let received = 0;
  const server = http.createServer((request, answer) => {
    if (request.url === '/refuse') {
      answer.writeHead(413, { connection: 'close' }).end('too large');
      return;
    }
    request.on('data', (piece: Buffer) => {
      received += piece.length;
    });
    request.on('end', () => answer.end(String(request.headers['content-length'])));
  });
  const url = `http://127.0.0.1:${await listen(server)}`;
  await using it = client();
  const send = (target: string, chunks: Uint8Array[]) =>
    it.request({
      method: 'PUT',
      url: new URL(url + target),
      headers: {},
      body: { sizeBytes: chunks.reduce((sum, each) => sum + each.length, 0), chunks },
      signal,
    });
  const taken = await send('/take', [BYTES, Buffer.from('x')]);
  assert.equal(await taken.text(100), String(BYTES.length + 1));
  assert.equal(received, BYTES.length + 1);
  const refused = await send('/refuse', Array<Buffer>(20).fill(BYTES));
  assert.equal(refused.status, 413);
});

test('a header with a line break is never sent', async () => {
  const server = http.createServer((_, answer) => answer.end());
  const url = new URL(`http://127.0.0.1:${await listen(server)}/`);
  await using it = client();
  await assert.rejects(
    it.request({ method: 'GET', url, headers: { X: 'a\r\nEvil: yes' }, signal }),
    /bad value of the header X/,
  );
});
