import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import type { Digest } from '../../src/base/digest.ts';
import { isEngineError } from '../../src/base/errors.ts';
import { type BlobRequest, fetchBlob, readBlob } from '../../src/registry/blobs.ts';
import { digestOf } from '../support/images.ts';
import { type Fault, type FaultyRegistry, serveBlob, startFaultyRegistry } from './registry.ts';
import { testSession } from './session.ts';

const BYTES = randomBytes(3 << 20);
const DIGEST = digestOf(BYTES) as Digest;

async function served(fault: Fault): Promise<FaultyRegistry> {
  const registry = await startFaultyRegistry();
  registry.addBlob('app', { digest: DIGEST, bytes: BYTES });
  registry.fault = fault;
  return registry;
}

async function read(
  registry: FaultyRegistry,
  options: Partial<BlobRequest> & { waits?: number[]; stallMs?: number } = {},
): Promise<Buffer> {
  const { waits, stallMs, ...blob } = options;
  await using session = await testSession(registry.host, {
    ...(waits === undefined ? {} : { waits }),
    ...(stallMs === undefined ? {} : { stallMs }),
  });
  const pieces: Buffer[] = [];
  const request = { path: 'app', digest: DIGEST, sizeBytes: BYTES.length, attempts: 5, ...blob };
  for await (const piece of readBlob(session, request)) pieces.push(Buffer.from(piece));
  return Buffer.concat(pieces);
}

const isBlob = (path: string): boolean => path.endsWith(DIGEST);

test('a blob comes whole from a registry without faults, in one request', async () => {
  await using registry = await served(() => false);
  assert.deepEqual(await read(registry), BYTES);
  assert.equal(registry.count('GET', DIGEST), 1);
});

test('a connection that is cut again and again goes on by Range and fetches nothing twice', async () => {
  let sent = 0;
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path)) return false;
    const from = Number(/bytes=(\d+)-/.exec(request.headers.range ?? 'bytes=0-')?.[1]);
    const part = BYTES.subarray(from, from + 400_000);
    sent += part.length;
    answer.writeHead(from === 0 ? 200 : 206, {
      'content-length': BYTES.length - from,
      'content-range': `bytes ${from}-${BYTES.length - 1}/${BYTES.length}`,
    });
    answer.write(part, () => {
      if (from + part.length === BYTES.length) answer.end();
      else answer.socket?.destroySoon();
    });
    return true;
  });
  // More cuts than attempts: each attempt that gains enough starts the count anew.
  assert.deepEqual(await read(registry, { attempts: 3 }), BYTES);
  assert.equal(sent, BYTES.length);
});

test('a registry that ignores Range sends all again, and what was here is skipped', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path) || request.before > 1) {
      delete request.headers.range;
      return false;
    }
    answer.writeHead(200, { 'content-length': BYTES.length });
    answer.write(BYTES.subarray(0, 1_000_000), () => answer.socket?.destroySoon());
    return true;
  });
  assert.deepEqual(await read(registry), BYTES);
});

test('an orderly but early end is taken for a cut', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path) || request.before > 0) return false;
    answer.writeHead(200); // chunked: nothing tells that it is short
    answer.end(BYTES.subarray(0, 123_456));
    return true;
  });
  assert.deepEqual(await read(registry), BYTES);
  assert.equal(registry.requests.at(-1)?.headers.range, 'bytes=123456-');
});

test('a stall is noticed and cut', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path) || request.before > 0) return false;
    answer.writeHead(200, { 'content-length': BYTES.length });
    answer.write(BYTES.subarray(0, 500_000)); // and then silence
    return true;
  });
  const startMs = Date.now();
  assert.deepEqual(await read(registry, { stallMs: 200 }), BYTES);
  assert(Date.now() - startMs < 5000);
});

test('a registry that sends more than the manifest says fails at once', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path)) return false;
    answer.writeHead(200);
    answer.end(Buffer.concat([BYTES, randomBytes(70_000)]));
    return true;
  });
  await assert.rejects(read(registry), (error) => isEngineError(error, 'dataLoss'));
  assert.equal(registry.count('GET', DIGEST), 1);
});

test('a registry that has less than the manifest says fails as soon as it says so', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path)) return false;
    serveBlob(request, answer, BYTES.subarray(0, 1000));
    return true;
  });
  await assert.rejects(read(registry), (error) => isEngineError(error, 'dataLoss'));
  assert.equal(registry.count('GET', DIGEST), 2);
});

test('a registry that always sends less fails when the attempts are used up', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path)) return false;
    answer.writeHead(200).end(BYTES.subarray(0, 1000));
    return true;
  });
  const waits: number[] = [];
  await assert.rejects(read(registry, { attempts: 3, waits }), { kind: 'unavailable' });
  assert.equal(registry.count('GET', DIGEST), 3);
  assert.equal(waits.length, 2);
});

test('429 and 503 are waited out as long as Retry-After says', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path) || request.before > 1) return false;
    answer.writeHead(request.before === 0 ? 429 : 503, { 'retry-after': '7' });
    answer.end('slow down');
    return true;
  });
  const waits: number[] = [];
  assert.deepEqual(await read(registry, { waits }), BYTES);
  assert.deepEqual(waits, [7000, 7000]);
});

test('a web page in place of a layer is said so', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path)) return false;
    answer.writeHead(200, { 'content-type': 'text/html', 'content-length': 6 });
    answer.end('<html>');
    return true;
  });
  await assert.rejects(read(registry, { attempts: 2 }), /web page instead of a layer/);
});

test('another range than asked for is not taken', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path) || request.before > 1) return false;
    if (request.before === 0) {
      answer.writeHead(200, { 'content-length': BYTES.length });
      answer.write(BYTES.subarray(0, 1_000_000), () => answer.socket?.destroySoon());
    } else {
      answer.writeHead(206, { 'content-range': `bytes 5-9/${BYTES.length}`, 'content-length': 5 });
      answer.end(BYTES.subarray(5, 10));
    }
    return true;
  });
  assert.deepEqual(await read(registry), BYTES);
});

test('a redirect to another host takes no credentials along', async () => {
  await using other = await served(() => false);
  await using registry = await startFaultyRegistry({
    auth: { kind: 'basic', user: 'me', password: 'secret' },
  });
  registry.fault = (request, answer) => {
    if (!isBlob(request.path) || request.headers.authorization === undefined) return false;
    answer.writeHead(307, { location: `${other.url}/v2/app/blobs/${DIGEST}?signature=x` });
    answer.end();
    return true;
  };
  await using session = await testSession(registry.host, {
    credentials: { username: 'me', password: 'secret' },
  });
  const request = { path: 'app', digest: DIGEST, sizeBytes: BYTES.length, attempts: 1 };
  const bytes = await fetchBlob(session, { ...request, bytesMax: BYTES.length, what: 'blob' });
  assert.deepEqual(bytes, BYTES);
  assert.match(registry.requests.at(-1)?.authorization ?? '', /^Basic /);
  assert.equal(other.requests.length, 1);
  assert.equal(other.requests[0]?.authorization, undefined);
});

test('a redirect in a circle ends', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path)) return false;
    answer.writeHead(302, { location: request.path }).end();
    return true;
  });
  await assert.rejects(read(registry), /stopped after 10 redirects/);
  assert.equal(registry.count('GET', DIGEST), 11);
});

test('a small blob with another content is refused', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path)) return false;
    serveBlob(request, answer, randomBytes(BYTES.length));
    return true;
  });
  await using session = await testSession(registry.host);
  const request = { path: 'app', digest: DIGEST, sizeBytes: BYTES.length, attempts: 1 };
  await assert.rejects(
    fetchBlob(session, { ...request, bytesMax: BYTES.length, what: 'image config' }),
    /^EngineError: image config verification failed for digest sha256:/,
  );
  await assert.rejects(fetchBlob(session, { ...request, bytesMax: 10, what: 'image config' }), {
    kind: 'invalidArgument',
  });
});

test('an abort ends a download at once', async () => {
  await using registry = await served((request, answer) => {
    if (!isBlob(request.path)) return false;
    answer.writeHead(200, { 'content-length': BYTES.length });
    answer.write(BYTES.subarray(0, 100_000));
    return true;
  });
  const abort = new AbortController();
  await using session = await testSession(registry.host, { signal: abort.signal, stallMs: 60_000 });
  const request = { path: 'app', digest: DIGEST, sizeBytes: BYTES.length, attempts: 5 };
  const reading = (async () => {
    for await (const piece of readBlob(session, request)) assert(piece.length > 0);
  })();
  setTimeout(() => abort.abort(new Error('gone')), 100);
  await assert.rejects(reading, { message: 'gone' });
});
