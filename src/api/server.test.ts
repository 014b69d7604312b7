import assert from 'node:assert/strict';
import { Readable } from 'node:stream';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { deferred } from '../base/async.ts';
import { conflict, notFound, notModified } from '../base/errors.ts';
import { readToEnd, serveApi } from './fixture.ts';

const stopped = async (): Promise<void> => {
  throw notModified('stopped already');
};

test('a value goes through with its params, query and body, and comes back', async () => {
  const seen: unknown[] = [];
  await using api = await serveApi({
    volumeCreate: async (_engine, args) => {
      seen.push(args.body);
      return {
        CreatedAt: '',
        Driver: 'local',
        Labels: null,
        Mountpoint: '/m',
        Name: args.body.Name,
        Options: null,
        Scope: 'local',
      };
    },
    imageTag: async (_engine, args) => void seen.push(args.params, args.query),
    containerStop: stopped,
  });
  const client = await api.client();
  const volume = await client.volumeCreate({ body: { Name: 'data', Labels: { a: 'b' } } });
  assert.equal(volume.Name, 'data');
  await client.imageTag({
    params: { name: 'localhost:5000/team/app:v1' },
    query: { repo: 'a/b', tag: 'v 2&x' },
  });
  assert.deepEqual(seen, [
    { Name: 'data', Driver: '', DriverOpts: {}, Labels: { a: 'b' } },
    { name: 'localhost:5000/team/app:v1' },
    { repo: 'a/b', tag: 'v 2&x' },
  ]);
  await client.containerStop({ params: { id: 'x' } });
});

test('the answer to a good call has the headers that clients negotiate by', async () => {
  await using api = await serveApi({ volumeRemove: async () => undefined });
  const answer = await api.exchange(
    'DELETE /v1.41/volumes/x HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n',
  );
  assert.match(answer, /^HTTP\/1\.1 204 No Content\r\n/);
  for (const header of [
    'Api-Version: 1.51',
    'Docker-Experimental: false',
    'Ostype: linux',
    'Server: Coracle/0.0.0 (linux)',
  ]) {
    assert.ok(answer.includes(`\r\n${header}\r\n`), header);
  }
});

test('failures have the status of their kind and the shape of Docker', async () => {
  await using api = await serveApi({
    volumeInspect: async (_engine, { params }) => {
      if (params.name === 'bug') throw new Error('assertion failed: x');
      if (params.name === 'used') throw conflict('volume is in use');
      throw notFound(`get ${params.name}: no such volume`);
    },
  });
  const get = async (target: string, method = 'GET'): Promise<string> =>
    (
      await api.exchange(`${method} ${target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n`)
    ).replace(/\r\n(.*\r\n)*\r\n/, ' ');
  const cases: [string, string][] = [
    ['/volumes/none', 'HTTP/1.1 404 Not Found {"message":"get none: no such volume"}\n'],
    ['/volumes/used', 'HTTP/1.1 409 Conflict {"message":"volume is in use"}\n'],
    ['/volumes/bug', 'HTTP/1.1 500 Internal Server Error {"message":"assertion failed: x"}\n'],
    ['/nothing', 'HTTP/1.1 404 Not Found {"message":"page not found"}\n'],
    ['/', 'HTTP/1.1 404 Not Found {"message":"page not found"}\n'],
    [
      '/v1.23/volumes/x',
      'HTTP/1.1 400 Bad Request {"message":"client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"}\n',
    ],
    [
      '/v1.99/volumes/x',
      'HTTP/1.1 400 Bad Request {"message":"client version 1.99 is too new. Maximum supported API version is 1.51"}\n',
    ],
    ['/volumes/%zz', 'HTTP/1.1 400 Bad Request {"message":"invalid URL escape in the path"}\n'],
    [
      '/v1.41/services',
      'HTTP/1.1 503 Service Unavailable {"message":"This node is not a swarm manager. Coracle runs containers on this machine only."}\n',
    ],
  ];
  for (const [target, want] of cases) assert.equal(await get(target), want);
  assert.match(await get('/volumes/x', 'POST'), /^HTTP\/1\.1 405 Method Not Allowed /);
});

test('bodies are JSON of a bounded size, and say so', async () => {
  await using api = await serveApi({
    networkDisconnect: async () => undefined,
    containerCommit: async (_engine, { body }) => ({ Id: body.Hostname }),
  });
  const post = async (target: string, headers: string, body: string): Promise<string> => {
    const answer = await api.exchange(
      `POST ${target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\nContent-Length: ${body.length}\r\n${headers}\r\n${body}`,
    );
    return answer.slice(answer.indexOf('\r\n\r\n') + 4).trim();
  };
  const target = '/networks/n/disconnect';
  const json = 'Content-Type: application/json\r\n';
  assert.equal(await post(target, `${json}`, '{}'), '');
  assert.equal(
    await post(target, '', '{}'),
    '{"message":"malformed Content-Type header (): mime: no media type"}',
  );
  assert.equal(
    await post(target, 'Content-Type: text/plain\r\n', '{}'),
    `{"message":"unsupported Content-Type header (text/plain): must be 'application/json'"}`,
  );
  assert.equal(
    await post(target, json, ''),
    '{"message":"invalid JSON: got EOF while reading request body"}',
  );
  assert.match(await post(target, json, '{"Container": 5}'), /cannot unmarshal number/);
  assert.match(await post(target, json, '{'), /invalid JSON/);
  assert.equal(await post('/commit', '', ''), '{"Id":""}');
  const huge = await api
    .exchange(
      `POST ${target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n${json}Content-Length: 99999999\r\n\r\n{`,
    )
    .catch(String);
  assert.match(huge, /larger than/);
});

test('a client that sends its whole body first reads the answer of a refusal', async () => {
  await using api = await serveApi({
    imageLoad: async () => {
      throw conflict('not now');
    },
  });
  const body = 'x'.repeat(8 << 20);
  for (const target of ['/nowhere', '/images/load']) {
    const head = `POST ${target} HTTP/1.1\r\nHost: d\r\nConnection: close\r\n`;
    const answer = await api.exchange(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
    assert.match(answer, /^HTTP\/1\.1 40\d .*\r\n\r\n\{"message":"[^"]+"\}\n$/s, target);
  }
  // One that never sends it is not waited for.
  const promised = 'POST /nowhere HTTP/1.1\r\nHost: d\r\nConnection: close\r\n';
  assert.match(await api.exchange(`${promised}Content-Length: 5\r\n\r\n`), /page not found/);
});

test('progress: an early failure has a status, a late one is the last line', async () => {
  await using api = await serveApi({
    imagePull: async (_engine, { query }, call) => {
      if (query.fromImage === 'none') throw notFound('pull access denied');
      call.progress({ status: 'Pulling', id: 'a' });
      throw notFound('manifest unknown');
    },
    imageImport: async (_engine, { query, body }, call) => {
      let bytes = 0;
      for await (const chunk of body as AsyncIterable<Buffer>) bytes += chunk.length;
      call.progress({ status: `${query.fromSrc} ${bytes}` });
    },
  });
  const client = await api.client();
  await assert.rejects(client.imagePull({ query: { fromImage: 'none' } }), {
    kind: 'notFound',
    message: 'pull access denied',
  });
  const lines: unknown[] = [];
  await assert.rejects(async () => {
    for await (const line of await client.imagePull({ query: { fromImage: 'x' } })) {
      lines.push(line);
    }
  }, /manifest unknown/);
  assert.deepEqual(lines, [{ status: 'Pulling', id: 'a' }]);
  const imported = await client.imageImport({
    query: { fromSrc: '-' },
    body: Readable.from([Buffer.alloc(70_000), Buffer.alloc(5)]),
  });
  for await (const line of imported) assert.deepEqual(line, { status: '- 70005' });
});

test('wait answers its headers before its value', async () => {
  const ended = deferred<{ StatusCode: number }>();
  await using api = await serveApi({ containerWait: async () => ({ answer: ended.promise }) });
  const client = await api.client();
  const { answer } = await client.containerWait({ params: { id: 'x' } });
  ended.resolve({ StatusCode: 7 });
  assert.deepEqual(await answer, { StatusCode: 7 });
});

test('a client that goes away aborts its call and frees its stream', async () => {
  const aborted = deferred();
  const freed = deferred();
  await using api = await serveApi({
    systemEvents: async (_engine, _args, call) => {
      call.signal.addEventListener('abort', () => aborted.resolve());
      const body = new Readable({ read: () => undefined });
      body.on('close', () => freed.resolve());
      body.push('{"Type":"container"}\n');
      return { contentType: 'application/json', body };
    },
  });
  const client = await api.client();
  for await (const event of await client.systemEvents()) {
    assert.equal(event.Type, 'container');
    break;
  }
  await Promise.all([aborted.promise, freed.promise]);
});

test('a follower that does not read is not buffered for without bound', async () => {
  let produced = 0;
  await using api = await serveApi({
    containerLogs: async () => ({
      contentType: 'application/vnd.docker.raw-stream',
      body: new Readable({
        read() {
          produced += 65_536;
          this.push(Buffer.alloc(65_536));
        },
      }),
    }),
  });
  const socket = await api.dial();
  socket.write('GET /containers/x/logs HTTP/1.1\r\nHost: d\r\n\r\n');
  await sleep(300);
  assert.ok(produced < 4 << 20, `${produced} bytes for a client that reads none`);
  socket.destroy();
});

test('closing ends streams and idle connections at once and lets calls finish', async () => {
  const started = deferred();
  const go = deferred();
  await using api = await serveApi({
    volumeRemove: async () => {
      started.resolve();
      await go.promise;
    },
    systemEvents: async () => ({
      contentType: 'application/json',
      body: new Readable({ read: () => undefined }),
    }),
  });
  const idle = await api.dial();
  const stream = await api.dial();
  stream.write('GET /events HTTP/1.1\r\nHost: d\r\n\r\n');
  const call = await api.dial();
  call.write('DELETE /volumes/x HTTP/1.1\r\nHost: d\r\n\r\n');
  await started.promise;
  await sleep(20);
  const closing = api.api.close(5000);
  setTimeout(() => go.resolve(), 50);
  const [ended, , answer] = await Promise.all([
    readToEnd(idle).catch(() => ''),
    readToEnd(stream).catch(() => ''),
    readToEnd(call),
  ]);
  assert.equal(ended, '');
  assert.match(answer, /^HTTP\/1\.1 204 /);
  await closing;
});
