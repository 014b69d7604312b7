import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { after, before, test } from 'node:test';
import { startDaemon, type TestDaemon } from '../support/daemon.ts';
import { type BuiltImage, buildImage, type LayerEntry, pushImage } from '../support/images.ts';
import { type Registry, startRegistry } from '../support/registry.ts';

/** Deltas between two daemons: a builder that has both images, and a device that has the base. */
let registry: Registry;
let builder: TestDaemon;

before(async () => {
  registry = await startRegistry();
  builder = await startDaemon();
});
after(async () => {
  await builder?.[Symbol.asyncDispose]();
  await registry?.[Symbol.asyncDispose]();
});

const noise = (seed: string, bytes: number): Buffer =>
  createHash('shake256', { outputLength: bytes }).update(seed).digest();

/** A program of which a new version differs a little everywhere, and a lot in one place. */
function program(version: number): Buffer {
  const bytes = Buffer.from(noise('program', 400_000));
  for (let at = 100; at < bytes.length; at += 1000) bytes[at] = version;
  return version === 1
    ? bytes
    : Buffer.concat([bytes.subarray(0, 9000), noise('new', 500), bytes.subarray(9000)]);
}

/** Versions of an app: a base layer in common, a layer with a program, one with its text. */
async function app(version: number): Promise<BuiltImage> {
  const mtime = new Date(1_700_000_000_000 + version * 1000);
  const common: LayerEntry[] = [
    { name: 'usr/', type: 'directory' },
    { name: 'usr/lib', content: noise('lib', 100_000) },
  ];
  const files: LayerEntry[] = [
    { name: 'app/', type: 'directory', mtime },
    { name: 'app/program', content: program(version), mode: 0o755, mtime },
    { name: `app/data-${version}.bin`, content: noise('data', 200_000), mtime },
    { name: 'app/link', type: 'symlink', linkname: 'program', mtime },
  ];
  const text = Array.from({ length: 2000 }, (_, i) => `line ${i} ${i === 77 ? version : ''}\n`);
  const notes: LayerEntry[] = [{ name: 'app/notes', content: text.join(''), mtime }];
  return await buildImage({ layers: [common, files, notes] });
}

type Line = { status?: string; id?: string; error?: string };

async function lines(daemon: TestDaemon, address: string): Promise<Line[]> {
  const answer = await daemon.api('POST', address);
  assert.ok(answer.status < 300, answer.text);
  return answer.text
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Line);
}

const said = (found: readonly Line[]): string[] =>
  found.map(({ status, id, error }) => `${id === undefined ? '' : `${id}: `}${status ?? error}`);

async function pull(daemon: TestDaemon, name: string, tag: string, delta = ''): Promise<string[]> {
  const query = `fromImage=${registry.host}/${name}&tag=${tag}&delta=${delta}`;
  return said(await lines(daemon, `/images/create?${query}`));
}

async function idOf(daemon: TestDaemon, reference: string): Promise<string> {
  const answer = (await daemon.json('GET', `/images/${registry.host}/${reference}/json`)) as {
    Id: string;
  };
  return answer.Id;
}

async function publish(name: string, target: string, ...bases: string[]): Promise<string[]> {
  const of = (tag: string): string => encodeURIComponent(`${registry.host}/${name}:${tag}`);
  const query = [`target=${of(target)}`, ...bases.map((base) => `base=${of(base)}`)].join('&');
  return said(await lines(builder, `/deltas/publish?${query}`));
}

/** Versions in the registry and at the builder. */
async function prepare(name: string, ...versions: number[]): Promise<BuiltImage[]> {
  const images: BuiltImage[] = [];
  for (const version of versions) {
    const image = await app(version);
    images.push(image);
    await pushImage(registry, name, `v${version}`, image);
    await pull(builder, name, `v${version}`, 'never');
  }
  return images;
}

test('a plain pull finds a delta from what is here, and what comes is the image, byte for byte', async () => {
  const [, image] = await prepare('app', 1, 2);
  const made = await publish('app', 'v2', 'v1');
  assert.match(made.at(-1) ?? '', /^Delta from .*app:v1 to .*app:v2: [\d.]+k?B, sha256:/);

  await using device = await startDaemon();
  await pull(device, 'app', 'v1');
  const start = readFileSync(registry.log, 'utf8').length;
  const pulled = await pull(device, 'app', 'v2');
  const used = pulled.find((line) => line.startsWith('Using a delta from'));
  assert.match(used ?? pulled.join('\n'), /app:v1: [\d.]+k?B instead of [\d.]+kB$/);
  assert.equal(await idOf(device, 'app:v2'), image?.config.digest);
  assert.ok(!pulled.some((line) => line.includes('cannot be used')), pulled.join('\n'));
  // None of the layers that changed was fetched, and what is saved is the tars that were built.
  const log = readFileSync(registry.log, 'utf8').slice(start);
  for (const { digest } of image?.layers.slice(1) ?? []) {
    assert.ok(!new RegExp(`GET /v2/app/blobs/${digest}`).test(log), digest);
  }
  const saved = await device.api('GET', `/images/${registry.host}/app:v2/get`);
  assert.equal(saved.status, 200);
  for (const { diffId } of image?.layers ?? []) assert.ok(saved.text.includes(diffId.slice(7)));
});
