import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { dropCaches, median, Peak, pageCacheMb, writtenBytes } from './accounting.ts';
import type { BenchEngine } from './engines.ts';

/** One row of the result: a figure, its unit, what Coracle must reach, and how to get it. */
export type Measure = {
  readonly name: string;
  readonly unit: string;
  /**
   * The most that is allowed: an absolute figure, or a share of Docker's in the same run; or the
   * least.
   */
  readonly target?:
    | { readonly most: number }
    | { readonly least: number }
    | { readonly shareOfDocker: number };
};

/** What is measured on. */
export type BenchImages = {
  /** References in the bench's registry. */
  readonly busybox: string;
  readonly large: string;
  /** Files of the large image's gzipped layers. */
  readonly largeLayers: readonly string[];
  /** How long the scenario `probes` looks on. */
  readonly probeSec: number;
};

/** Adds rows to an engine's result. */
export type Report = (measure: Measure, value: number) => void;
/** A group of measures that share their preparation. `images` are references in the bench's registry. */
export type Scenario = (engine: BenchEngine, report: Report, images: BenchImages) => Promise<void>;

const EXTRACT_ROUNDS = 5;
const NONE = { HostConfig: { NetworkMode: 'none' } };

const timed = async (body: () => Promise<unknown>): Promise<number> => {
  const began = performance.now();
  await body();
  return performance.now() - began;
};

/** Engine CPU and wall of `body`, median of `rounds` after two that do not count. */
async function cost(
  engine: BenchEngine,
  rounds: number,
  body: () => Promise<unknown>,
): Promise<{ cpuMs: number; wallMs: number }> {
  const cpu: number[] = [];
  const wall: number[] = [];
  for (let round = -2; round < rounds; round++) {
    const before = engine.group.cpuMs();
    const ms = await timed(body);
    await sleep(250); // what is done after the answer counts too
    if (round < 0) continue;
    cpu.push(engine.group.cpuMs() - before);
    wall.push(ms);
  }
  return { cpuMs: median(cpu), wallMs: median(wall) };
}

/** What our extraction alone needs for gzipped layers, in a process of its own. */
export function extractSeconds(layers: readonly string[], into: string): number {
  const program = path.join(import.meta.dirname, 'extract-layers.ts');
  const seconds = Number(execFileSync(process.execPath, [program, into, ...layers]));
  execFileSync('sync', ['--file-system', into]);
  return seconds;
}

/** Extraction of an image's layers and nothing else, beside tar -xzf of the same. */
export const extract: Scenario = async (engine, report, { largeLayers }) => {
  if (engine.name !== 'coracle') return; // others do it inside of their daemons
  const folder = path.join(path.dirname(engine.dataRoot), 'extract');
  const shares: number[] = [];
  for (let round = 0; round < EXTRACT_ROUNDS; round++) {
    const into = path.join(folder, String(round));
    const tar = untar(largeLayers, into);
    execFileSync('sync', ['--file-system', into]);
    shares.push(extractSeconds(largeLayers, into) / tar.seconds);
    await sleep(500);
  }
  const name = 'extraction of the same layers: wall ÷ tar -xzf of them';
  report({ name, unit: '', target: { most: 1 } }, median(shares));
};

/** Pull of an image of four layers. */
export const pull: Scenario = async (engine, report, images) => {
  // Both before anything was deleted: ext4 is slow for a while after a large tree is removed.
  const tar = untar(images.largeLayers, path.dirname(engine.dataRoot));
  await sleep(1000);
  dropCaches();
  // What the registry reads is in the cache beforehand, so that only the engine's share is counted.
  for (const layer of images.largeLayers) readFileSync(layer);
  const cacheBefore = pageCacheMb();
  const cpuBefore = engine.group.cpuMs();
  const writtenBefore = writtenBytes(engine.pid);
  const idle = engine.group.memoryKb('Rss');
  using memory = new Peak(() => engine.group.memoryKb('Rss'));
  // The program's text counts once here, however many processes have mapped it.
  using shared = new Peak(() => engine.group.memoryKb('Pss'), 100);
  const address = `/images/create?fromImage=${encodeURIComponent(images.large)}`;
  const wall = await timed(() => engine.call('POST', address));
  await sleep(1000);
  const bytes = writtenBytes(engine.pid) - writtenBefore;
  report(
    { name: 'pull: CPU', unit: 's', target: { shareOfDocker: 0.5 } },
    (engine.group.cpuMs() - cpuBefore) / 1e3,
  );
  report({ name: 'pull: wall', unit: 's', target: { shareOfDocker: 0.6 } }, wall / 1e3);
  const unpack = { name: 'pull: wall, beside tar -xzf of its layers', unit: 's' };
  report({ ...unpack, target: { most: tar.seconds } }, wall / 1e3);
  report(
    { name: 'pull: written ÷ unpacked', unit: '', target: { most: 1.01 } },
    bytes / tar.writtenBytes,
  );
  report(
    { name: 'pull: page cache it leaves', unit: 'MB', target: { most: 16 } },
    pageCacheMb() - cacheBefore,
  );
  report(
    { name: 'pull: peak RSS of all processes', unit: 'MB', target: { most: 120 } },
    Math.max(idle, memory.peak) / 1024,
  );
  report({ name: 'pull: peak PSS of all processes', unit: 'MB' }, shared.peak / 1024);
};

/**
 * What GNU tar needs for gzipped layers, into fresh folders that stay until the end: seconds, and
 * bytes written, which small files and folders make more than the archives hold (whole blocks).
 */
function untar(
  layers: readonly string[],
  folder: string,
): { readonly seconds: number; readonly writtenBytes: number } {
  const script =
    'for layer; do mkdir "$0$layer" -p && tar -xzf "$layer" -C "$0$layer"; done; cat /proc/$$/io';
  const began = performance.now();
  const said = execFileSync('sh', ['-c', script, path.join(folder, 'tar'), ...layers]).toString();
  return {
    seconds: (performance.now() - began) / 1e3,
    writtenBytes: Number(/^write_bytes: (\d+)/m.exec(said)?.[1] ?? 0),
  };
}

export const idle: Scenario = async (engine, report) => {
  await sleep(5000);
  const before = engine.group.cpuMs();
  await sleep(10_000);
  report(
    { name: 'idle: CPU in 10 s', unit: 'ms', target: { most: 2 } },
    engine.group.cpuMs() - before,
  );
  report(
    { name: 'idle: PSS', unit: 'MB', target: { most: 45 } },
    engine.group.memoryKb('Pss') / 1024,
  );
};

export const start: Scenario = async (engine, report, images) => {
  const config = { Image: images.busybox, Cmd: ['true'] };
  const none = await cost(engine, 15, () => engine.run({ ...config, ...NONE }));
  report({ name: 'start, no network: CPU', unit: 'ms', target: { most: 60 } }, none.cpuMs);
  report(
    { name: 'start, no network: wall', unit: 'ms', target: { shareOfDocker: 0.25 } },
    none.wallMs,
  );
  const bridge = await cost(engine, 15, () => engine.run(config));
  report(
    { name: 'start on the bridge: wall', unit: 'ms', target: { shareOfDocker: 0.25 } },
    bridge.wallMs,
  );
};

export const running: Scenario = async (engine, report, images) => {
  const before = engine.group.pids();
  const count = 10;
  for (let i = 0; i < count; i++) {
    const id = await engine.create({ Image: images.busybox, Cmd: ['sleep', '600'], ...NONE });
    await engine.call('POST', `/containers/${id}/start`);
  }
  await sleep(1000);
  const known = new Set(before);
  let pss = 0;
  for (const pid of engine.group.pids().filter((each) => !known.has(each))) {
    pss += engine.group.memoryOf(pid, 'Pss');
  }
  report(
    { name: 'one running container: PSS beside its own', unit: 'kB', target: { most: 250 } },
    pss / count,
  );

  const [first] = JSON.parse(await engine.call('GET', '/containers/json')) as { Id: string }[];
  const exec = async (): Promise<void> => {
    const made = await engine.call('POST', `/containers/${first?.Id}/exec`, {
      Cmd: ['true'],
      AttachStdout: true,
    });
    const { Id } = JSON.parse(made) as { Id: string };
    await engine.call('POST', `/exec/${Id}/start`, { Detach: false });
  };
  const { cpuMs } = await cost(engine, 15, exec);
  report({ name: 'exec: CPU', unit: 'ms', target: { most: 12 } }, cpuMs);
  await engine.clear();
};

const LINES = 200_000;

export const logs: Scenario = async (engine, report, images) => {
  const line = 'x'.repeat(99);
  const id = await engine.create({
    Image: images.busybox,
    Cmd: ['sh', '-c', `yes ${line} | head -n ${LINES}`],
    HostConfig: {
      NetworkMode: 'none',
      LogConfig: { Type: 'json-file', Config: { 'max-size': '100m', 'max-file': '3' } },
    },
  });
  const before = engine.group.cpuMs();
  await engine.call('POST', `/containers/${id}/start`);
  await engine.call('POST', `/containers/${id}/wait`);
  await sleep(500);
  report(
    { name: 'logs: 200,000 lines written, CPU', unit: 's', target: { most: 0.3 } },
    (engine.group.cpuMs() - before) / 1e3,
  );
  const beforeRead = engine.group.cpuMs();
  let bytes = 0;
  await engine.call('GET', `/containers/${id}/logs?stdout=1`, undefined, (chunk) => {
    bytes += chunk.length;
  });
  if (bytes !== LINES * 108) throw new Error(`${engine.name}: the log has ${bytes} bytes`);
  report(
    { name: 'logs: read back, CPU', unit: 's', target: { most: 0.3 } },
    (engine.group.cpuMs() - beforeRead) / 1e3,
  );
  await engine.clear();
};

const ARCHIVE_MB = 100;

/** A file of 100 MB out of a running container, and the same archive into it again. */
export const archive: Scenario = async (engine, report, images) => {
  const Cmd = ['sh', '-c', `dd if=/dev/zero of=/big bs=1M count=${ARCHIVE_MB} && exec sleep 600`];
  const id = await engine.create({ Image: images.busybox, Cmd, ...NONE });
  await engine.call('POST', `/containers/${id}/start`);
  await sleep(2000);
  const at = (place: string): string => `/containers/${id}/archive?path=${place}`;
  const pieces: Buffer[] = [];
  for (const [name, copy] of [
    ['GET', () => engine.call('GET', at('/big'), undefined, (piece) => pieces.push(piece))],
    ['PUT', () => engine.call('PUT', at('/tmp'), Readable.from(pieces))],
  ] as const) {
    using memory = new Peak(() => engine.group.memoryKb('Rss'));
    const before = engine.group.cpuMs();
    await copy();
    const what = `archive ${name} of ${ARCHIVE_MB} MB`;
    report({ name: `${what}: CPU`, unit: 'ms' }, engine.group.cpuMs() - before);
    report(
      { name: `${what}: peak RSS of all processes`, unit: 'MB', target: { most: 90 } },
      memory.peak / 1024,
    );
  }
  await engine.clear();
};

export const many: Scenario = async (engine, report, images) => {
  for (let i = 0; i < 100; i++)
    await engine.create({ Image: images.busybox, Cmd: ['true'], ...NONE });
  const list: number[] = [];
  const rounds = 50;
  const cpuBefore = engine.group.cpuMs();
  for (let i = 0; i < rounds; i++)
    list.push(await timed(() => engine.call('GET', '/containers/json?all=1')));
  const cpu = (engine.group.cpuMs() - cpuBefore) / rounds;
  report({ name: 'list of 100 containers', unit: 'ms', target: { most: 3 } }, median(list));
  report({ name: 'list of 100 containers: CPU', unit: 'ms' }, cpu);
  const walls: number[] = [];
  const cpus: number[] = [];
  for (let i = 0; i < 5; i++) {
    await engine.stop();
    const before = engine.group.cpuMs();
    walls.push(await engine.start());
    cpus.push(engine.group.cpuMs() - before);
  }
  const startUp = 'start-up with 100 stopped containers';
  report({ name: startUp, unit: 's', target: { most: 0.25 } }, median(walls) / 1e3);
  report({ name: `${startUp}: CPU`, unit: 's' }, median(cpus) / 1e3);
  await engine.clear();
};
