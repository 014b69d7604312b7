import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { parseDigest } from '../../src/base/digest.ts';
import { findReferrers, putReferrer } from '../../src/registry/referrers.ts';
import { openSession, type RegistrySession } from '../../src/registry/session.ts';

/** Referrers with a registry that lists them itself, and with one that does not. */

const TYPE = 'application/vnd.coracle.delta.v1';
const digestOf = (text: string) =>
  parseDigest(`sha256:${createHash('sha256').update(text).digest('hex')}`);
const SUBJECT = digestOf('the image');

/** A registry of manifests; `hasApi`: with the endpoint of referrers. */
async function startManifests(hasApi: boolean) {
  const manifests = new Map<string, { type: string; bytes: Buffer }>();
  const requests: string[] = [];
  const answer = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
    const url = new URL(request.url ?? '', 'http://registry');
    requests.push(`${request.method} ${url.pathname}`);
    const name = url.pathname.split('/').at(-1) ?? '';
    const kind = url.pathname.split('/').at(-2);
    if (kind === 'referrers' && hasApi) {
      const list = [...manifests].flatMap(([digest, { bytes }]) => {
        const { subject, artifactType, annotations } = JSON.parse(bytes.toString()) as {
          subject?: { digest: string };
          artifactType: string;
          annotations: object;
        };
        const descriptor = { mediaType: 'application/vnd.oci.image.manifest.v1+json', digest };
        return subject?.digest === name
          ? [{ ...descriptor, size: bytes.length, artifactType, annotations }]
          : [];
      });
      response.end(JSON.stringify({ schemaVersion: 2, manifests: list }));
    } else if (kind === 'manifests' && request.method === 'PUT') {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      const bytes = Buffer.concat(pieces);
      manifests.set(name, { type: request.headers['content-type'] ?? '', bytes });
      const { subject } = JSON.parse(bytes.toString()) as { subject?: { digest: string } };
      if (hasApi && subject !== undefined) response.setHeader('OCI-Subject', subject.digest);
      response.writeHead(201).end();
    } else if (kind === 'manifests' && manifests.has(name)) {
      const { type, bytes } = manifests.get(name) ?? { type: '', bytes: Buffer.alloc(0) };
      response.setHeader('content-type', type).end(bytes);
    } else response.writeHead(404).end('{"errors":[{"code":"MANIFEST_UNKNOWN"}]}');
  };
  const server = createServer((request, response) => void answer(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  const session = await openSession({
    domain: `127.0.0.1:${port}`,
    config: {
      insecureRegistries: [],
      registryMirrors: [],
      httpProxy: '',
      httpsProxy: '',
      noProxy: '',
    },
    credentials: undefined,
    signal: new AbortController().signal,
    agent: 'test',
    random: () => 0,
    sleep: () => Promise.resolve(),
  });
  const close = async (): Promise<void> => {
    await session[Symbol.asyncDispose]();
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  };
  return { session, requests, manifests, [Symbol.asyncDispose]: close };
}

async function put(session: RegistrySession, name: string): Promise<string> {
  const annotations = { name };
  const bytes = Buffer.from(
    JSON.stringify({ artifactType: TYPE, subject: { digest: SUBJECT }, annotations }),
  );
  const digest = digestOf(bytes.toString());
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  const referrer = { mediaType, digest, size: bytes.length, artifactType: TYPE, annotations };
  await putReferrer(session, 'app', SUBJECT, { referrer, bytes });
  return digest;
}

for (const hasApi of [true, false]) {
  const what = hasApi ? 'a registry that lists them' : 'a registry without the endpoint';
  test(`referrers are found with ${what}, each once`, async () => {
    await using registry = await startManifests(hasApi);
    const { session } = registry;
    assert.deepEqual(await findReferrers(session, 'app', SUBJECT, TYPE), []);
    const first = await put(session, 'first');
    const second = await put(session, 'second');
    await put(session, 'first');
    const found = await findReferrers(session, 'app', SUBJECT, TYPE);
    assert.deepEqual(new Set(found.map(({ digest }) => digest)), new Set([first, second]));
    assert.equal(found.length, 2);
    assert.equal(found.find(({ digest }) => digest === first)?.annotations['name'], 'first');
    assert.deepEqual(await findReferrers(session, 'app', SUBJECT, 'another/type'), []);
    // The tag is only there where nothing else lists them.
    assert.equal(registry.manifests.has(SUBJECT.replace(':', '-')), !hasApi);
  });
}
