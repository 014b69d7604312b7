import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import { imageRemove } from '../../src/engine/images/remove.ts';
import { findImage, getImage } from '../../src/engine/images/resolve.ts';
import { openDeltaEngine } from '../support/delta-engine.ts';
import { deltaLayer, rdiffOf } from '../support/delta-layer.ts';
import {
  archiveOf,
  configOf,
  HAS_VECTORS,
  imagesOf,
  membersOf,
  noise,
  VECTOR_IDS,
  vector,
} from '../support/deltas.ts';
import { digestOf, layerTar } from '../support/images.ts';
import { emptied, runOk } from '../support/processes.ts';
import { temporaryFolder } from '../support/temp.ts';

const options = HAS_VECTORS ? {} : { skip: '../shared/vectors is missing' };

test(
  "balenaEngine's delta makes the target, under its own ID and the delta's tag",
  options,
  async () => {
    await using here = await openDeltaEngine();
    await here.load(vector('old.tar'));
    assert.equal(await here.load(vector('delta.tar')), 'Loaded image: delta-vector:delta\n');
    const { image } = getImage(here.engine, 'delta-vector:delta');
    assert.equal(image.id, VECTOR_IDS.new);
    // What it is made of is what balenaEngine has: byte for byte.
    const [made] = await imagesOf(await here.save('delta-vector:delta'));
    const [expected] = await imagesOf(vector('new.tar'));
    assert.deepEqual(made?.layers, expected?.layers);
    assert.deepEqual(made?.config, expected?.config);
    // The delta image itself is not kept, and nothing is left over.
    assert.equal(here.engine.store.images.count(), 2);
    await emptied(here.staging);
    assert.deepEqual(await here.engine.layers.collect(), []);
  },
);

test("our delta is balenaEngine's, byte for byte, and rdiff decodes it", options, async () => {
  await using here = await openDeltaEngine();
  await here.load(vector('old.tar'));
  await here.load(vector('new.tar'));
  const lines = await here.delta({
    src: 'delta-vector:old',
    dest: 'delta-vector:new',
    t: 'delta-vector:mine',
  });
  const [ours] = await imagesOf(await here.save('delta-vector:mine'));
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
    await using here = await openDeltaEngine();
    await assert.rejects(here.load(vector('delta.tar')), {
      kind: 'notFound',
      message: `loading delta base image "${VECTOR_IDS.old}": failed to get digest ${VECTOR_IDS.old}: No such image: pull the base first`,
    });
    assert.equal(here.engine.store.images.count(), 0);
    await emptied(here.staging);
  },
);

test('a damaged delta is refused, and changes nothing', options, async () => {
  await using here = await openDeltaEngine();
  await here.load(vector('old.tar'));
  for (const name of ['delta-tampered.tar', 'delta-badmagic.tar']) {
    await assert.rejects(here.load(vector(name)), {
      message: /^invalid diffID for layer [12]: expected "sha256:\w{64}", got "sha256:\w{64}"$/,
    });
  }
  assert.equal(here.engine.store.images.count(), 1);
  await emptied(here.staging);
});

test('a target that is here already gets the tag of the delta', options, async () => {
  await using here = await openDeltaEngine();
  await here.load(vector('new.tar'));
  assert.equal(
    await here.load(vector('delta.tar')),
    'Target image already exists locally, no need to load it.\nLoaded image: delta-vector:delta\n',
  );
  assert.equal(getImage(here.engine, 'delta-vector:delta').image.id, VECTOR_IDS.new);
});

test('a delta may come in one archive with its base', options, async () => {
  await using maker = await openDeltaEngine();
  await maker.load(vector('old.tar'));
  await maker.load(vector('new.tar'));
  await maker.delta({ src: VECTOR_IDS.old, dest: VECTOR_IDS.new, t: 'd:1' });
  const archive = await maker.save('delta-vector:old', 'd:1');
  await using device = await openDeltaEngine();
  await device.load(archive);
  assert.equal(getImage(device.engine, 'd:1').image.id, VECTOR_IDS.new);
  // Where the delta's own layers are here, but not the target, they are used where they lie.
  await imageRemove(maker.engine, {
    params: { name: 'delta-vector:new' },
    query: { force: false },
  });
  assert.equal(findImage(maker.engine, VECTOR_IDS.new), undefined);
  await maker.load(archive);
  assert.equal(getImage(maker.engine, 'd:1').image.id, VECTOR_IDS.new);
});

test('images without layers make deltas, and come from them', async () => {
  await using maker = await openDeltaEngine();
  const layer = Buffer.from(await layerTar([{ name: 'a', content: 'a' }]));
  await maker.load(await archiveOf(configOf([], { v: '1' }), [], 'none:1'));
  await maker.load(await archiveOf(configOf([layer]), [layer], 'one:1'));
  for (const [src, dest] of [
    ['none:1', 'one:1'],
    ['one:1', 'none:1'],
  ] as const) {
    const lines = await maker.delta({ src, dest, t: 'delta:1' });
    assert.match(lines.at(-3)?.status ?? '', /^Normal size: \S+B, Delta size: \S+B, \S+x improve/);
    await using device = await openDeltaEngine();
    await device.load(await maker.save(src));
    await device.load(await maker.save('delta:1'));
    const made = getImage(device.engine, 'delta:1').image;
    assert.equal(made.id, getImage(maker.engine, dest).image.id);
  }
});

test('a delta that does not fit together is refused, and changes nothing', async () => {
  await using here = await openDeltaEngine();
  const [one, two] = [
    Buffer.from(await layerTar([{ name: 'a', content: 'one way' }])),
    Buffer.from(await layerTar([{ name: 'a', content: 'two ways' }])),
  ];
  await here.load(await archiveOf(configOf([one]), [one], 'base:1'));
  const base = getImage(here.engine, 'base:1').image.id;
  const common = Buffer.alloc(1024);
  const delta = deltaLayer(rdiffOf(one, two));
  // A copy of one byte, a petabyte into the base: balenaEngine's load never comes back from it.
  const past = deltaLayer(Buffer.from('72730236540004000000000000000000000000000100', 'hex'));
  const target = configOf([two]);
  const tries: [layers: Buffer[], base: string, target: string, message: RegExp][] = [
    [[], base, target, /^invalid delta: it has 0 layers, and its target has 1$/],
    [[delta, delta], base, target, /^invalid delta: it has 2 layers, and its target has 1$/],
    [[common], base, target, /^invalid delta: its layer 0 is empty, but base and target do not/],
    [[delta], 'sha256:abc', target, /^invalid image ID "sha256:abc"/],
    [[delta], base, '{', /^invalid delta: the config of its target: /],
    [[past], base, target, /^cannot apply the delta: .*goes beyond the basis of \d+ bytes/],
    [[one], base, target, /^cannot apply the delta: invalid delta: got magic number/],
    [[delta], base, target.replace(/.{4}"]/, 'ffff"]'), /invalid diffID/],
  ];
  for (const [layers, id, config, message] of tries) {
    const labels = { 'io.resin.delta.base': id, 'io.resin.delta.config': config };
    const archive = await archiveOf(configOf(layers, labels), layers, 'delta:1');
    await assert.rejects(here.load(archive), { message });
    assert.equal(here.engine.store.images.count(), 1);
    await emptied(here.staging);
  }
  const labels = { 'io.resin.delta.base': base, 'io.resin.delta.config': target };
  await here.load(await archiveOf(configOf([delta], labels), [delta], 'delta:1'));
  assert.deepEqual(getImage(here.engine, 'delta:1').image.diffIds, [digestOf(two)]);
});

test('base and target stay while a delta is made of them', async () => {
  await using here = await openDeltaEngine();
  const content = noise('some', 1 << 20);
  const old = Buffer.from(await layerTar([{ name: 'a', content }]));
  const next = Buffer.from(await layerTar([{ name: 'b', content }]));
  await here.load(await archiveOf(configOf([old]), [old], 'app:1'));
  await here.load(await archiveOf(configOf([next]), [next], 'app:2'));
  const making = here.delta({ src: 'app:1', dest: 'app:2', t: 'app:delta' });
  for (const name of ['app:1', 'app:2']) {
    await imageRemove(here.engine, { params: { name }, query: { force: false } });
  }
  await making;
  assert.deepEqual(here.engine.store.images.count(), 1);
  const [delta] = await imagesOf(await here.save('app:delta'));
  const [layer] = delta?.layers ?? [];
  assert.ok((layer?.length ?? 0) < 10_000);
  // Nobody needs them any more.
  assert.equal((await here.engine.layers.collect()).length, 2);
});
