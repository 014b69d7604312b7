import assert from 'node:assert/strict';
import net, { type AddressInfo } from 'node:net';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Digest } from '../../src/base/digest.ts';
import { isEngineError } from '../../src/base/errors.ts';
import { fetchBlob } from '../../src/registry/blobs.ts';
import { fetchManifest } from '../../src/registry/manifests.ts';
import { MEDIA_TYPE } from '../../src/spec/oci/image.ts';
import { digestOf } from '../support/images.ts';
import { testSession } from './session.ts';

const seconds = Number(process.env['FUZZ_SECONDS'] ?? 3);
const seed = process.env['FUZZ_SEED'];

const CONTENT = Buffer.from('{"schemaVersion":2}');
const DIGEST = digestOf(CONTENT) as Digest;

const headerLine = fc.oneof(
  fc.constantFrom(
    'Content-Length: 19',
    'Content-Length: 5',
    'Content-Length: 99999999999',
    'Transfer-Encoding: chunked',
    'Connection: close',
    'Connection: keep-alive',
    'Location: /v2/app/manifests/v1',
    'Location: http://[',
    'Retry-After: 1',
    'Content-Range: bytes 0-18/19',
    'WWW-Authenticate: Bearer realm="x"',
    'WWW-Authenticate: Basic',
    `Content-Type: ${MEDIA_TYPE.ociManifest}`,
    'Content-Type: text/html',
  ),
  fc.string({ unit: 'binary-ascii', maxLength: 30 }),
);
const status = fc.oneof(
  fc.constantFrom(100, 101, 200, 204, 206, 301, 307, 401, 403, 404, 416, 429, 500, 503),
  fc.nat(1200),
);
const body = fc.oneof(
  fc.constantFrom(CONTENT.toString(), `5\r\n{"a":\r\n2\r\n1}\r\n0\r\n\r\n`, '<html>', ''),
  fc.json(),
  fc.string({ unit: 'binary-ascii', maxLength: 60 }),
);
/** What the server says to one request, and whether it hangs up then. */
const answer = fc
  .tuple(status, fc.array(headerLine, { maxLength: 5 }), body, fc.boolean())
  .map(([code, headers, text, closes]) => ({
    bytes: [`HTTP/1.1 ${code} X`, ...headers, '', text].join('\r\n'),
    closes,
  }));

test('whatever a registry answers, the client ends with content or with its own error', async () => {
  let answers: readonly { bytes: string; closes: boolean }[] = [];
  let asked = 0;
  const server = net.createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.on('data', () => {
      const next = answers[asked % answers.length];
      asked += 1;
      socket.write(Buffer.from(next?.bytes ?? '', 'latin1'));
      if (next?.closes !== false) socket.end();
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  let rounds = 0;
  const check = async (work: Promise<unknown>): Promise<void> => {
    try {
      await work;
    } catch (error) {
      assert(isEngineError(error), (error as Error).stack ?? String(error));
    }
  };
  try {
    await fc.assert(
      fc.asyncProperty(fc.array(answer, { minLength: 1, maxLength: 4 }), async (script) => {
        answers = script;
        rounds += 1;
        await using session = await testSession(host, { stallMs: 20 });
        await check(fetchManifest(session, 'app', 'v1'));
        const blob = { path: 'app', digest: DIGEST, sizeBytes: CONTENT.length, attempts: 2 };
        await check(fetchBlob(session, { ...blob, bytesMax: 1000, what: 'blob' }));
      }),
      {
        numRuns: Number.MAX_SAFE_INTEGER,
        interruptAfterTimeLimit: seconds * 1000,
        markInterruptAsFailure: false,
        ...(seed === undefined ? {} : { seed: Number(seed) }),
      },
    );
  } finally {
    server.close();
  }
  assert(rounds > 10, `${rounds} rounds`);
});
