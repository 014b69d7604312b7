import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { hostConfig } from '../../src/spec/docker/container.ts';
import { type Box, openBox } from '../support/box.ts';
import type { Answer } from '../support/daemon.ts';
import { type Kind, type Place, placesOf, SAMPLES } from '../support/decoder-walk.ts';
import { takeStock } from '../support/resources.ts';

/**
 * Every place of a HostConfig, as the contract has it, with a wrong type, a negative and a huge
 * value, a text without end: one clear sentence, or what Docker is known to make of it.
 */

let box: Box;
let stock: ReturnType<typeof takeStock>;
before(async () => {
  box = await openBox();
  await box.run({ Cmd: ['true'] });
  stock = takeStock(box.daemon);
});
after(() => box[Symbol.asyncDispose]());

type Host = Record<string, unknown>;
const PLACES = placesOf(hostConfig);

/** What must stand beside a value, so that it alone is wrong. */
const BESIDE: readonly (readonly [pattern: RegExp, (document: Host) => unknown])[] = [
  [/^Ulimits\[\]\./, (host) => within(host, 'Ulimits', { Name: 'nofile', Soft: 10, Hard: 10 })],
  [/^Blkio(\w+)\[\]\./, (host) => within(host, Object.keys(host)[0], { Path: '/dev/loop0' })],
  [/^Mounts\[\]\.Tmpfs/, (host) => within(host, 'Mounts', { Type: 'tmpfs', Target: '/t' })],
  [/^RestartPolicy\.M/, (host) => Object.assign(host['RestartPolicy'] as Host, ON_FAILURE)],
  [/^MemorySwap$/, (host) => Object.assign(host, { Memory: 64 << 20 })],
];
const ON_FAILURE = { Name: 'on-failure' };

/** Fields of the first item of a list, unless it has them. */
function within(host: Host, list = '', fields: Host = {}): void {
  host[list] = (host[list] as Host[]).map((item) => ({ ...fields, ...item }));
}

function documentOf(place: Place, value: unknown): Host {
  const host = place.document(value) as Host;
  for (const [pattern, add] of BESIDE) if (pattern.test(place.path)) add(host);
  return host;
}

async function create(HostConfig: Host): Promise<Answer> {
  return await box.tryCreate({ Cmd: ['true'], HostConfig });
}

/** The sentence of a refusal. */
function refusal(answer: Answer, what: string): string {
  assert.equal(answer.status, 400, `${what}: ${answer.status} ${answer.text}`);
  const { message } = answer.json() as { message: string };
  assert.ok(message.length > 10 && message.length < 1000 && !message.includes('\n'), message);
  return message;
}

async function nothingIsLeft(): Promise<void> {
  assert.deepEqual(await box.daemon.json('GET', '/containers/json?all=1'), []);
  const left = takeStock(box.daemon);
  assert.deepEqual(
    [left.mounts, left.processes, left.netns],
    [stock.mounts, stock.processes, stock.netns],
  );
  assert.ok(left.descriptors.length <= stock.descriptors.length + 2, left.descriptors.join(' '));
}

test('every place with a value of every wrong type is refused by its name', async () => {
  assert.ok(PLACES.length > 120, String(PLACES.length));
  let probes = 0;
  for (const place of PLACES) {
    const field = /(\w+)(?:\[\]|\{\})*$/.exec(place.path)?.[1] ?? '';
    for (const kind of Object.keys(SAMPLES) as Kind[]) {
      if (place.kinds.includes(kind)) continue;
      const what = `${place.path}: ${kind}`;
      const message = refusal(await create(documentOf(place, SAMPLES[kind])), what);
      assert.match(message, /^json: cannot unmarshal /, what);
      assert.match(message, new RegExp(`\\b${field}\\b`), what);
      probes += 1;
    }
  }
  assert.ok(probes > 400, String(probes));
  await nothingIsLeft();
});

/** Numbers that Docker takes, and what they mean to it. */
const TAKEN: Readonly<Record<string, (value: number) => boolean>> = {
  CpuShares: (value) => value > 0, // the kernel has its own bounds
  Memory: (value) => value > 0,
  MemoryReservation: (value) => value > 0,
  MemorySwap: (value) => value >= -1, // unlimited
  MemorySwappiness: (value) => value === -1, // the host's
  KernelMemory: () => true, // discarded, with a warning
  KernelMemoryTCP: (value) => value >= -1,
  PidsLimit: (value) => value < 0, // unlimited
  CpuQuota: (value) => value < 2 ** 44, // a negative one is none
  CpuRealtimePeriod: (value) => value > 0 && value <= 2 ** 53,
  'BlkioDeviceReadBps[].Rate': (value) => value > 0,
  'BlkioDeviceWriteBps[].Rate': (value) => value > 0,
  'BlkioDeviceReadIOps[].Rate': (value) => value > 0,
  'BlkioDeviceWriteIOps[].Rate': (value) => value > 0,
  'Ulimits[].Hard': (value) => value >= -1,
  CpuCount: (value) => value > 0, // for Windows
  'RestartPolicy.MaximumRetryCount': (value) => value > 0,
  OomScoreAdj: (value) => Math.abs(value) <= 1000,
  ShmSize: (value) => value > 0,
  'Mounts[].TmpfsOptions.SizeBytes': (value) => value > 0,
};
/** What a host may lack, or not let anybody have. */
const HOST_LACKS = /kernel does not support|setrlimit|error setting rlimit/;
const NUMBERS = [-1, -2, -(2 ** 31), -(2 ** 63), 2 ** 31, 2 ** 53, 2 ** 62, 2 ** 63];
const NO_INTEGERS = [2 ** 64, -(2 ** 64), 1e300, 1.5, -0.5];

describe('numbers', () => {
  const places = PLACES.filter(({ kinds }) => kinds.includes('number'));

  test('that no integer of 64 bits holds are refused everywhere', async () => {
    for (const place of places) {
      for (const value of NO_INTEGERS) {
        const message = refusal(await create(documentOf(place, value)), `${place.path}: ${value}`);
        assert.match(message, /^json: cannot unmarshal number .* of type u?int/);
      }
    }
    await nothingIsLeft();
  });

  test('negative and huge, are refused or mean what they mean to Docker', async () => {
    const known = new Set(places.map(({ path }) => path));
    assert.deepEqual(
      Object.keys(TAKEN).filter((path) => !known.has(path)),
      [],
    );
    for (const place of places) {
      for (const value of NUMBERS) {
        const what = `${place.path}: ${value}`;
        const answer = await create(documentOf(place, value));
        if (TAKEN[place.path]?.(value) !== true) refusal(answer, what);
        else if (answer.status === 201) await starts(answer, what);
        else assert.match(refusal(answer, what), HOST_LACKS, what);
      }
    }
    await nothingIsLeft();
  });

  /** A value that was taken does not fail later, unless the host does not let it be. */
  async function starts(created: Answer, what: string): Promise<void> {
    const { Id } = created.json() as { Id: string };
    const answer = await box.daemon.api('POST', `/containers/${Id}/start`);
    if (answer.status !== 204) assert.match(refusal(answer, what), HOST_LACKS, what);
    await box.remove(Id);
  }
});

describe('texts', () => {
  const places = PLACES.filter(({ kinds }) => kinds.includes('string'));

  test('with a NUL are refused everywhere, by their place', async () => {
    for (const place of places) {
      const message = refusal(await create(documentOf(place, 'a\0b')), place.path);
      assert.match(message, /^invalid HostConfig\.\w+.*NUL byte/, place.path);
    }
    await nothingIsLeft();
  });

  test('without end are taken, or refused without repeating them', async () => {
    const endless = 'x'.repeat(70_000);
    for (const place of places) {
      const created = await create(documentOf(place, endless));
      assert.ok([201, 400, 404].includes(created.status), `${place.path}: ${created.text}`);
      assert.ok(created.text.length < 2500, `${place.path}: ${created.text.length}`);
      if (created.status !== 201) continue;
      const { Id } = created.json() as { Id: string };
      const started = await box.daemon.api('POST', `/containers/${Id}/start`);
      assert.ok([204, 400, 404].includes(started.status), `${place.path}: ${started.text}`);
      assert.ok(started.text.length < 2500, `${place.path}: ${started.text.length}`);
      await box.remove(Id);
    }
    await nothingIsLeft();
  });
});
