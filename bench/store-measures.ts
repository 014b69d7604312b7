import { execFileSync } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';
import { startRegistry } from '../test/support/registry.ts';
import { writtenBytes } from './accounting.ts';
import type { BenchEngine } from './engines.ts';
import type { Scenario } from './measures.ts';
import { MemoryLimit } from './memory-limit.ts';

/** What becomes of an image after its pull: it is pushed, pulled again, deleted. */

async function pullOf(engine: BenchEngine, image: string): Promise<void> {
  await engine.call('POST', `/images/create?fromImage=${encodeURIComponent(image)}`);
}

/** CPU of the engine (ms) for `body` and what it does afterwards, and wall until its answer. */
async function costOf(
  engine: BenchEngine,
  body: () => Promise<unknown>,
): Promise<{ readonly cpuMs: number; readonly wallMs: number }> {
  const before = engine.group.cpuMs();
  const began = performance.now();
  await body();
  const wallMs = performance.now() - began;
  await quiet(engine);
  return { cpuMs: engine.group.cpuMs() - before, wallMs };
}

/** Waits until the engine has done almost nothing for a while. */
async function quiet(engine: BenchEngine): Promise<void> {
  for (let looks = 0; looks < 3; ) {
    const before = engine.group.cpuMs();
    await sleep(300);
    looks = engine.group.cpuMs() - before < 15 ? looks + 1 : 0;
  }
}

/**
 * Push of the large image to a registry that has none of it: first while the one that it was pulled
 * from is there, so that we send its blobs, then when it is gone, and the layers have to be packed.
 */
export const push: Scenario = async (engine, report, images) => {
  const pushTo = async (image: string, repository: string) => {
    const names = `repo=${encodeURIComponent(repository)}&tag=v1`;
    await engine.call('POST', `/images/${image}/tag?${names}`);
    await quiet(engine);
    let said = '';
    const cost = await costOf(engine, async () => {
      said = await engine.call('POST', `/images/${repository}/push?tag=v1`, undefined);
    });
    if (!/v1: digest: sha256:/.test(said)) throw new Error(`${engine.name}: ${said.slice(-500)}`);
    for (const name of [image, `${repository}:v1`]) await engine.call('DELETE', `/images/${name}`);
    await quiet(engine);
    return cost;
  };
  const say = (what: string, { cpuMs, wallMs }: { cpuMs: number; wallMs: number }): void => {
    report({ name: `${what}: CPU`, unit: 's', target: { shareOfDocker: 0.7 } }, cpuMs / 1e3);
    report({ name: `${what}: wall`, unit: 's', target: { shareOfDocker: 1 } }, wallMs / 1e3);
  };
  await using target = await startRegistry();
  await pullOf(engine, images.large);
  const origin = await startRegistry();
  const pushed = `${origin.host}/bench/pushed`;
  try {
    say('push', await pushTo(images.large, pushed));
    await pullOf(engine, `${pushed}:v1`);
  } finally {
    await origin.stop();
  }
  say('push, the origin is gone', await pushTo(`${pushed}:v1`, `${target.host}/bench/packed`));
};

/** What is written when nothing is new: the same pull again, a second name, a new start. */
export const again: Scenario = async (engine, report, images) => {
  await pullOf(engine, images.large);
  await quiet(engine);
  const written = async (what: string, body: () => Promise<unknown>): Promise<void> => {
    const before = writtenBytes(engine.pid);
    await body();
    await quiet(engine);
    const name = `${what}: written`;
    const row = { name, unit: 'kB', target: { most: 64 } };
    report(row, (writtenBytes(engine.pid) - before) / 1e3);
  };
  await written('the same pull again', () => pullOf(engine, images.large));
  await written('a second tag', () =>
    engine.call('POST', `/images/${images.large}/tag?repo=bench-again&tag=v1`),
  );
  await engine.call('DELETE', '/images/bench-again:v1');
  await engine.stop();
  await engine.start();
  await quiet(engine);
  const name = 'a new start of the daemon: written';
  report({ name, unit: 'kB', target: { most: 64 } }, writtenBytes(engine.pid) / 1e3);
};

/** Delete of the large image, until its files are gone. */
export const remove: Scenario = async (engine, report, images) => {
  await pullOf(engine, images.large);
  await quiet(engine);
  const { cpuMs, wallMs } = await costOf(engine, () =>
    engine.call('DELETE', `/images/${images.large}`),
  );
  report({ name: 'image delete: wall', unit: 's', target: { shareOfDocker: 1 } }, wallMs / 1e3);
  const name = 'image delete: CPU, with what is done after the answer';
  report({ name, unit: 's', target: { shareOfDocker: 1 } }, cpuMs / 1e3);
};

const FILE_MB = 64;
const DEVICE_BYTES = 256 << 20;

/**
 * On a device with little memory a container uses a file, then an image is pulled and deleted: how
 * much of the file is still in the page cache (mincore)?
 */
export const cache: Scenario = async (engine, report, images) => {
  using device = new MemoryLimit(engine.group, `bench-cache-${engine.name}`, DEVICE_BYTES);
  const write = `dd if=/dev/urandom of=/used bs=1M count=${FILE_MB} && sync`;
  const use = 'cat /used /used >/dev/null && echo used';
  const id = await engine.create({
    Image: images.busybox,
    Cmd: ['sh', '-c', `${write} && ${use} && exec sleep 600`],
    HostConfig: { NetworkMode: 'none', CgroupParent: device.parent },
  });
  await engine.call('POST', `/containers/${id}/start`);
  while (!(await engine.call('GET', `/containers/${id}/logs?stdout=1`)).includes('used')) {
    await sleep(200);
  }
  const seen = JSON.parse(await engine.call('GET', `/containers/${id}/json`)) as {
    State: { Pid: number };
  };
  const file = `/proc/${seen.State.Pid}/root/used`;
  const kept = (after: string): void => {
    const name = `${FILE_MB} MB that a container uses, cached after ${after}`;
    report({ name, unit: 'MB', target: { least: FILE_MB } }, cachedMb(file));
  };
  if (cachedMb(file) < FILE_MB) throw new Error(`${engine.name}: ${file} was not cached`);
  await pullOf(engine, images.large);
  kept('a pull');
  await engine.call('DELETE', `/images/${images.large}`);
  await quiet(engine);
  kept('a pull and a delete');
  await engine.clear();
};

function cachedMb(file: string): number {
  const how = ['--bytes', '--noheadings', '--raw', '--output', 'RES', file];
  return Number(execFileSync('fincore', how, { encoding: 'utf8' })) / 2 ** 20;
}
