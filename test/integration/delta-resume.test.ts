import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { clientCommand, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { DeltaSite } from '../support/delta-site.ts';
import { noise } from '../support/deltas.ts';
import { buildImage, type LayerEntry } from '../support/images.ts';
import { eventually } from '../support/processes.ts';

/** Pulls by a delta that are cut off in the middle of a part, and go on there. */
let site: DeltaSite;
let made: Prepared;

before(async () => {
  site = await DeltaSite.start();
  made = await prepare('app');
});
after(async () => {
  await site?.[Symbol.asyncDispose]();
});

const FILES = 24;

/** A layer of many files, all of them new in version 2 but for a few. */
function files(version: number): LayerEntry[] {
  const mtime = new Date(1_700_000_000_000 + version * 1000);
  return Array.from({ length: FILES }, (_, i) => ({
    name: `app/f${i}`,
    content: noise(i % 4 === 0 ? `${i}` : `${i} ${version}`, 300_000),
    mtime,
  }));
}

type Prepared = { readonly id: string; readonly part: string; readonly partBytes: number };

/** Both versions in the registry, and a delta between them; gives the digest of its part. */
async function prepare(name: string): Promise<Prepared> {
  const images = await Promise.all(
    [1, 2].map((version) =>
      buildImage({ layers: [[...files(version), { name: 'name', content: name }]] }),
    ),
  );
  await site.provide(name, images);
  const said = (await site.publish(name, 'v2', 'v1')).join('\n');
  const digest = /sha256:[0-9a-f]{64}/.exec(said)?.[0] ?? assert.fail(said);
  const manifest = JSON.parse(readFileSync(site.registry.blobFile(digest), 'utf8')) as {
    layers: { digest: string; mediaType: string; size: number }[];
  };
  const part = manifest.layers.find(({ mediaType }) => mediaType.includes('part'));
  assert.ok(part !== undefined);
  assert.ok(part.size > 5_000_000, `${part.size} bytes`);
  const id = images[1]?.config.digest ?? '';
  return { id, part: part.digest, partBytes: part.size };
}

const folders = (daemon: TestDaemon, below: string): string[] => {
  const folder = path.join(daemon.dataRoot, below);
  return existsSync(folder) ? readdirSync(folder) : [];
};

/** The checkpoints of what is in staging. */
const checkpoints = (daemon: TestDaemon): string[] =>
  folders(daemon, 'staging').flatMap((operation) =>
    folders(daemon, `staging/${operation}`).filter((layer) =>
      existsSync(path.join(daemon.dataRoot, 'staging', operation, layer, 'checkpoint')),
    ),
  );

/** Bytes that the registry has sent of a blob since a place of its log. */
function sentOf(digest: string, from: number): number {
  return readFileSync(site.registry.log, 'utf8')
    .slice(from)
    .split('\n')
    .filter((line) => line.includes('response completed') && line.includes(`blobs/${digest}`))
    .reduce((sum, line) => sum + Number(/http\.response\.written=(\d+)/.exec(line)?.[1] ?? 0), 0);
}

test('a pull by a delta goes on where it was when the engine was killed', async () => {
  const { id, part, partBytes } = made;
  await using device = await startDaemon();
  const pull = async (tag: string, query = ''): Promise<string> => {
    const from = `fromImage=${site.registry.host}/app&tag=${tag}&delta=require`;
    return (await device.api('POST', `/images/create?${from}${query}`)).text;
  };
  await device.api('POST', `/images/create?fromImage=${site.registry.host}/app&tag=v1`);
  const first = pull('v2', '&limitRate=800k').catch(() => undefined);
  await eventually(() => checkpoints(device).length > 0, {
    what: 'a checkpoint',
    timeoutMs: 20_000,
  });
  await device.stop('SIGKILL');
  await first;
  await device.start();
  assert.equal(folders(device, 'partial').length, 1);
  const start = readFileSync(site.registry.log, 'utf8').length;
  const answer = await pull('v2');
  assert.match(answer, /Resuming at \d+(\.\d+)?MB/);
  assert.match(answer, /Status: Downloaded newer image/);
  const [, at = ''] = /Resuming at (\d+(?:\.\d+)?)MB/.exec(answer) ?? [];
  const sent = await eventually(() => sentOf(part, start) || undefined, { what: 'the log' });
  const left = partBytes - Number(at) * 1e6;
  assert.ok(Math.abs(sent - left) < 20_000, `${sent} bytes came, ${left} were missing`);
  assert.ok(sent < 0.8 * partBytes, `${sent} of ${partBytes} bytes came again`);
  const image = (await device.json('GET', `/images/${site.registry.host}/app:v2/json`)) as {
    Id: string;
  };
  assert.equal(image.Id, id);
  const verified = await device.api('POST', `/images/${site.registry.host}/app:v2/verify`);
  assert.match(verified.text, /is whole/);
  await eventually(() => folders(device, 'partial').length === 0);
});

test('a pull by a delta that is given up goes on from there as well', async () => {
  const { id, partBytes } = made;
  await using device = await startDaemon();
  const reference = `${site.registry.host}/app:v2`;
  await device.api('POST', `/images/create?fromImage=${site.registry.host}/app&tag=v1`);
  const words = ['-H', device.host, 'pull', '--delta=require', '--limit-rate=800k', reference];
  const client = spawn(clientCommand(), words, { stdio: 'ignore' });
  const ended = once(client, 'exit');
  await eventually(() => checkpoints(device).length > 0, {
    what: 'a checkpoint',
    timeoutMs: 20_000,
  });
  client.kill('SIGINT');
  await ended;
  await eventually(() => folders(device, 'partial').length === 1);
  const query = `fromImage=${site.registry.host}/app&tag=v2&delta=require`;
  const answer = (await device.api('POST', `/images/create?${query}`)).text;
  const [, at = ''] = /Resuming at (\d+(?:\.\d+)?)MB/.exec(answer) ?? [];
  assert.ok(Number(at) * 1e6 > partBytes / 8, answer.slice(-1000));
  const image = (await device.json('GET', `/images/${reference}/json`)) as { Id: string };
  assert.equal(image.Id, id);
  await eventually(() => folders(device, 'partial').length === 0);
});
