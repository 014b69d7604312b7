import { execFileSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { createReadStream, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import { ARCHITECTURE, layerTar } from '../test/support/images.ts';
import { median } from './accounting.ts';
import type { BenchEngine } from './engines.ts';
import { extractSeconds, type Scenario } from './measures.ts';

const ROUNDS = 5;
const FILES = 4000;
const FILE_BYTES = 20_000;

/** A layer of contents that no other has, half of them compressible; in an archive of one image. */
async function archiveOf(folder: string, round: number): Promise<{ layer: string; image: string }> {
  const text = Buffer.alloc(FILE_BYTES / 2, `line ${round} of a program's text\n`);
  const tar = await layerTar(
    Array.from({ length: FILES }, (_, i) => ({
      name: `srv/${i >> 6}/${i}`,
      content: Buffer.concat([randomBytes(FILE_BYTES / 2), text]),
    })),
  );
  mkdirSync(folder);
  const file = (name: string, content: Uint8Array | string): string => {
    writeFileSync(path.join(folder, name), content);
    return name;
  };
  const diffId = `sha256:${createHash('sha256').update(tar).digest('hex')}`;
  const rootfs = { type: 'layers', diff_ids: [diffId] };
  const config = { architecture: ARCHITECTURE, os: 'linux', config: {}, rootfs };
  const layer = file('layer.tar.gz', gzipSync(tar));
  const image = {
    Config: file('config.json', JSON.stringify(config)),
    RepoTags: [`bench-load:${round}`],
    Layers: [layer],
  };
  const names = [file('manifest.json', JSON.stringify([image])), image.Config, layer];
  execFileSync('tar', ['-cf', path.join(folder, 'image.tar'), '-C', folder, ...names]);
  return { layer: path.join(folder, layer), image: path.join(folder, 'image.tar') };
}

async function loadSeconds(engine: BenchEngine, image: string): Promise<number> {
  const began = performance.now();
  const said = await engine.call('POST', '/images/load?quiet=1', createReadStream(image));
  if (!/Loaded image/.test(said)) throw new Error(`${engine.name}: ${said.slice(-500)}`);
  return (performance.now() - began) / 1e3;
}

/** What GNU tar needs for the same layer, into a folder that stays until the end. */
function tarSeconds(layer: string): number {
  const into = path.join(path.dirname(layer), 'tar');
  mkdirSync(into);
  const began = performance.now();
  execFileSync('tar', ['-xzf', layer, '-C', into]);
  return (performance.now() - began) / 1e3;
}

/** Load of an image of one gzipped layer out of an archive, and `tar -xzf` of the same layer. */
export const load: Scenario = async (engine, report) => {
  const folder = path.join(path.dirname(engine.dataRoot), 'load');
  mkdirSync(folder);
  const walls: number[] = [];
  const shares: number[] = [];
  const extractions: number[] = [];
  const before = engine.group.cpuMs();
  for (let round = 0; round < ROUNDS; round++) {
    const { layer, image } = await archiveOf(path.join(folder, String(round)), round);
    const tar = tarSeconds(layer);
    execFileSync('sync', ['--file-system', folder]);
    const wall = await loadSeconds(engine, image);
    await sleep(500);
    walls.push(wall);
    shares.push(wall / tar);
    if (engine.name !== 'coracle') continue; // others do it inside of their daemons
    extractions.push(extractSeconds([layer], path.join(folder, `extract-${round}`)) / tar);
  }
  const cpuSec = (engine.group.cpuMs() - before) / 1e3 / ROUNDS;
  report({ name: 'load of one gzipped layer: CPU', unit: 's' }, cpuSec);
  report({ name: 'load of one gzipped layer: wall', unit: 's' }, median(walls));
  const name = 'load of one gzipped layer: wall ÷ tar -xzf of it';
  report({ name, unit: '', target: { most: 1 } }, median(shares));
  if (extractions.length > 0) {
    const alone = 'load: extraction of that layer alone: wall ÷ tar -xzf of it';
    report({ name: alone, unit: '', target: { most: 1 } }, median(extractions));
  }
  rmSync(folder, { recursive: true });
};
