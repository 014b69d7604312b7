import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { parseDigest } from '../../src/base/digest.ts';
import { findReferrers, putReferrer } from '../../src/registry/referrers.ts';
import { openSession, type RegistrySession } from '../../src/registry/session.ts';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { DeltaSite, saidIn } from '../support/delta-site.ts';
import { noise } from '../support/deltas.ts';
import { buildImage } from '../support/images.ts';
import { type ProxiedRequest, startRegistryProxy } from '../support/registry-proxy.ts';

/** Referrers with a registry that lists them itself, and with one that does not. */

const TYPE = 'application/vnd.coracle.delta.v1';
const digestOf = (text: string) =>
  parseDigest(`sha256:${createHash('sha256').update(text).digest('hex')}`);
const SUBJECT = digestOf('the image');

/**
 * A registry of manifests; `hasApi`: with the endpoint of referrers. Each of `rivals` is a list that
 * another client writes over the next one that comes for the fallback tag.
 */
async function startManifests(hasApi: boolean, rivals: string[] = []) {
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
      // One on each page, as a registry may that has many.
      const at = Number(url.searchParams.get('last') ?? 0);
      if (at + 1 < list.length) {
        response.setHeader('link', `<${url.pathname}?last=${at + 1}>; rel="next"`);
      }
      response.end(JSON.stringify({ schemaVersion: 2, manifests: list.slice(at, at + 1) }));
    } else if (kind === 'manifests' && request.method === 'PUT') {
      const pieces: Buffer[] = [];
      for await (const piece of request) pieces.push(piece as Buffer);
      let bytes = Buffer.concat(pieces);
      const isList = name === SUBJECT.replace(':', '-');
      if (isList && rivals.length > 0) bytes = Buffer.from(rivals.pop() ?? '');
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

test('lists that others write over ours are read again, and nothing of either is lost', async () => {
  const other = (name: string) => ({
    ...{ mediaType: 'application/vnd.oci.image.manifest.v1+json', digest: digestOf(name) },
    ...{ size: 1, artifactType: TYPE, annotations: { name } },
  });
  const listOf = (...names: string[]): string =>
    JSON.stringify({ schemaVersion: 2, manifests: names.map(other) });
  await using registry = await startManifests(false, [listOf('b', 'a'), listOf('a')]);
  await put(registry.session, 'mine');
  const found = await findReferrers(registry.session, 'app', SUBJECT, TYPE);
  assert.deepEqual(
    found.map(({ annotations }) => annotations['name']),
    ['b', 'a', 'mine'],
  );
  // Who never gets through is told so.
  await using busy = await startManifests(false, Array<string>(50).fill(listOf('a')));
  await assert.rejects(put(busy.session, 'mine'), {
    kind: 'unavailable',
    message: /^cannot add to the list sha256-\w+ of app: others write it at the same time/,
  });
});

test('deltas go from a builder to a device over a registry that lists referrers, without a tag', async () => {
  await using site = await DeltaSite.start();
  await using device = await startDaemon();
  const layer = (version: number) => [
    { name: 'text', content: `${noise('text', 50_000).toString('hex')}${version}` },
  ];
  const images = await Promise.all([1, 2].map((v) => buildImage({ layers: [layer(v)] })));
  await site.provide('app', images);
  // The registry has no such endpoint: the proxy keeps the list.
  const listed: { subject: string; entry: object }[] = [];
  const subjectOf = ({ method, url, body }: ProxiedRequest): string | undefined =>
    method === 'PUT' && url.includes('/manifests/')
      ? (JSON.parse(body.toString()) as { subject?: { digest: string } }).subject?.digest
      : undefined;
  await using proxy = await startRegistryProxy(site.registry.url, {
    answer: ({ method, url }) => {
      const [, subject] = /\/referrers\/([^?]+)/.exec(url) ?? [];
      if (method !== 'GET' || subject === undefined) return undefined;
      const manifests = listed.filter((each) => each.subject === subject).map(({ entry }) => entry);
      return { status: 200, body: JSON.stringify({ schemaVersion: 2, manifests }) };
    },
    headers: (asked): Record<string, string> => {
      const subject = subjectOf(asked);
      if (subject === undefined) return {};
      const { artifactType, annotations } = JSON.parse(asked.body.toString()) as object &
        Record<'artifactType' | 'annotations', unknown>;
      const mediaType = 'application/vnd.oci.image.manifest.v1+json';
      const digest = digestOf(asked.body.toString());
      const entry = { mediaType, digest, size: asked.body.length, artifactType, annotations };
      listed.push({ subject, entry });
      return { 'OCI-Subject': subject };
    },
  });
  const name = (tag: string): string => `${proxy.host}/app:${tag}`;
  const pull = async (daemon: TestDaemon, tag: string): Promise<string> =>
    saidIn(await site.lines(daemon, `/images/create?fromImage=${proxy.host}/app&tag=${tag}`)).join(
      '\n',
    );
  for (const tag of ['v1', 'v2']) await pull(site.builder, tag);
  const query = `target=${encodeURIComponent(name('v2'))}&base=${encodeURIComponent(name('v1'))}`;
  await site.lines(site.builder, `/deltas/publish?${query}`);
  assert.deepEqual(
    listed.map(({ subject }) => subject),
    [images[1]?.manifest.digest],
  );
  await pull(device, 'v1');
  assert.match(await pull(device, 'v2'), /^Using a delta from .*app:v1: /m);
  const tags = await fetch(`${site.registry.url}/v2/app/tags/list`);
  assert.deepEqual(((await tags.json()) as { tags: string[] }).tags.sort(), ['v1', 'v2']);
});
