import assert from 'node:assert/strict';
import { readdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { TaskGroup } from '../../src/base/async.ts';
import type { Call, ProgressCall } from '../../src/engine/call.ts';
import { Containers } from '../../src/engine/containers/containers.ts';
import { imageDelta } from '../../src/engine/deltas/create.ts';
import type { Engine } from '../../src/engine/engine.ts';
import { imageLoad } from '../../src/engine/images/load.ts';
import { imageRemove } from '../../src/engine/images/remove.ts';
import { findImage, getImage } from '../../src/engine/images/resolve.ts';
import { imageSave } from '../../src/engine/images/save.ts';
import type { ProgressMessage } from '../../src/spec/docker/progress.ts';
import { HAS_VECTORS, imagesOf, membersOf, VECTOR_IDS, vector } from '../support/deltas.ts';
import { openImageEngine } from '../support/image-engine.ts';
import { runOk } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

const CALL: Call = { signal: new AbortController().signal, apiVersion: [1, 41] };

type Opened = AsyncDisposable & { readonly engine: Engine; readonly staging: string };

async function open(): Promise<Opened> {
  const here = await openImageEngine();
  const failures: unknown[] = [];
  const tasks = new TaskGroup((_, error) => failures.push(error));
  return {
    engine: {
      ...here.engine,
      ...{ database: here.database, tasks, containers: new Containers() },
    } as unknown as Engine,
    staging: here.dataRoot.staging,
    [Symbol.asyncDispose]: async () => {
      await tasks.close();
      await here[Symbol.asyncDispose]();
      assert.deepEqual(failures, []);
    },
  };
}

async function load(engine: Engine, archive: Uint8Array): Promise<string> {
  const lines: ProgressMessage[] = [];
  const call: ProgressCall = { ...CALL, progress: (message) => lines.push(message) };
  const body = Readable.from([archive]);
  await imageLoad(engine, { query: { quiet: true, platform: [] }, body }, call);
  return lines.map((line) => line.stream ?? '').join('');
}

async function save(engine: Engine, ...names: string[]): Promise<Buffer> {
  const { body } = await imageSave(engine, { query: { names } }, CALL);
  return await buffer(body);
}

async function makeDelta(
  engine: Engine,
  query: { src: string; dest: string; t: string },
): Promise<ProgressMessage[]> {
  const lines: ProgressMessage[] = [];
  await imageDelta(engine, { query }, { ...CALL, progress: (message) => lines.push(message) });
  return lines;
}

const options = HAS_VECTORS ? {} : { skip: '../shared/vectors is missing' };

test(
  "balenaEngine's delta makes the target, under its own ID and the delta's tag",
  options,
  async () => {
    await using here = await open();
    await load(here.engine, vector('old.tar'));
    assert.equal(
      await load(here.engine, vector('delta.tar')),
      'Loaded image: delta-vector:delta\n',
    );
    const { image } = getImage(here.engine, 'delta-vector:delta');
    assert.equal(image.id, VECTOR_IDS.new);
    // What it is made of is what balenaEngine has: byte for byte.
    const [made] = await imagesOf(await save(here.engine, 'delta-vector:delta'));
    const [expected] = await imagesOf(vector('new.tar'));
    assert.deepEqual(made?.layers, expected?.layers);
    assert.deepEqual(made?.config, expected?.config);
    // The delta image itself is not kept, and nothing is left over.
    assert.equal(here.engine.store.images.count(), 2);
    assert.deepEqual(readdirSync(here.staging), []);
    assert.deepEqual(await here.engine.layers.collect(), []);
  },
);

test("our delta is balenaEngine's, byte for byte, and rdiff decodes it", options, async () => {
  await using here = await open();
  await load(here.engine, vector('old.tar'));
  await load(here.engine, vector('new.tar'));
  const lines = await makeDelta(here.engine, {
    src: 'delta-vector:old',
    dest: 'delta-vector:new',
    t: 'delta-vector:mine',
  });
  const [ours] = await imagesOf(await save(here.engine, 'delta-vector:mine'));
  const [theirs] = await imagesOf(vector('delta.tar'));
  assert.deepEqual(ours?.layers, theirs?.layers);
  assert.deepEqual(ours?.config.rootfs, theirs?.config.rootfs);
  assert.deepEqual(ours?.config.config.Labels, theirs?.config.config.Labels);

  const [, ...changed] = (await imagesOf(vector('new.tar')))[0]?.layers ?? [];
  const normal = await bytesOf(changed);
  const delta = await bytesOf(theirs?.layers ?? []);
  const { image } = getImage(here.engine, 'delta-vector:mine');
  const said = lines.filter(({ progressDetail }) => progressDetail?.current === undefined);
  assert.deepEqual(
    said.map(({ id, status }) => [id, status?.replace(/took .*/, 'took T')]),
    [
      ['delta-vector:old', 'Fingerprint complete, took T'],
      ['3064a456f846', 'Waiting'],
      ['bc9a4782bc35', 'Waiting'],
      ['6ab74b042731', 'Waiting'],
      ['3064a456f846', 'Skipping common layer'],
      ['bc9a4782bc35', 'Delta complete'],
      ['6ab74b042731', 'Delta complete'],
      [undefined, sizesLine(normal, delta)],
      [undefined, `Created delta: ${image.id}`],
      [undefined, 'Successfully tagged delta-vector:mine\n'],
    ],
  );

  using folder = temporaryFolder('rdiff');
  const file = (name: string): string => path.join(folder.path, name);
  const [old] = await imagesOf(vector('old.tar'));
  const [target] = await imagesOf(vector('new.tar'));
  writeFileSync(file('basis'), Buffer.concat(old?.layers ?? []));
  let decoded = 0;
  for (const [i, layer] of (ours?.layers ?? []).entries()) {
    const delta = (await membersOf(layer)).get('delta');
    if (delta === undefined) continue;
    writeFileSync(file('delta'), delta);
    await runOk('rdiff', ['--force', 'patch', file('basis'), file('delta'), file('out')]);
    await runOk('cmp', [file('out'), writeTo(file('want'), target?.layers[i])]);
    decoded += 1;
  }
  assert.equal(decoded, 2);
});

/** Sum of the files in layers. */
async function bytesOf(layers: readonly Buffer[]): Promise<number> {
  let sum = 0;
  for (const layer of layers) {
    for (const content of (await membersOf(layer)).values()) sum += content.length;
  }
  return sum;
}

function sizesLine(normal: number, delta: number): string {
  const kB = (delta / 1000).toPrecision(4);
  const MB = (normal / 1e6).toPrecision(4);
  return `Normal size: ${MB}MB, Delta size: ${kB}kB, ${(normal / delta).toFixed(2)}x improvement`;
}

function writeTo(file: string, bytes: Buffer | undefined): string {
  writeFileSync(file, bytes ?? '');
  return file;
}

test(
  'a delta whose base is missing is refused in balenaEngine words, and changes nothing',
  options,
  async () => {
    await using here = await open();
    await assert.rejects(load(here.engine, vector('delta.tar')), {
      kind: 'notFound',
      message: `loading delta base image "${VECTOR_IDS.old}": failed to get digest ${VECTOR_IDS.old}: No such image: pull the base first`,
    });
    assert.equal(here.engine.store.images.count(), 0);
    assert.deepEqual(readdirSync(here.staging), []);
  },
);

test('a damaged delta is refused, and changes nothing', options, async () => {
  await using here = await open();
  await load(here.engine, vector('old.tar'));
  for (const name of ['delta-tampered.tar', 'delta-badmagic.tar']) {
    await assert.rejects(load(here.engine, vector(name)), {
      message: /^invalid diffID for layer [12]: expected "sha256:\w{64}", got "sha256:\w{64}"$/,
    });
  }
  assert.equal(here.engine.store.images.count(), 1);
  assert.deepEqual(readdirSync(here.staging), []);
});

test('a target that is here already gets the tag of the delta', options, async () => {
  await using here = await open();
  await load(here.engine, vector('new.tar'));
  assert.equal(
    await load(here.engine, vector('delta.tar')),
    'Target image already exists locally, no need to load it.\nLoaded image: delta-vector:delta\n',
  );
  assert.equal(getImage(here.engine, 'delta-vector:delta').image.id, VECTOR_IDS.new);
});

test('a delta may come in one archive with its base', options, async () => {
  await using maker = await open();
  await load(maker.engine, vector('old.tar'));
  await load(maker.engine, vector('new.tar'));
  await makeDelta(maker.engine, { src: VECTOR_IDS.old, dest: VECTOR_IDS.new, t: 'd:1' });
  const archive = await save(maker.engine, 'delta-vector:old', 'd:1');
  await using device = await open();
  await load(device.engine, archive);
  assert.equal(getImage(device.engine, 'd:1').image.id, VECTOR_IDS.new);
  // Where the delta's own layers are here, but not the target, they are used where they lie.
  await imageRemove(maker.engine, {
    params: { name: 'delta-vector:new' },
    query: { force: false },
  });
  assert.equal(findImage(maker.engine, VECTOR_IDS.new), undefined);
  await load(maker.engine, archive);
  assert.equal(getImage(maker.engine, 'd:1').image.id, VECTOR_IDS.new);
});
