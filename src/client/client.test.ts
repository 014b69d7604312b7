import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer, type RequestListener } from 'node:http';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { CONTRACT } from '../api/contract/contract.ts';
import { pathOf } from './call.ts';
import { type Client, connect } from './client.ts';
import { jsonLines } from './lines.ts';

/** A daemon that is only what it answers. */
async function daemon(answer: RequestListener): Promise<AsyncDisposable & { client: Client }> {
  const folder = await mkdtemp(path.join(tmpdir(), 'coracle-client-'));
  const socket = path.join(folder, 's');
  const server = createServer(answer);
  await new Promise<void>((resolve) => server.listen(socket, resolve));
  const client = await connect({ host: `unix://${socket}` });
  return {
    client,
    [Symbol.asyncDispose]: async () => {
      client.close();
      server.closeAllConnections();
      server.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** One that knows nothing newer than v1.41. */
function oldDaemon(seen: string[]): RequestListener {
  return (request, response) => {
    seen.push(`${request.method} ${request.url}`);
    response.setHeader('Api-Version', '1.41');
    request.resume();
    request.on('end', () => {
      if (/^\/v1\.(4[2-9]|5)/.test(request.url ?? '')) {
        response.writeHead(400, { 'Content-Type': 'application/json' });
        response.end('{"message":"client version 1.51 is too new. Maximum …"}');
      } else response.end('{}');
    });
  };
}

test('the version is agreed upon by the first call, and asked for before a stream is sent', async () => {
  const seen: string[] = [];
  await using it = await daemon(oldDaemon(seen));
  await it.client.volumeCreate({ body: { Name: 'a' } });
  await it.client.volumeList();
  assert.deepEqual(seen, [
    'POST /v1.51/volumes/create',
    'POST /v1.41/volumes/create',
    'GET /v1.41/volumes',
  ]);
  assert.deepEqual(it.client.apiVersion(), [1, 41]);

  const again: string[] = [];
  await using other = await daemon(oldDaemon(again));
  for await (const _line of await other.client.imageLoad({ body: Readable.from(['x']) })) break;
  assert.deepEqual(again, ['GET /_ping', 'POST /v1.41/images/load']);
});

test('statuses become kinds, with the daemon’s words', async () => {
  await using it = await daemon((request, response) => {
    const status = Number(/volumes\/(\d+)/.exec(request.url ?? '')?.[1]);
    response.writeHead(status);
    response.end(status === 502 ? '<html>proxy' : status === 500 ? '' : '{"message":"no"}');
  });
  const kinds: [number, string, string][] = [
    [400, 'invalidArgument', 'no'],
    [401, 'unauthorized', 'no'],
    [403, 'forbidden', 'no'],
    [404, 'notFound', 'no'],
    [409, 'conflict', 'no'],
    [501, 'notImplemented', 'no'],
    [503, 'unavailable', 'no'],
    [502, 'internal', '<html>proxy'],
    [500, 'internal', 'the daemon answered with status 500'],
  ];
  for (const [status, kind, message] of kinds) {
    const call = it.client.volumeInspect({ params: { name: `${status}` } });
    await assert.rejects(call, { kind, message, detail: { status } });
  }
});

test('a daemon that is not there is said to be so, in Docker’s words', async () => {
  const client = await connect({ host: 'unix:///nowhere/at/all.sock' });
  await assert.rejects(client.systemVersion(), {
    kind: 'unavailable',
    message:
      'Cannot connect to the Docker daemon at unix:///nowhere/at/all.sock. Is the docker daemon running?',
  });
});

test('a signal ends a call with its reason', async () => {
  await using it = await daemon(() => undefined);
  const reason = new Error('enough');
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 20);
  await assert.rejects(it.client.systemInfo({ signal: controller.signal }), reason);
});

test('paths keep the slashes of image names and escape everything else', () => {
  const at = (params: Record<string, string>, name: keyof typeof CONTRACT): string =>
    pathOf(CONTRACT[name], { params });
  assert.equal(
    at({ name: 'r:5000/a/b@sha256:0' }, 'imageInspect'),
    '/images/r%3A5000/a/b%40sha256%3A0/json',
  );
  assert.equal(at({ id: 'a/../b?c' }, 'containerInspect'), '/containers/a%2F..%2Fb%3Fc/json');
});

test('JSON lines come out whole however they are cut', async () => {
  const text = '{"a":1}\r\n\n{"b":"ä"}\n{"c":3}';
  const bytes = Buffer.from(text);
  for (const step of [1, 2, 5, 100]) {
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.length; at += step) chunks.push(bytes.subarray(at, at + step));
    const out: unknown[] = [];
    for await (const value of jsonLines(Readable.from(chunks))) out.push(value);
    assert.deepEqual(out, [{ a: 1 }, { b: 'ä' }, { c: 3 }]);
  }
  await assert.rejects(async () => {
    for await (const _value of jsonLines(Readable.from([Buffer.from('{"a":\n')]))) break;
  }, /is not JSON/);
});
