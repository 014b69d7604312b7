import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import path from 'node:path';
import { after, before, test } from 'node:test';
import { coracle } from '../support/cli.ts';
import { startDaemon, TestDaemon } from '../support/daemon.ts';
import { applicationPair, noise } from '../support/deltas.ts';
import { docker, dockerClis } from '../support/docker-cli.ts';
import { type BuiltImage, buildImage, pushImage } from '../support/images.ts';
import { emptied, eventually, runOk } from '../support/processes.ts';
import { type Registry, startRegistry } from '../support/registry.ts';
import { takeStock } from '../support/resources.ts';

/** A builder and devices, each a daemon with its own roots, and a registry between them. */
let registry: Registry;
let builder: TestDaemon;
let base: BuiltImage;
let target: BuiltImage;
const name = (tag: string): string => `${registry.host}/team/app:${tag}`;

before(async () => {
  registry = await startRegistry();
  builder = await startDaemon();
  ({ base, target } = await applicationPair({ newBytes: 8 << 20, isNewFirst: true }));
  await pushImage(registry, 'team/app', 'v1', base);
  await pushImage(registry, 'team/app', 'v2', target);
  await ok(builder, 'pull', name('v1'));
  await ok(builder, 'pull', name('v2'));
  const said = await ok(builder, 'image', 'delta', '-t', name('v1-v2'), name('v1'), name('v2'));
  assert.match(said, /Skipping common layer/);
  assert.match(said, /\nNormal size: \S+, Delta size: \S+, [\d.]+x improvement\n/);
  assert.match(said, /\nCreated delta: sha256:\w{64}\nSuccessfully tagged \S+:v1-v2\n/);
  await ok(builder, 'push', name('v1-v2'));
});
after(async () => {
  await builder[Symbol.asyncDispose]();
  await registry.stop();
});

/** Runs our client; gives its stdout. */
async function ok(daemon: TestDaemon, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await coracle(args, { host: daemon.host });
  assert.equal(code, 0, `coracle ${args.join(' ')}: ${stderr}`);
  return stdout;
}

/** Digests of the layers that were fetched from the registry since `from` bytes of its log. */
function fetched(from: number): number {
  const log = readFileSync(registry.log).subarray(from).toString();
  return [...log.matchAll(/"GET \/v2\/team\/app\/blobs\/sha256:/g)].length;
}

async function idOf(daemon: TestDaemon, image: string): Promise<string> {
  return ((await daemon.json('GET', `/images/${image}/json`)) as { Id: string }).Id;
}

/** What a container of an image says. */
async function inside(daemon: TestDaemon, image: string, script: string): Promise<string> {
  const { code, stdout, stderr } = await coracle(
    ['run', '--rm', '--network', 'none', image, 'sh', '-c', script],
    { host: daemon.host },
  );
  assert.equal(code, 0, stderr);
  return stdout;
}

const stagingOf = (daemon: TestDaemon): string => path.join(daemon.dataRoot, 'staging');

test('a device that has the base pulls the target by its delta, and runs it', async () => {
  await using device = await startDaemon();
  await ok(device, 'pull', name('v1'));
  const from = readFileSync(registry.log).length;
  await ok(device, 'pull', name('v1-v2'));
  // The config and two layers: the common layer's blob is not fetched.
  await eventually(async () => fetched(from) >= 3, { what: "the registry's log" });
  assert.equal(fetched(from), 3);
  assert.equal(await idOf(device, name('v1-v2')), target.config.digest);
  const script = 'cat /version; ls /app; md5sum /app/data /app/link';
  assert.equal(
    await inside(device, name('v1-v2'), script),
    await inside(builder, name('v2'), script),
  );
  assert.match(await ok(device, 'pull', name('v1-v2')), /Image is up to date/);
  await emptied(stagingOf(device));

  // The target is here by now: any further delta to it only brings its name.
  await ok(builder, 'tag', name('v1-v2'), name('again'));
  await ok(builder, 'push', name('again'));
  assert.match(await ok(device, 'pull', name('again')), /Downloaded newer image/);
  assert.equal(await idOf(device, name('again')), target.config.digest);
  await ok(device, 'rmi', name('v1'), name('v1-v2'), name('again'));
  assert.equal(await ok(device, 'images', '-qa'), '');
});

test('deltas pulled again and again leave nothing of the machine held', async () => {
  await using device = await startDaemon();
  await ok(device, 'pull', name('v1'));
  const pulled = async (): Promise<void> => {
    // By the digest of the delta's manifest, which the target goes by from then on.
    const said = await ok(device, 'pull', name('v1-v2'));
    const digest = /Digest: (sha256:\w{64})/.exec(said)?.[1] ?? '';
    await ok(device, 'rmi', name('v1-v2'));
    await ok(device, 'pull', `${registry.host}/team/app@${digest}`);
    assert.equal(await idOf(device, `${registry.host}/team/app@${digest}`), target.config.digest);
    await ok(device, 'rmi', `${registry.host}/team/app@${digest}`);
  };
  await pulled();
  const owner = { dataRoot: device.dataRoot, execRoot: device.execRoot, pid: device.pid };
  const before = takeStock(owner);
  for (let i = 0; i < 3; i += 1) await pulled();
  await eventually(
    async () => {
      const { processes, mounts, descriptors } = takeStock(owner);
      const isMore = descriptors.length > before.descriptors.length;
      return processes.length === 0 && mounts.length === 0 && !isMore;
    },
    { what: 'what was held to be given back' },
  );
  await emptied(stagingOf(device));
});

test('without the base nothing is downloaded', async () => {
  await using device = await startDaemon();
  const from = readFileSync(registry.log).length;
  const { code, stderr } = await coracle(['pull', name('v1-v2')], { host: device.host });
  assert.equal(code, 1);
  const id = base.config.digest;
  assert.match(stderr, new RegExp(`loading delta base image "${id}": failed to get digest ${id}`));
  await eventually(async () => fetched(from) >= 1, { what: "the registry's log" });
  assert.equal(fetched(from), 1); // the config
  assert.equal(await ok(device, 'images', '-qa'), '');
  await emptied(stagingOf(device));
});

test("Docker's client pulls, saves and loads deltas", async () => {
  const [cli] = await dockerClis();
  assert.ok(cli !== undefined);
  await using device = await startDaemon();
  const run = async (daemon: TestDaemon, args: string[], input?: Uint8Array): Promise<string> => {
    const more = input === undefined ? {} : { input };
    const { code, stdout, stderr } = await docker(cli, daemon.host, args, more);
    assert.equal(code, 0, stderr);
    return stdout;
  };
  await run(device, ['pull', name('v1')]);
  assert.match(await run(device, ['pull', name('v1-v2')]), /Status: Downloaded newer image/);
  assert.equal(await idOf(device, name('v1-v2')), target.config.digest);
  await run(device, ['rmi', name('v1-v2')]);

  const archive = await builder.api('GET', `/images/get?names=${name('v1-v2')}`);
  assert.equal(archive.status, 200);
  const loaded = await run(device, ['load'], archive.bytes);
  assert.equal(loaded, `Loaded image: ${name('v1-v2')}\n`);
  assert.equal(await idOf(device, name('v1-v2')), target.config.digest);
});

test('the base may lie in another data root, which is only read', async () => {
  await using system = await startDaemon();
  await ok(system, 'pull', name('v1'));
  const treeOf = async (): Promise<string> =>
    await runOk('find', [system.dataRoot, '-printf', '%p %s %T@ %C@ %i\\n']);
  // Both while the other daemon runs, with what it has not checkpointed yet, and when it is gone
  // and its data root cannot be written to.
  for (const state of ['running', 'read-only'] as const) {
    if (state === 'read-only') {
      await system.stop('SIGKILL');
      await runOk('mount', ['--bind', system.dataRoot, system.dataRoot]);
      await runOk('mount', ['-o', 'remount,bind,ro', system.dataRoot]);
    }
    const before = await treeOf();
    await using device = await startDaemon({
      flags: [
        ...['--delta-data-root', system.dataRoot, '--delta-storage-driver', 'overlay2'],
        ...['--delta-storage-opt', 'overlay2.override_kernel_check=true'],
      ],
    });
    await ok(device, 'pull', name('v1-v2'));
    assert.equal(await idOf(device, name('v1-v2')), target.config.digest);
    // The common layer has come from there too: the image stands on its own.
    assert.match(await inside(device, name('v1-v2'), 'cat /version'), /^2$/m);
    assert.equal(await ok(device, 'images', '-qa', '--no-trunc'), `${target.config.digest}\n`);
    assert.equal(await treeOf(), before);
    assert.deepEqual(
      readdirSync(device.execRoot).filter((each) => each.startsWith('other')),
      [],
    );
  }

  await using lost = await startDaemon({ flags: ['--delta-data-root', '/nonexistent'] });
  const { stderr } = await coracle(['pull', name('v1-v2')], { host: lost.host });
  assert.match(stderr, /cannot read the data root \/nonexistent: it has no coracle\.db/);
});

test('a daemon that is killed in the middle of a delta leaves nothing of it', async () => {
  await using device = new TestDaemon();
  await device.start();
  await ok(device, 'pull', name('v1'));
  for (const afterMs of [0, 40, 120, 250]) {
    const pulling = Promise.allSettled([coracle(['pull', name('v1-v2')], { host: device.host })]);
    await eventually(async () => readdirSync(stagingOf(device)).length > 0, { what: 'the pull' });
    await new Promise((resolve) => setTimeout(resolve, afterMs));
    await device.restart('SIGKILL');
    await pulling;
    await emptied(stagingOf(device));
    const images = (await device.json('GET', '/images/json?all=true')) as { Id: string }[];
    const ids = images.map(({ Id }) => Id);
    // Before or after; never anything between.
    if (ids.length === 1) assert.deepEqual(ids, [base.config.digest]);
    else await ok(device, 'rmi', name('v1-v2'));
  }
  await ok(device, 'pull', name('v1-v2'));
  assert.equal(await idOf(device, name('v1-v2')), target.config.digest);
  assert.match(await inside(device, name('v1-v2'), 'cat /version'), /^2$/m);
});

/**
 * One call whose answer is a progress stream; runs `act` once when the stream has said `when`.
 * Gives the whole stream, and whether `act` was done before its end. The body's second half is
 * sent after `between`.
 */
async function during(
  device: TestDaemon,
  address: string,
  options: {
    readonly body?: Uint8Array;
    readonly between?: () => Promise<unknown>;
    readonly when?: string;
    readonly act?: () => Promise<unknown>;
  },
): Promise<{ readonly said: string; readonly isWithin: boolean }> {
  const { body = new Uint8Array(), between, when, act } = options;
  const headers = { 'content-type': 'application/x-tar' };
  const call = request({ socketPath: device.socket, method: 'POST', path: address, headers });
  const answered = once(call, 'response') as Promise<[IncomingMessage]>;
  if (between !== undefined) {
    call.write(body.subarray(0, body.length / 2));
    await eventually(async () => readdirSync(stagingOf(device)).length > 0, { what: 'the load' });
    await between();
    call.end(body.subarray(body.length / 2));
  } else call.end(body);
  const [answer] = await answered;
  let said = '';
  let acted: Promise<unknown> | undefined;
  let isOver = false;
  let isWithin = false;
  const run = async (): Promise<void> => {
    await act?.();
    isWithin = !isOver;
  };
  for await (const piece of answer) {
    said += String(piece);
    if (when !== undefined && said.includes(when)) acted ??= run();
  }
  isOver = true;
  if (when !== undefined) assert.ok(acted !== undefined, `it never said ${when}: ${said}`);
  await acted;
  return { said, isWithin };
}

test('a base that is removed while its delta comes is there until it is applied', async () => {
  await using device = await startDaemon();
  const script = 'cat /version; ls /app; md5sum /app/data /app/link';
  const wanted = await inside(builder, name('v2'), script);
  const archive = await builder.api('GET', `/images/get?names=${name('v1-v2')}`);
  const pull = `/images/create?fromImage=${encodeURIComponent(name('v1-v2'))}&limitRate=2m`;
  const ways: [address: string, body: Uint8Array | undefined, when: string][] = [
    [pull, undefined, '"Downloading"'],
    ['/images/load', archive.bytes, '"Applying delta"'],
  ];
  for (const [address, body, when] of ways) {
    await ok(device, 'pull', name('v1'));
    const act = async (): Promise<unknown> => await ok(device, 'rmi', name('v1'));
    const { said, isWithin } = await during(device, address, { ...(body && { body }), when, act });
    // A load has all its bytes by then, and may be quicker than the client that removes.
    if (address === pull) assert.ok(isWithin, 'the pull was over before its base was removed');
    assert.doesNotMatch(said, /"error"/);
    assert.equal(await ok(device, 'images', '-qa', '--no-trunc'), `${target.config.digest}\n`);
    assert.equal(await inside(device, name('v1-v2'), script), wanted);
    await ok(device, 'rmi', name('v1-v2'));
    await emptied(stagingOf(device));
  }
});

test('a base of more files than are open at a time stays as well', async () => {
  const files = Array.from({ length: 100 }, (_, i) => ({
    name: `file-${i}`,
    content: noise(`file ${i}`, 20_000),
  }));
  // What is copied from the base comes behind what is new: no file of it was opened before.
  const fresh = { name: 'fresh', content: noise('fresh', 4 << 20) };
  const many = await buildImage({ layers: [[fresh, ...files]] });
  await pushImage(registry, 'team/app', 'many1', await buildImage({ layers: [files] }));
  await pushImage(registry, 'team/app', 'many2', many);
  const [from, to, delta] = [name('many1'), name('many2'), name('many1-many2')];
  for (const image of [from, to]) await ok(builder, 'pull', image);
  await ok(builder, 'image', 'delta', '-t', delta, from, to);
  await ok(builder, 'push', delta);
  await using device = await startDaemon();
  await ok(device, 'pull', from);
  const address = `/images/create?fromImage=${encodeURIComponent(delta)}&limitRate=2m`;
  const { said, isWithin } = await during(device, address, {
    when: '"Downloading"',
    act: async () => await ok(device, 'rmi', '-f', from),
  });
  assert.ok(isWithin, 'the pull was over before its base was removed');
  assert.doesNotMatch(said, /"error"/);
  assert.equal(await ok(device, 'images', '-qa', '--no-trunc'), `${many.config.digest}\n`);
  await emptied(stagingOf(device));
});

test('a base that is removed before its delta is known is missing, in one sentence', async () => {
  await using device = await startDaemon();
  await ok(device, 'pull', name('v1'));
  const archive = await builder.api('GET', `/images/get?names=${name('v1-v2')}`);
  const { said } = await during(device, '/images/load', {
    body: archive.bytes,
    between: async () => await ok(device, 'rmi', name('v1')),
  });
  assert.match(said, new RegExp(`loading delta base image \\W*${base.config.digest}`));
  assert.equal(await ok(device, 'images', '-qa'), '');
  await emptied(stagingOf(device));
});

test('bad names are refused before anything is made', async () => {
  const tries: [query: string, status: number, message: RegExp][] = [
    [`src=no/such&dest=${name('v2')}`, 404, /^No such image: no\/such:latest$/],
    [`src=${name('v1')}&dest=no/such`, 404, /^No such image: no\/such:latest$/],
    [`src=${name('v1')}&dest=${name('v2')}&t=NOT%20GOOD`, 400, /invalid reference format/],
  ];
  for (const [query, status, message] of tries) {
    const answer = await builder.api('POST', `/images/delta?${query}`);
    assert.equal(answer.status, status, answer.text);
    assert.match((answer.json() as { message: string }).message, message);
  }
});
