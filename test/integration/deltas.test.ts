import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { humanSize } from '../../src/base/bytes.ts';
import type { InspectedDelta } from '../../src/spec/delta-inspect.ts';
import type { DeltaPlan } from '../../src/spec/delta-plan.ts';
import { clientCommand, startDaemon, type TestDaemon } from '../support/daemon.ts';
import { DeltaSite, saidIn } from '../support/delta-site.ts';
import { noise } from '../support/deltas.ts';
import { type BuiltImage, buildImage, type LayerEntry, pushImage } from '../support/images.ts';
import { emptied, eventually, run } from '../support/processes.ts';
import { startRegistry } from '../support/registry.ts';

/** Deltas between two daemons: a builder that has both images, and a device that has the base. */
let site: DeltaSite;
/** For whom it does not matter what other images are there. */
let device: TestDaemon;

before(async () => {
  site = await DeltaSite.start();
  device = await startDaemon();
});
after(async () => {
  await device?.[Symbol.asyncDispose]();
  await site?.[Symbol.asyncDispose]();
});

/** A program of which a new version differs a little everywhere, and a lot in one place. */
function program(version: number): Buffer {
  const bytes = Buffer.from(noise('program', 400_000));
  for (let at = 100; at < bytes.length; at += 1000) bytes[at] = version;
  return version === 1
    ? bytes
    : Buffer.concat([bytes.subarray(0, 9000), noise('new', 500), bytes.subarray(9000)]);
}

/** Versions of an app: a base layer in common, a layer with a program, one with its text. */
async function app(name: string, version: number): Promise<BuiltImage> {
  const mtime = new Date(1_700_000_000_000 + version * 1000);
  const common: LayerEntry[] = [
    { name: 'usr/', type: 'directory' },
    { name: 'usr/lib', content: noise('lib', 100_000) },
    { name: 'usr/name', content: name },
  ];
  const files: LayerEntry[] = [
    { name: 'app/', type: 'directory', mtime },
    { name: 'app/program', content: program(version), mode: 0o755, mtime },
    { name: `app/data-${version}.bin`, content: noise('data', 200_000), mtime },
    { name: 'app/link', type: 'symlink', linkname: 'program', mtime },
    // A registry keeps equal blobs once: what one test spoils must not be another's.
    { name: 'app/name', content: `${name} ${version}`, mtime },
  ];
  const text = Array.from({ length: 2000 }, (_, i) => `line ${i} ${i === 77 ? version : ''}`);
  const notes: LayerEntry[] = [{ name: 'app/notes', content: [name, ...text].join('\n'), mtime }];
  return await buildImage({ layers: [common, files, notes] });
}

/** Versions in the registry and at the builder. */
async function prepare(name: string, ...versions: number[]): Promise<BuiltImage[]> {
  const images = await Promise.all(versions.map((version) => app(name, version)));
  await site.provide(name, images);
  return images;
}

test('a plain pull finds a delta from what is here, and what comes is the image, byte for byte', async () => {
  const [, image] = await prepare('app', 1, 2);
  const made = await site.publish('app', 'v2', 'v1');
  assert.match(made.at(-1) ?? '', /^Delta from .*app:v1 to .*app:v2: [\d.]+k?B, sha256:/);

  await site.pull(device, 'app', 'v1');
  const start = readFileSync(site.registry.log, 'utf8').length;
  const heard = await site.lines(
    device,
    `/images/create?fromImage=${site.registry.host}/app&tag=v2`,
  );
  const pulled = saidIn(heard);
  const used = pulled.find((line) => line.startsWith('Using a delta from'));
  assert.match(used ?? pulled.join('\n'), /app:v1: [\d.]+k?B instead of [\d.]+kB$/);
  const sums = heard.flatMap(({ progressDetail }) => progressDetail?.whole ?? []);
  const size = /: (\S+) instead/.exec(used ?? '')?.[1];
  assert.deepEqual([...new Set(sums.map(({ total }) => humanSize(total, 3)))], [size]);
  assert.equal(await site.idOf(device, 'app:v2'), image?.config.digest);
  assert.ok(!pulled.some((line) => line.includes('cannot be used')), pulled.join('\n'));
  // None of the layers that changed was fetched, and what is saved is the tars that were built.
  const log = readFileSync(site.registry.log, 'utf8').slice(start);
  for (const { digest } of image?.layers.slice(1) ?? []) {
    assert.ok(!new RegExp(`GET /v2/app/blobs/${digest}`).test(log), digest);
  }
  const saved = await device.api('GET', `/images/${site.registry.host}/app:v2/get`);
  assert.equal(saved.status, 200);
  for (const { diffId } of image?.layers ?? []) assert.ok(saved.text.includes(diffId.slice(7)));
});

test('what came by a delta is pushed as it was pulled, and nothing is sent that is there', async () => {
  const [, image] = await prepare('pushed', 1, 2);
  await site.publish('pushed', 'v2', 'v1');
  await site.pull(device, 'pushed', 'v1');
  const pulled = await site.pull(device, 'pushed', 'v2', '&delta=require');
  const digest = pulled.find((line) => line.startsWith('Digest: '))?.slice(8) ?? '';
  const ways = { pushed: 'Layer already exists', copied: 'Mounted from pushed' };
  for (const [name, way] of Object.entries(ways)) {
    const tag = `repo=${site.registry.host}/${name}&tag=again`;
    await device.json('POST', `/images/${site.registry.host}/pushed:v2/tag?${tag}`);
    const start = readFileSync(site.registry.log, 'utf8').length;
    const sent = saidIn(
      await site.lines(device, `/images/${site.registry.host}/${name}/push?tag=again`),
    );
    assert.ok(
      sent.some((line) => line.includes(`digest: ${digest}`)),
      sent.join('\n'),
    );
    assert.equal(sent.filter((line) => line.includes(way)).length, 3, sent.join('\n'));
    assert.ok(!sent.some((line) => line.includes('Pushed')), sent.join('\n'));
    const log = readFileSync(site.registry.log, 'utf8').slice(start);
    for (const layer of image?.layers ?? []) {
      assert.ok(!log.includes(`&digest=sha256%3A${layer.digest.slice(7)}`), layer.digest);
    }
  }
  // A registry without them gets the blobs that the manifest names, which were never seen here.
  await using other = await startRegistry();
  await device.json(
    'POST',
    `/images/${site.registry.host}/pushed:v2/tag?repo=${other.host}/app&tag=v2`,
  );
  const away = saidIn(await site.lines(device, `/images/${other.host}/app/push?tag=v2`));
  assert.ok(
    away.some((line) => line.endsWith('Pushed')),
    away.join('\n'),
  );
  assert.ok(
    away.some((line) => line.includes(`digest: ${digest}`)),
    away.join('\n'),
  );
  await using reader = await startDaemon();
  await site.lines(reader, `/images/create?fromImage=${other.host}/app&tag=v2`);
  const read = (await reader.json('GET', `/images/${other.host}/app:v2/json`)) as { Id: string };
  assert.equal(read.Id, image?.config.digest);
});

test('a plan says what a pull would cost, before a byte of content is paid for', async () => {
  const [, image] = await prepare('planned', 1, 2);
  await site.publish('planned', 'v2', 'v1');
  const target = encodeURIComponent(`${site.registry.host}/planned:v2`);
  const plan = async () => (await device.json('GET', `/deltas/plan?target=${target}`)) as DeltaPlan;
  const empty = await plan();
  assert.equal(empty.Choice, 'layers');
  assert.equal(empty.Layers.Missing, 3);
  assert.deepEqual(
    empty.Deltas.map(({ BaseName }) => BaseName),
    [''],
    'the base is not here',
  );
  await site.pull(device, 'planned', 'v1');
  const start = readFileSync(site.registry.log, 'utf8').length;
  const based = await plan();
  assert.equal(based.Choice, based.Deltas[0]?.Digest);
  assert.equal(based.Deltas[0]?.BaseName, `${site.registry.host}/planned:v1`);
  assert.equal(based.Layers.Missing, 2);
  assert.ok((based.Deltas[0]?.Bytes ?? 0) < based.Layers.Bytes / 100);
  // Documents alone: the config, and what the delta says of itself.
  const fetched = (): Set<string> => {
    const log = readFileSync(site.registry.log, 'utf8').slice(start);
    return new Set([...log.matchAll(/"GET \/v2\/planned\/blobs\/(\S+)/g)].map((m) => m[1] ?? ''));
  };
  await eventually(() => fetched().size === 2, { what: 'both blobs in the log' });
  assert.ok(fetched().has(image?.config.digest ?? ''));
  const envelope = [...fetched()].find((digest) => digest !== image?.config.digest) ?? '';
  assert.match(readFileSync(site.registry.blobFile(envelope), 'utf8'), /^\{"version":1,/);
  // A layer that comes with another image is not counted, by either way.
  const notes = gunzipSync(image?.layers[2]?.bytes ?? '');
  await pushImage(site.registry, 'planned', 'part', await buildImage({ layers: [notes] }));
  await site.pull(device, 'planned', 'part');
  const less = await plan();
  assert.equal(less.Layers.Missing, 1);
  assert.ok((less.Deltas[0]?.Bytes ?? 0) < (based.Deltas[0]?.Bytes ?? 0));
  const sizes = [less.Deltas[0]?.Bytes ?? 0, less.Layers.Bytes].map((bytes) => humanSize(bytes, 3));
  const pulled = (await site.pull(device, 'planned', 'v2')).join('\n');
  assert.ok(pulled.includes(`: ${sizes.join(' instead of ')}`), pulled);
  assert.equal((await plan()).Choice, 'nothing');
  const shown = await run(clientCommand(), [
    ...['-H', device.host, 'image', 'delta', 'plan', `${site.registry.host}/planned:v2`],
  ]);
  assert.equal(shown.stdout, 'Everything is here: a pull downloads nothing.\n');
});

test('never and require mean what they say, by the pull or by the daemon', async () => {
  await prepare('modes', 1, 2, 3);
  await site.publish('modes', 'v2', 'v1');
  await using device = await startDaemon({ flags: ['--delta=never'] });
  await site.pull(device, 'modes', 'v1');
  const isDelta = (found: readonly string[]): boolean =>
    found.some((line) => line.startsWith('Using a delta'));
  assert.equal(isDelta(await site.pull(device, 'modes', 'v2')), false, "the daemon's never");
  await device.json('DELETE', `/images/${site.registry.host}/modes:v2`);
  assert.equal(isDelta(await site.pull(device, 'modes', 'v2', '&delta=require')), true);
  const refused = await site.pull(device, 'modes', 'v3', '&delta=require');
  assert.match(
    refused.at(-1) ?? '',
    /^cannot pull .*modes:v3 by a delta: the registry has none whose base is here; pull it with --delta=auto/,
  );
  assert.equal(
    await device.api('GET', `/images/${site.registry.host}/modes:v3/json`).then((a) => a.status),
    404,
  );
  const bad = await device.api(
    'POST',
    `/images/create?fromImage=${site.registry.host}/modes&tag=v3&delta=maybe`,
  );
  assert.equal(bad.status, 400);
  assert.match(bad.text, /invalid value for delta: \\"maybe\\": use auto, never or require/);
});

test('a part that is damaged, gone or a lie: the same pull falls back to layers', async () => {
  const [, image] = await prepare('damaged', 1, 2);
  await site.publish('damaged', 'v2', 'v1');
  const target = encodeURIComponent(`${site.registry.host}/damaged:v2`);
  const plan = (await site.builder.json('GET', `/deltas/plan?target=${target}`)) as DeltaPlan;
  const manifest = JSON.parse(
    readFileSync(site.registry.blobFile(plan.Deltas[0]?.Digest ?? ''), 'utf8'),
  ) as { layers: { digest: string; mediaType: string }[] };
  const part = manifest.layers.find(({ mediaType }) => mediaType.includes('part'));
  const file = site.registry.blobFile(part?.digest ?? '');
  const good = readFileSync(file);
  const flipped = Buffer.from(good);
  flipped[20] = (flipped[20] ?? 0) ^ 0x10;
  for (const bytes of [flipped, good.subarray(0, good.length - 1), Buffer.alloc(good.length)]) {
    writeFileSync(file, bytes);
    await site.pull(device, 'damaged', 'v1');
    const pulled = await site.pull(device, 'damaged', 'v2');
    assert.ok(
      pulled.some((line) => line.startsWith('The delta cannot be used, fetching layers: ')),
      pulled.join('\n'),
    );
    assert.equal(await site.idOf(device, 'damaged:v2'), image?.config.digest);
    await emptied(path.join(device.dataRoot, 'staging'));
    await device.json('DELETE', `/images/${site.registry.host}/damaged:v2`);
  }
  rmSync(file);
  const required = await site.pull(device, 'damaged', 'v2', '&delta=require');
  assert.doesNotMatch(required.at(-1) ?? '', /Downloaded/);
  assert.equal(
    (await device.api('GET', `/images/${site.registry.host}/damaged:v2/json`)).status,
    404,
  );
  await site.pull(device, 'damaged', 'v2');
  assert.equal(await site.idOf(device, 'damaged:v2'), image?.config.digest);
});

test('a base whose files were changed makes no image: the pull falls back to layers', async () => {
  const [, image] = await prepare('changed', 1, 2);
  await site.publish('changed', 'v2', 'v1');
  await using device = await startDaemon();
  await site.pull(device, 'changed', 'v1');
  const changed = readdirSync(path.join(device.dataRoot, 'layers'))
    .map((layer) => path.join(device.dataRoot, 'layers', layer, 'diff/app/program'))
    .filter((file) => existsSync(file));
  assert.equal(changed.length, 1);
  const bytes = program(1);
  bytes[5000] = (bytes[5000] ?? 0) ^ 1;
  writeFileSync(changed[0] ?? '', bytes);
  const pulled = await site.pull(device, 'changed', 'v2');
  assert.ok(
    pulled.some((line) => line.startsWith('The delta cannot be used')),
    pulled.join('\n'),
  );
  assert.equal(await site.idOf(device, 'changed:v2'), image?.config.digest);
  // Reading a directory fails as reading does where a disk is worn out.
  await device.json('DELETE', `/images/${site.registry.host}/changed:v2`);
  rmSync(changed[0] ?? '');
  mkdirSync(changed[0] ?? '');
  const again = await site.pull(device, 'changed', 'v2');
  const why =
    /^The delta cannot be used, fetching layers: cannot read \/app\/program of the base: /m;
  assert.match(again.join('\n'), why);
  assert.equal(await site.idOf(device, 'changed:v2'), image?.config.digest);
});

test('a device that dies in the middle has its base, and pulls the rest by the same delta', async () => {
  const [, image] = await prepare('killed', 1, 2);
  await site.publish('killed', 'v2', 'v1');
  await using device = await startDaemon();
  await site.pull(device, 'killed', 'v1');
  const pulling = site.pull(device, 'killed', 'v2').catch(() => []);
  await eventually(() => readdirSync(path.join(device.dataRoot, 'staging')).length > 0, {
    what: 'a layer in staging',
  });
  await device.stop('SIGKILL');
  await pulling;
  await device.start();
  assert.match((await site.idOf(device, 'killed:v1')) ?? '', /^sha256:/);
  assert.ok(
    (await site.pull(device, 'killed', 'v2')).some((line) => line.startsWith('Using a delta')),
  );
  assert.equal(await site.idOf(device, 'killed:v2'), image?.config.digest);
});

test('several bases, one read of the target; the same images give the same bytes', async () => {
  const images = await prepare('many', 1, 2, 3);
  const made = await site.publish('many', 'v3', 'v1', 'v2');
  const digests = made.join('\n').match(/sha256:[0-9a-f]{64}/g);
  assert.equal(digests?.length, 2);
  assert.deepEqual(
    (await site.publish('many', 'v3', 'v1', 'v2')).join('\n').match(/sha256:[0-9a-f]{64}/g),
    digests,
  );
  for (const base of ['v1', 'v2']) {
    await site.pull(device, 'many', base);
    assert.ok(
      (await site.pull(device, 'many', 'v3')).some((line) => line.startsWith('Using a delta')),
    );
    assert.equal(await site.idOf(device, 'many:v3'), images[2]?.config.digest);
    for (const tag of [base, 'v3']) {
      await device.json('DELETE', `/images/${site.registry.host}/many:${tag}`);
    }
  }
});

test('inspect says where the bytes of the deltas in a registry go', async () => {
  const [, , image] = await prepare('inspected', 1, 2, 3);
  await site.publish('inspected', 'v3', 'v1', 'v2');
  const name = `${site.registry.host}/inspected:v3`;
  const address = `/deltas/inspect?target=${encodeURIComponent(name)}`;
  const found = (await site.builder.json('GET', address)) as InspectedDelta[];
  assert.equal(found.length, 2);
  assert.equal(new Set(found.map(({ Base }) => Base)).size, 2);
  for (const { Target, Report } of found) {
    assert.equal(Target, image?.config.digest);
    // One part for each of the two layers that changed, the program dearest in its own.
    assert.deepEqual(
      Report.layers.map(({ diffId }) => diffId),
      image?.layers.slice(1).map(({ diffId }) => diffId),
    );
    const [first] = Report.layers[0]?.files ?? [];
    assert.deepEqual([first?.path, first?.kind], ['app/program', 'addSame']);
    const coded = Report.layers[0]?.files.reduce((sum, { bytes }) => sum + bytes, 0) ?? 0;
    const all = coded + (Report.layers[0]?.headBytes ?? 0);
    assert.ok(Math.abs(all - (Report.layers[0]?.bytes ?? 0)) < 20, 'shares add up to the part');
  }
  const inspect = (...args: string[]) =>
    run(clientCommand(), ['-H', site.builder.host, 'image', 'delta', 'inspect', ...args]);
  const shown = await inspect(name);
  assert.equal(shown.code, 0, shown.stderr);
  for (const line of [
    /^LAYER +BYTES/m,
    /^CONTENT +BYTES/m,
    /^DIRECTORY +BYTES/m,
    /^FILE +BYTES/m,
  ]) {
    assert.equal(shown.stdout.match(new RegExp(line, 'gm'))?.length, 2);
  }
  const none = await inspect(`${site.registry.host}/inspected:v1`);
  assert.notEqual(none.code, 0);
  assert.match(none.stderr, /there is no delta to .*inspected:v1/);
});

test('the base may lie in another data root, as for updates of the host', async () => {
  const [, image] = await prepare('host', 1, 2);
  await site.publish('host', 'v2', 'v1');
  await using running = await startDaemon();
  await site.pull(running, 'host', 'v1');
  await using device = await startDaemon({ flags: ['--delta-data-root', running.dataRoot] });
  const pulled = await site.pull(device, 'host', 'v2', '&delta=require');
  assert.ok(
    pulled.some((line) => line.startsWith('Using a delta')),
    pulled.join('\n'),
  );
  assert.equal(await site.idOf(device, 'host:v2'), image?.config.digest);
});

test('another data root that cannot be read does not keep from the bases that are here', async () => {
  const images = await prepare('unmounted', 1, 2, 3);
  await site.publish('unmounted', 'v3', 'v1', 'v2');
  await using device = await startDaemon({ flags: ['--delta-data-root', '/nonexistent'] });
  // With no base here, the reason is told, and layers come.
  const said = await site.pull(device, 'unmounted', 'v3');
  assert.match(said.join('\n'), /^Deltas are not used: cannot read the data root \/nonexistent/m);
  assert.equal(await site.idOf(device, 'unmounted:v3'), images[2]?.config.digest);
  await device.json('DELETE', `/images/${site.registry.host}/unmounted:v3`);
  await site.pull(device, 'unmounted', 'v1');
  const pulled = await site.pull(device, 'unmounted', 'v3');
  assert.match(pulled.join('\n'), /^Using a delta from .*unmounted:v1: /m);
  assert.equal(await site.idOf(device, 'unmounted:v3'), images[2]?.config.digest);
});

test('a delta to an image that the registry does not have is refused with what to do', async () => {
  await prepare('here', 1, 2);
  await site.builder.json(
    'POST',
    `/images/${site.registry.host}/here:v2/tag?repo=${site.registry.host}/elsewhere&tag=v2`,
  );
  const target = encodeURIComponent(`${site.registry.host}/elsewhere:v2`);
  const base = encodeURIComponent(`${site.registry.host}/here:v1`);
  const answer = await site.builder.api('POST', `/deltas/publish?target=${target}&base=${base}`);
  assert.equal(answer.status, 404);
  assert.match(answer.text, /elsewhere does not have this image; push it first/);
});
