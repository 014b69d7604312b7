/**
 * Measures Coracle, and Docker beside it in the same run where dockerd is installed, and prints a
 * table. Started by script/bench, in a network namespace of its own.
 *
 * The scenario `probes` looks on for N seconds, 60 unless told.
 * The scenario `update` needs pairs of root filesystems (see update.ts).
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { parseArgs } from 'node:util';
import {
  buildImage,
  busyboxImage,
  debianRootfsTar,
  layerTar,
  pushImage,
} from '../test/support/images.ts';
import { startRegistry } from '../test/support/registry.ts';
import { tool } from '../test/support/tools.ts';
import { build } from './build-measures.ts';
import { CountingDisk } from './counting-disk.ts';
import { BenchEngine, type EngineName } from './engines.ts';
import { load } from './load-measures.ts';
import type { Measure } from './measures.ts';
import * as measures from './measures.ts';
import { bridge, names, ports } from './network-measures.ts';
import { crowd, probes } from './runtime-measures.ts';
import { again, cache, push, remove } from './store-measures.ts';
import { updates } from './update.ts';

type Row = { measure: Measure; values: Partial<Record<EngineName, number>> };

const { pull, extract, idle, start, running, logs, archive, many } = measures;
const SCENARIOS = {
  ...{ pull, extract, load, push, again, remove, cache, build },
  ...{ idle, start, bridge, ports, names, running, logs, archive, many, crowd, probes },
};

/** Files of incompressible and of compressible content, so that the large image is like a real one. */
async function largeImage() {
  const { randomBytes } = await import('node:crypto');
  const rootfs = await debianRootfsTar();
  const files = (count: number, bytes: number, content: (i: number) => Buffer) =>
    layerTar(
      Array.from({ length: count }, (_, i) => ({ name: `srv/${bytes}-${i}`, content: content(i) })),
    );
  const text = (i: number): Buffer => Buffer.alloc(20_000, `line ${i} of a program's text\n`);
  const layers = [
    rootfs,
    await files(6, 8 << 20, () => randomBytes(8 << 20)),
    await files(1500, 20_000, text),
    await files(200, 100_000, (i) =>
      Buffer.concat([randomBytes(50_000), text(i).subarray(0, 50_000)]),
    ),
  ];
  return await buildImage({ layers });
}

function verdict({ measure, values }: Row): string {
  const ours = values.coracle;
  const { target } = measure;
  if (ours === undefined || target === undefined) return '';
  if ('least' in target) {
    return `≥ ${target.least}  ${ours >= target.least ? 'reached' : 'MISSED'}`;
  }
  const most =
    'most' in target ? target.most : (values.docker ?? Number.NaN) * target.shareOfDocker;
  if (Number.isNaN(most))
    return `≤ ${'shareOfDocker' in target ? target.shareOfDocker : ''} × Docker`;
  const said =
    'most' in target ? `≤ ${show(most)}` : `≤ ${show(most)} (${target.shareOfDocker} × Docker)`;
  return `${said}  ${ours <= most ? 'reached' : 'MISSED'}`;
}

function show(value: number | undefined): string {
  if (value === undefined) return '–';
  return value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

function print(rows: readonly Row[]): void {
  const width = Math.max(...rows.map(({ measure }) => measure.name.length)) + 8;
  console.log(
    `\n${'median figures of one run'.padEnd(width)}${'Docker'.padStart(10)}${'Coracle'.padStart(10)}   must reach`,
  );
  for (const row of rows) {
    const { name, unit } = row.measure;
    const label = unit === '' ? name : `${name}, ${unit}`;
    const { docker, coracle } = row.values;
    console.log(
      `${label.padEnd(width)}${show(docker).padStart(10)}${show(coracle).padStart(10)}   ${verdict(row)}`,
    );
  }
}

function hasDocker(): boolean {
  try {
    tool('dockerd');
    return true;
  } catch {
    return false;
  }
}

const USAGE = `usage: script/bench [--engine coracle|docker] [--json FILE] [--pairs DIR]
                    [--probe-seconds N] [SCENARIO...]
scenarios: ${[...Object.keys(SCENARIOS), 'update'].join(' ')}`;

type Wish = {
  readonly engines: EngineName[];
  readonly json: string | undefined;
  readonly pairs: string | undefined;
  readonly probeSec: number;
  readonly isWanted: (scenario: string) => boolean;
};

/** @throws Error with what is wrong with the command line */
function parse(args: readonly string[]): Wish {
  const text = { type: 'string' } as const;
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: { engine: text, json: text, pairs: text, 'probe-seconds': text },
  });
  const unknown = positionals.find((name) => !(name in SCENARIOS) && name !== 'update');
  if (unknown !== undefined) throw new Error(`no such scenario: ${unknown}`);
  const engines = (['docker', 'coracle'] as const).filter(
    (name) => name === (values.engine ?? name),
  );
  if (engines.length === 0) throw new Error(`no such engine: ${values.engine ?? ''}`);
  const probeSec = Number(values['probe-seconds'] ?? 60);
  if (!(probeSec > 0)) throw new Error('--probe-seconds is a number of seconds');
  return {
    engines,
    json: values.json,
    pairs: values.pairs,
    probeSec,
    isWanted: (scenario) => positionals.length === 0 || positionals.includes(scenario),
  };
}

async function main(wish: Wish): Promise<void> {
  const { json, pairs, probeSec, isWanted } = wish;
  const engines = wish.engines;
  if (engines.length > 1 && !hasDocker()) {
    console.log('dockerd is not installed (Debian: docker.io): measuring Coracle alone');
    engines.shift();
  }

  const folder = mkdtempSync(path.join(tmpdir(), 'coracle-bench-'));
  const rows = new Map<string, Row>();
  try {
    await using registry = await startRegistry();
    const large = await largeImage();
    await pushImage(registry, 'bench/busybox', 'v1', await busyboxImage());
    await pushImage(registry, 'bench/large', 'v1', large);
    const images = {
      busybox: `${registry.host}/bench/busybox:v1`,
      large: `${registry.host}/bench/large:v1`,
      largeLayers: large.layers.map(({ digest }) => registry.blobFile(digest)),
      probeSec,
    };
    for (const name of engines) {
      const report = (measure: Measure, value: number): void => {
        const row = rows.get(measure.name) ?? { measure, values: {} };
        row.values[name] = value;
        rows.set(measure.name, row);
      };
      {
        await using disk = await CountingDisk.make(path.join(folder, `${name}-disk`));
        await using engine = new BenchEngine(name, disk.mountPoint);
        await engine.start();
        await engine.call('POST', `/images/create?fromImage=${encodeURIComponent(images.busybox)}`);
        for (const [scenario, body] of Object.entries(SCENARIOS)) {
          if (!isWanted(scenario)) continue;
          process.stderr.write(`${name}: ${scenario}\n`);
          await body(engine, report, images);
        }
      }
      if (!isWanted('update')) continue;
      if (pairs === undefined) {
        console.log('update is left out: --pairs DIR says where pairs of root filesystems are');
        continue;
      }
      process.stderr.write(`${name}: update\n`);
      await updates(name, folder, { pairs, registry }, report);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  print([...rows.values()]);
  if (json !== undefined) writeFileSync(json, JSON.stringify([...rows.values()], undefined, 2));
}

let wish: Wish;
try {
  wish = parse(process.argv.slice(2));
} catch (error) {
  console.error(`script/bench: ${(error as Error).message}\n\n${USAGE}`);
  process.exit(2);
}
await main(wish);
