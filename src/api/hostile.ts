import { connect, type Socket } from 'node:net';
import { Readable } from 'node:stream';
import fc from 'fast-check';
import type { HijackCall, ProgressCall } from '../engine/call.ts';
import { CONTRACT, type OperationName } from './contract/contract.ts';
import type { EndpointSpec } from './contract/endpoint.ts';
import type { Handlers } from './handler.ts';

/** Requests that no honest client sends, for fuzzers of the server and of the running daemon. */

/** Handlers of all operations that read what they are given and answer something. */
export function echoHandlers(): Handlers {
  const handlers: Record<string, unknown> = {};
  for (const [name, endpoint] of Object.entries<EndpointSpec>(CONTRACT)) {
    handlers[name] = async (_engine: unknown, args: { body: unknown }, call: unknown) => {
      let bytes = 0;
      if (args.body instanceof Readable) {
        for await (const chunk of args.body as AsyncIterable<Buffer>) bytes += chunk.length;
      }
      switch (endpoint.answer.kind) {
        case 'value':
          return JSON.parse(JSON.stringify({ ...args, body: bytes })) as unknown;
        case 'later':
          return { answer: Promise.resolve({ bytes }) };
        case 'bytes':
        case 'lines':
          return { contentType: 'text/plain', body: Readable.from([`${bytes}`]) };
        case 'progress':
          (call as ProgressCall).progress({ status: `${bytes}` });
          return undefined;
        case 'hijack':
        case 'websocket': {
          const stream = await (call as HijackCall).hijack({ multiplexed: true });
          stream.on('error', () => undefined).resume();
          stream.end();
          return undefined;
        }
      }
    };
  }
  return handlers as Handlers;
}

const text = fc.oneof(
  { arbitrary: fc.string({ maxLength: 20 }), weight: 8 },
  {
    arbitrary: fc.constantFrom('', '..', '%', '__proto__', '{', '-1', '1e999', 'ä\u{1f600}', '1'),
    weight: 8,
  },
  { arbitrary: fc.constantFrom('\u0000', 'x'.repeat(70_000)), weight: 1 },
);

const NAMES = Object.keys(CONTRACT) as OperationName[];

const target = fc
  .record({
    name: fc.constantFrom(...NAMES),
    version: fc.oneof(
      { arbitrary: fc.constantFrom('', '/v1.41', '/v1.51'), weight: 9 },
      { arbitrary: fc.constantFrom('/v1.24', '/v9', '/v1.41.2', '/v', '/v1.1e3'), weight: 1 },
    ),
    params: text,
    query: fc.array(fc.tuple(text, text), { maxLength: 3 }),
    known: fc.array(text, { maxLength: 4 }),
    raw: fc.nat({ max: 5 }).map((n) => n === 0),
  })
  .map(({ name, version, params, query, known, raw }) => {
    const endpoint: EndpointSpec = CONTRACT[name];
    const encode = raw ? lineSafe : encodeURIComponent;
    const path = endpoint.path.replace(/\{[^}]+\}/g, () => encode(params));
    const keys = Object.keys(endpoint.query ?? {});
    const pairs = [...query, ...known.map((value, i): [string, string] => [keys[i] ?? 'k', value])];
    const tail = pairs.map(([key, value]) => `${encode(key)}=${encode(value)}`).join('&');
    return { method: `${endpoint.method}`, target: `${version}${path}?${tail}` };
  });

/** Keeps a request line one line; whatever else is in it stays. */
function lineSafe(value: string): string {
  return value.replace(/[\r\n ]/g, '+');
}

const json = fc.oneof(
  fc.jsonValue({ maxDepth: 4 }).map((value) => JSON.stringify(value)),
  fc
    .dictionary(
      fc.constantFrom('Image', 'Cmd', 'HostConfig', 'Env', 'Labels', 'Name', 'Tty', '__proto__'),
      fc.jsonValue({ maxDepth: 2 }),
    )
    .map((value) => JSON.stringify(value)),
  fc.integer({ min: 1, max: 50_000 }).map((depth) => '['.repeat(depth)),
  fc.integer({ min: 1, max: 5_000 }).map((d) => `${'{"HostConfig":'.repeat(d)}1${'}'.repeat(d)}`),
  fc.string(),
);

const header = fc.constantFrom(
  'Content-Type: application/json',
  'Content-Type: text/plain; charset',
  'Content-Type: application/json;;;',
  'Connection: Upgrade\r\nUpgrade: tcp',
  'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  'Connection: Upgrade\r\nUpgrade: websocket',
  'Connection: Upgrade\r\nUpgrade: h2c',
  'X-Registry-Auth: e30',
  'X-Registry-Auth: !!!!',
  `X-Registry-Auth: ${'A'.repeat(10_000)}`,
  'Expect: 100-continue',
  'Expect: nonsense',
  'Host: a\r\nHost: b',
  'Content-Length: -5',
  'Content-Length: 99999999999999999999',
  'Transfer-Encoding: chunked, gzip',
  `X: ${'y'.repeat(300_000)}`,
  'broken header',
);

const framing = fc.constantFrom('length', 'chunked', 'short', 'none', 'badchunk');

/** Mostly null. */
function seldom<T>(arbitrary: fc.Arbitrary<T>): fc.Arbitrary<T | null> {
  return fc.oneof({ arbitrary: fc.constant(null), weight: 9 }, { arbitrary, weight: 1 });
}

/** One request as bytes. */
export const hostileRequest: fc.Arbitrary<Buffer> = fc.oneof(
  { arbitrary: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)), weight: 1 },
  {
    arbitrary: fc
      .record({
        line: target,
        method: fc.option(
          fc.constantFrom('GET', 'POST', 'PUT', 'DELETE', 'HEAD', 'OPTIONS', 'get'),
        ),
        header: seldom(header),
        isJson: fc.boolean(),
        body: json,
        framing,
        cut: seldom(fc.integer({ min: 0, max: 400 })),
      })

      .map(({ line, method, header: odd, isJson, body, framing: how, cut }) => {
        const type = isJson ? ['Content-Type: application/json'] : [];
        const head = [`${method ?? line.method} ${line.target} HTTP/1.1`, 'Host: d', ...type];
        const bytes = Buffer.from(body);
        const framed: Record<string, [string[], Buffer[]]> = {
          length: [[`Content-Length: ${bytes.length}`], [bytes]],
          short: [[`Content-Length: ${bytes.length + 10}`], [bytes]],
          none: [[], [bytes]],
          chunked: [
            ['Transfer-Encoding: chunked'],
            [
              Buffer.from(`${bytes.length.toString(16)}\r\n`),
              bytes,
              Buffer.from('\r\n0\r\n\r\n'),
            ].slice(bytes.length === 0 ? 2 : 0),
          ],
          badchunk: [['Transfer-Encoding: chunked'], [Buffer.from('zz\r\n'), bytes]],
        };
        const [more, parts] = framed[how] ?? [[], []];
        const request = Buffer.concat([
          Buffer.from(`${[...head, ...(odd === null ? [] : [odd]), ...more].join('\r\n')}\r\n\r\n`),
          ...parts,
        ]);
        return cut === null ? request : request.subarray(0, cut);
      }),
    weight: 9,
  },
);

/** Sends bytes, ends the input, and gives what comes back; undefined when nothing ends it in time. */
export function sendHostile(
  socketPath: string,
  bytes: Buffer,
  timeoutMs: number,
): Promise<string | undefined> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    const socket: Socket = connect({ path: socketPath });
    const done = (): void => resolve(Buffer.concat(chunks).toString('latin1'));
    socket.setTimeout(timeoutMs, () => {
      resolve(undefined);
      socket.destroy();
    });
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    // A server that answers early and hangs up is in its right.
    socket.on('error', done).on('close', done);
    socket.end(bytes);
  });
}
