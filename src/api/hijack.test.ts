import assert from 'node:assert/strict';
import type { Socket } from 'node:net';
import { PassThrough } from 'node:stream';
import { test } from 'node:test';
import { deferred } from '../base/async.ts';
import { notFound } from '../base/errors.ts';
import type { HijackCall } from '../engine/call.ts';
import { StdcopyReader, stdcopyFrame } from '../formats/stdcopy.ts';
import { OPCODE, websocketHeader } from '../formats/websocket.ts';
import { readToEnd, readUntil, serveApi } from './fixture.ts';
import { bodyInSocket } from './hijack.ts';

/** Gives back what it gets, in capitals, after the input has ended. */
async function shout(call: HijackCall, multiplexed: boolean): Promise<void> {
  const stream = await call.hijack({ multiplexed });
  const chunks: Buffer[] = [];
  for await (const chunk of stream.iterator({ destroyOnReturn: false })) chunks.push(chunk);
  const text = Buffer.from(Buffer.concat(chunks).toString().toUpperCase());
  stream.end(multiplexed ? stdcopyFrame('stderr', text) : text);
}

const UPGRADE = 'Connection: Upgrade\r\nUpgrade: tcp\r\n';

test('upgrade: 101, input to its end, then output to its end', async () => {
  await using api = await serveApi({
    containerAttach: (_engine, _args, call) => shout(call, true),
  });
  const socket = await api.dial();
  socket.write(
    `POST /v1.42/containers/x/attach?stdin=1 HTTP/1.1\r\nHost: d\r\n${UPGRADE}\r\nhello`,
  );
  const head = await readUntil(socket, '\r\n\r\n');
  assert.match(head, /^HTTP\/1\.1 101 UPGRADED\r\n/);
  assert.match(head, /Content-Type: application\/vnd\.docker\.multiplexed-stream\r\n/);
  socket.end(' there');
  const pieces = new StdcopyReader().push(Buffer.from(await readToEnd(socket), 'latin1'));
  assert.equal(pieces[0]?.stream, 'stderr');
  assert.equal(Buffer.concat(pieces.map((p) => p.bytes)).toString(), 'HELLO THERE');
});

test('before v1.42 the media type is the raw one', async () => {
  await using api = await serveApi({
    containerAttach: (_engine, _args, call) => shout(call, true),
  });
  const socket = await api.dial();
  socket.write(`POST /v1.41/containers/x/attach HTTP/1.1\r\nHost: d\r\n${UPGRADE}\r\n`);
  assert.match(await readUntil(socket, '\r\n\r\n'), /application\/vnd\.docker\.raw-stream/);
  socket.end();
  await readToEnd(socket);
});

for (const upgrade of [true, false]) {
  for (const chunked of [true, false]) {
    const title = `a body ${chunked ? 'in chunks ' : ''}is read, ${upgrade ? 'with' : 'without'} an upgrade, and what follows is input`;
    test(title, async () => {
      const seen: unknown[] = [];
      await using api = await serveApi({
        execStart: async (_engine, { body }, call) => {
          seen.push(body);
          await shout(call, false);
        },
      });
      const socket = await api.dial();
      const json = '{"Detach":false,"Tty":true}';
      socket.write(
        `POST /exec/x/start HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\n${upgrade ? UPGRADE : ''}`,
      );
      if (chunked) {
        socket.write('Transfer-Encoding: chunked\r\n\r\n5\r\n');
        await new Promise((resolve) => setTimeout(resolve, 30));
        socket.write(`${json.slice(0, 5)}\r\n16\r\n${json.slice(5)}\r\n0\r\n\r\n`);
      } else {
        socket.write(`Content-Length: ${json.length}\r\n\r\n${json.slice(0, 5)}`);
        await new Promise((resolve) => setTimeout(resolve, 30));
        socket.write(json.slice(5));
      }
      const head = await readUntil(socket, '\r\n\r\n');
      assert.match(head, upgrade ? /^HTTP\/1\.1 101 / : /^HTTP\/1\.1 200 OK\r\n/);
      assert.match(head, /application\/vnd\.docker\.raw-stream/);
      socket.write('some in');
      await new Promise((resolve) => setTimeout(resolve, 10));
      socket.end('put');
      assert.equal(await readToEnd(socket), 'SOME INPUT');
      assert.deepEqual(seen, [{ Detach: false, Tty: true, ConsoleSize: null }]);
    });
  }
}

test('a body that nobody wants does not stand in the way of the connection', async () => {
  await using api = await serveApi({
    containerAttach: (_engine, _args, call) => shout(call, false),
  });
  const socket = await api.dial();
  const body = '{"stream":true}';
  socket.write(
    `POST /containers/x/attach HTTP/1.1\r\nHost: d\r\n${UPGRADE}Content-Length: ${body.length}\r\n\r\n${body}`,
  );
  await readUntil(socket, '\r\n\r\n');
  socket.end('input');
  assert.equal(await readToEnd(socket), 'INPUT');
});

test('an upgrade whose body never comes leaves no connection behind', async () => {
  await using api = await serveApi({ execStart: async () => undefined });
  for (const type of ['Content-Type: application/json\r\n', '']) {
    const socket = await api.dial();
    socket.end(
      `POST /exec/x/start HTTP/1.1\r\nHost: d\r\n${UPGRADE}${type}Content-Length: 20\r\n\r\n{"Tty"`,
    );
    await readToEnd(socket).catch(() => '');
    const open = (): Promise<number> =>
      new Promise((resolve) => api.server.getConnections((_error, count) => resolve(count)));
    for (let i = 0; i < 100 && (await open()) > 0; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.equal(await open(), 0);
  }
});

test('failures before the connection is taken have a status, later ones are written', async () => {
  await using api = await serveApi({
    execStart: async (_engine, { params }, call) => {
      if (params.id === 'none') throw notFound('No such exec instance: none');
      if (params.id === 'detached') return;
      await call.hijack({ multiplexed: params.id === 'framed' });
      throw notFound('no such file');
    },
  });
  const start = (id: string): Promise<string> =>
    api.exchange(`POST /exec/${id}/start HTTP/1.1\r\nHost: d\r\n${UPGRADE}\r\n`);
  assert.match(
    await start('none'),
    /^HTTP\/1\.1 404 Not Found\r\n(?:.|\n|\r)*\{"message":"No such exec instance: none"\}\n$/,
  );
  assert.match(await start('detached'), /^HTTP\/1\.1 200 OK\r\n/);
  assert.match(await start('raw'), /\r\n\r\nno such file\r\n$/);
  // oxlint-disable-next-line no-control-regex
  assert.match(await start('framed'), /\r\n\r\n\x01\0\0\0\0\0\0\x0eno such file\r\n$/);
  const bodyTooLong = await api.exchange(
    `POST /exec/x/start HTTP/1.1\r\nHost: d\r\n${UPGRADE}Content-Type: application/json\r\nContent-Length: 999999999\r\n\r\n`,
  );
  assert.match(bodyTooLong, /^HTTP\/1\.1 400 /);
});

test('the client takes a connection, ends its input and reads on', async () => {
  await using api = await serveApi({
    containerAttach: (_engine, _args, call) => shout(call, false),
    execStart: async (_engine, { body }) => assert.equal(body.Detach, true),
  });
  const client = await api.client();
  const { stream, contentType } = await client.containerAttach({
    params: { id: 'x' },
    query: { stdin: true },
  });
  assert.ok(stream !== undefined);
  assert.equal(contentType, 'application/vnd.docker.raw-stream');
  stream.end('to the end');
  assert.equal(await readToEnd(stream), 'TO THE END');
  const detached = await client.execStart({ params: { id: 'x' }, body: { Detach: true } });
  assert.equal(detached.stream, undefined);
});

test('a client that goes away aborts the call', async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  await using api = await serveApi({
    containerAttach: async (_engine, _args, call) => {
      call.signal.addEventListener('abort', () => resolve());
      const stream = await call.hijack({ multiplexed: false });
      const output = setInterval(() => stream.write('tick'), 5);
      call.signal.addEventListener('abort', () => clearInterval(output));
    },
  });
  const socket = await api.dial();
  socket.write(`POST /containers/x/attach HTTP/1.1\r\nHost: d\r\n${UPGRADE}\r\n`);
  await readUntil(socket, 'tick');
  socket.destroy();
  await promise;
});

test('websocket: output as messages without frames of stdcopy, input from messages', async () => {
  await using api = await serveApi({
    containerAttachWebsocket: (_engine, _args, call) => shout(call, true),
  });
  const socket = await api.dial();
  socket.write(
    'GET /v1.41/containers/x/attach/ws?stdin=1 HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  const head = await readUntil(socket, '\r\n\r\n');
  assert.match(head, /^HTTP\/1\.1 101 /);
  assert.match(head, /Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=/);
  const payload = Buffer.from('hello');
  const header = websocketHeader(OPCODE.text, payload.length);
  header[1] = (header[1] ?? 0) | 0x80;
  socket.write(Buffer.concat([header, Buffer.alloc(4), payload]));
  socket.end();
  const answer = Buffer.from(await readToEnd(socket), 'latin1');
  assert.deepEqual(
    answer,
    Buffer.concat([
      websocketHeader(OPCODE.binary, 5),
      Buffer.from('HELLO'),
      Buffer.from([0x88, 2, 3, 0xe8]),
    ]),
  );
  assert.match(
    await api.exchange(
      'GET /containers/x/attach/ws HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n',
    ),
    /not websocket protocol/,
  );
});

test('websocket: pings whose answers nobody reads fill no memory', async () => {
  const held = deferred();
  await using api = await serveApi({
    containerAttachWebsocket: async (_engine, _args, call) => {
      const stream = await call.hijack({ multiplexed: false });
      stream.on('error', () => undefined).resume();
      await held.promise;
    },
  });
  const connection = deferred<Socket>();
  api.server.once('connection', connection.resolve);
  const socket = await api.dial();
  socket.write(
    'GET /v1.41/containers/x/attach/ws HTTP/1.1\r\nHost: d\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n',
  );
  await readUntil(socket, '\r\n\r\n');
  const server = await connection.promise;
  const header = websocketHeader(OPCODE.ping, 100);
  header[1] = (header[1] ?? 0) | 0x80;
  const ping = Buffer.concat([header, Buffer.alloc(4), Buffer.alloc(100)]);
  const pings = Buffer.concat(Array.from({ length: 40_000 }, () => ping));
  await new Promise((resolve) => socket.write(pings, resolve));
  while (server.bytesRead < pings.length) await new Promise(setImmediate);
  assert.ok(server.writableLength < 256 << 10, `${server.writableLength} bytes wait`);
  socket.destroy();
  held.resolve();
});

test('a body that was left in the socket is read off its front', async () => {
  const cases: [string, number][] = [
    ['{"a":1}', 7],
    ['3\r\n{"a\r\n4\r\n":1}\r\n0\r\n\r\n', Number.POSITIVE_INFINITY],
  ];
  for (const [sent, announced] of cases) {
    for (const step of [1, 3, 100]) {
      const socket = new PassThrough();
      const body = bodyInSocket(socket, announced);
      const bytes = Buffer.from(`${sent}input`);
      for (let at = 0; at < bytes.length; at += step) {
        socket.write(bytes.subarray(at, at + step));
        await new Promise(setImmediate);
      }
      assert.equal((await body).toString(), '{"a":1}');
      socket.end();
      assert.equal(await readToEnd(socket), 'input');
    }
  }
  for (const bad of [
    'zz\r\n',
    '-1\r\n',
    `${'0'.repeat(100)}`,
    '1\r\nabc\r\n',
    'ffffffffffff\r\n',
  ]) {
    const socket = new PassThrough();
    socket.write(bad);
    await assert.rejects(bodyInSocket(socket, Number.POSITIVE_INFINITY), {
      kind: 'invalidArgument',
    });
  }
  const cut = new PassThrough();
  cut.end('{"a"');
  await assert.rejects(bodyInSocket(cut, 7), /ended too early/);
});
