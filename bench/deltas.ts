/**
 * Measures deltas on pairs of root filesystems: Coracle's, and those in balenaEngine's format, made
 * by a builder and used by a device over a registry, and those of Debian's delta tools beside them.
 * Started by script/bench-delta.
 *
 *   deltas.ts [--pairs DIR] [--no-peers] [--quick] [--sizes] [PAIR...]
 *
 * DIR has `pairs/NAME/{old,new}.tar`; of `ctx/NAME/{old,new}/` and `roots/p3`, where they are there,
 * the same filesystems are made as images of several layers; `bin/node-{old,new}` is the pair
 * `binary`. `--sizes`: only what it takes to make deltas, without engines; `--quick`: without the
 * tools that take minutes.
 */
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildImage, pushImage } from '../test/support/images.ts';
import { type Registry, startRegistry } from '../test/support/registry.ts';
import { Peak, writtenBytes } from './accounting.ts';
import { changedBytes } from './delta-least.ts';
import { measureOurs, measurePeers, type PeerPair } from './delta-peers.ts';
import { type Figures, type Format, print, printTable } from './delta-table.ts';
import { BenchEngine } from './engines.ts';

/** Two versions of an image. */
type Pair = { readonly name: string; readonly old: Side; readonly new: Side };
/** Files of the layers' tars, bottom first. */
type Side = readonly string[];

/** As a build makes a layer, and as a later build of the same files does: other order, other times. */
const BUILT = ['--sort=name'];
const REBUILT = ['--sort=none', '--mtime=2026-02-03 04:05:06'];

function tarOf(folder: string, prefix: string, file: string, how = BUILT): string {
  const names = ['--numeric-owner', '--format=gnu', '--owner=0', '--group=0', ...how];
  execFileSync('tar', [...names, `--transform=s,^\\.,${prefix},`, '-C', folder, '-cf', file, '.']);
  return file;
}

/** The pair as one layer, as several layers, and its largest binary alone. */
function pairsIn(folder: string, name: string, work: string): Pair[] {
  const side = (which: string): Side => [path.join(folder, 'pairs', name, `${which}.tar`)];
  const pairs: Pair[] = [{ name, old: side('old'), new: side('new') }];
  const isRebuild = name === 'P5';
  const context = path.join(folder, 'ctx', isRebuild ? 'P1' : name);
  if (!existsSync(context)) return pairs;
  const layered = (which: string): Side => {
    const how = isRebuild && which === 'new' ? REBUILT : BUILT;
    const from = path.join(context, isRebuild ? 'old' : which);
    const layers: [string, string, string][] = [
      ['base', path.join(folder, 'roots/p3'), '.'],
      ['node', path.join(from, 'node'), './usr/local'],
      ['deps', path.join(from, 'deps'), './srv/app'],
      ['app', path.join(from, 'app'), './srv/app'],
    ];
    return layers.map(([part, of, prefix]) =>
      tarOf(of, prefix, path.join(work, `${name}-${which}-${part}.tar`), how),
    );
  };
  return [...pairs, { name: `${name} in layers`, old: layered('old'), new: layered('new') }];
}

const reference = (name: string): string => name.toLowerCase().replaceAll(' ', '-');

/**
 * A filesystem of the device's own: on a shared one, whoever syncs it makes the same blocks be
 * written many times.
 */
class Disk implements Disposable {
  readonly folder: string;

  constructor(at: string) {
    this.folder = at;
    mkdirSync(at);
    execFileSync('truncate', ['-s', '4G', `${at}.img`]);
    execFileSync('mkfs.ext4', ['-q', '-F', `${at}.img`]);
    execFileSync('mount', ['-o', 'loop', `${at}.img`, at]);
  }

  [Symbol.dispose](): void {
    // The engine's log is still open.
    execFileSync('umount', ['--lazy', this.folder]);
    rmSync(this.folder, { recursive: true });
    rmSync(`${this.folder}.img`);
  }
}

/** Runs `body` while the engine's memory is watched. */
async function watched(engine: BenchEngine, body: () => Promise<unknown>): Promise<Figures> {
  await sleep(1500);
  const idle = engine.group.memoryKb('Pss');
  const idleAnon = engine.group.memoryKb('Pss_Anon');
  let anon = 0;
  const cpu = engine.group.cpuMs();
  const written = writtenBytes(engine.pid);
  const before = new Set(engine.group.pids());
  let rss = 0;
  const sample = (): number => {
    for (const pid of engine.group.pids()) {
      if (!before.has(pid)) rss = Math.max(rss, engine.group.memoryOf(pid, 'Rss'));
    }
    anon = Math.max(anon, engine.group.memoryKb('Pss_Anon'));
    return engine.group.memoryKb('Pss');
  };
  using peak = new Peak(sample, 50);
  await body();
  await sleep(500);
  return {
    cpuSec: (engine.group.cpuMs() - cpu) / 1e3,
    aboveIdleMb: (anon - idleAnon) / 1024,
    withTextMb: (peak.peak - idle) / 1024,
    workerRssMb: rss / 1024,
    writtenMb: (writtenBytes(engine.pid) - written) / 1e6,
  };
}

async function pull(engine: BenchEngine, registry: Registry, name: string, tag: string) {
  const query = `fromImage=${registry.host}/${reference(name)}&tag=${tag}`;
  const answer = await engine.call('POST', `/images/create?${query}`);
  const failure = /"errorDetail"|cannot be used|not used/.exec(answer);
  if (failure !== null) throw new Error(answer.slice(-2000));
  return answer;
}

/** Makes a delta; gives the figures, and the bytes that a device fetches. */
async function makeDelta(
  builder: BenchEngine,
  registry: Registry,
  name: string,
  format: Format,
): Promise<{ create: Figures; size: number }> {
  const of = (tag: string): string => encodeURIComponent(`${registry.host}/${name}:${tag}`);
  let answer = '';
  const create = await watched(builder, async () => {
    const address =
      format === 'balena'
        ? `/images/delta?src=${of('old')}&dest=${of('new')}&t=${of('delta')}`
        : `/deltas/publish?target=${of('new')}&base=${of('old')}`;
    answer = await builder.call('POST', address);
  });
  if (format === 'balena') {
    const push = `/images/${registry.host}/${name}/push?tag=delta`;
    const lines = (await builder.call('POST', push)).trim().split('\n');
    answer = lines.find((line) => line.includes('digest: sha256:')) ?? lines.join('\n');
  }
  const digest = /sha256:[0-9a-f]{64}/.exec(answer)?.[0];
  if (digest === undefined) throw new Error(answer);
  const manifest = JSON.parse(readFileSync(registry.blobFile(digest), 'utf8')) as {
    annotations?: Record<string, string>;
    layers: { size: number }[];
  };
  const size = manifest.annotations?.['dev.coracle.delta.size'];
  const layers = manifest.layers.reduce((sum, layer) => sum + layer.size, 0);
  return { create, size: size === undefined ? layers : Number(size) };
}

async function measure(pair: Pair, folder: string, format: Format): Promise<Figures> {
  await using registry = await startRegistry();
  const name = reference(pair.name);
  for (const [tag, files] of [['old', pair.old] as const, ['new', pair.new] as const]) {
    const layers = files.map((file) => readFileSync(file));
    await pushImage(registry, name, tag, await buildImage({ layers, compression: 'none' }));
  }
  const inFolder = (role: string): string => path.join(folder, `${name}-${role}`);
  let create: Figures;
  let size: number;
  {
    await using builder = new BenchEngine('coracle', inFolder('builder'));
    await builder.start();
    await pull(builder, registry, name, 'old');
    await pull(builder, registry, name, 'new');
    ({ create, size } = await makeDelta(builder, registry, name, format));
  }
  rmSync(inFolder('builder'), { recursive: true, force: true });
  using disk = new Disk(path.join(folder, 'disk'));
  await using device = new BenchEngine('coracle', disk.folder);
  await device.start();
  await pull(device, registry, name, 'old');
  let answer = '';
  const apply = await watched(device, async () => {
    answer = await pull(device, registry, name, format === 'balena' ? 'delta' : 'new');
  });
  if (format === 'coracle' && !answer.includes('Using a delta'))
    throw new Error(answer.slice(-2000));
  const changed = changedBytes(pair.old, pair.new);
  return {
    size,
    createSec: create['cpuSec'] ?? 0,
    createRssMb: create['workerRssMb'] ?? 0,
    applySec: apply['cpuSec'] ?? 0,
    applyMb: apply['aboveIdleMb'] ?? 0,
    applyTextMb: apply['withTextMb'] ?? 0,
    writtenMb: apply['writtenMb'] ?? 0,
    changedMb: changed.contents / 1e6,
    changedBlocksMb: changed.inBlocks / 1e6,
    knownBlocksMb: changed.known / 1e6,
  };
}

/** A large program alone, and what a delta of it may take. */
const BINARY = 'binary';
const BINARY_BYTES = 3_900_000;

/** Coracle's delta between two programs, each as the only file of an image. */
async function measureBinary(old: string, target: string, work: string): Promise<void> {
  const [from = '', to = ''] = [old, target].map((file, i) => {
    const tar = path.join(work, `binary-${i}.tar`);
    execFileSync('tar', ['-C', path.dirname(realpathSync(file)), '-cf', tar, 'node']);
    return tar;
  });
  const bytes = await measureOurs({ name: BINARY, old: from, target: to, work });
  const most = BINARY_BYTES.toLocaleString('en');
  console.log(`  ≤ ${most}  ${bytes <= BINARY_BYTES ? 'reached' : 'MISSED'}`);
}

async function measureEngines(pairs: readonly Pair[], work: string): Promise<Map<string, Figures>> {
  const ours = new Map<string, Figures>();
  for (const pair of pairs) {
    for (const format of ['coracle', 'balena'] as const) {
      const figures = await measure(pair, work, format);
      print(pair.name, figures, format);
      if (format === 'coracle') ours.set(pair.name, figures);
    }
  }
  return ours;
}

async function main(args: readonly string[]): Promise<void> {
  const at = args.indexOf('--pairs');
  const pairs = at < 0 ? '/var/tmp/coracle-pairs' : (args[at + 1] ?? '');
  const words = args.filter((arg, i) => !arg.startsWith('-') && (at < 0 || i !== at + 1));
  const names = words.length > 0 ? words : [...readdirSync(path.join(pairs, 'pairs')), BINARY];
  const ours = new Map<string, Figures>();
  const work = mkdtempSync(path.join(tmpdir(), 'coracle-bench-'));
  try {
    for (const name of names) {
      const fileOf = (which: string): string =>
        name === BINARY
          ? path.join(pairs, 'bin', `node-${which}`)
          : path.join(pairs, 'pairs', name, `${which}.tar`);
      const pair: PeerPair = { name, old: fileOf('old'), target: fileOf('new'), work };
      if (!existsSync(pair.target)) continue;
      if (name === BINARY) await measureBinary(pair.old, pair.target, work);
      else if (args.includes('--sizes')) await measureOurs(pair);
      else {
        const measured = await measureEngines(pairsIn(pairs, name, work), work);
        for (const [each, figures] of measured) ours.set(each, figures);
      }
      if (!args.includes('--no-peers')) await measurePeers(pair, args.includes('--quick'));
    }
    if (ours.size > 0) printTable(ours);
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

await main(process.argv.slice(2));
