import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { buildImage, pushImage } from '../test/support/images.ts';
import type { Registry } from '../test/support/registry.ts';
import { CountingDisk } from './counting-disk.ts';
import { BenchEngine, type EngineName } from './engines.ts';
import type { Report } from './measures.ts';

/**
 * What an update by plain layers writes to the device: an image of an old version is there, the new
 * one is pulled. The data root lies on an ext4 of its own, whose loop device counts the sectors, and
 * everything is synced before it is read, so that journal and metadata count too.
 */

/** Where pairs of root filesystems lie: `ctx/PAIR/{old,new}`, `roots/p3`, `pairs/PAIR/{old,new}.tar`. */
export type UpdateOptions = { readonly pairs: string; readonly registry: Registry };

type Pair = {
  readonly name: string;
  readonly mostMb: number;
  /** The tars of a version's layers, bottom first. */
  readonly layers: (pairs: string, version: 'old' | 'new') => Promise<readonly Uint8Array[]>;
};

const PAIRS: readonly Pair[] = [
  {
    name: 'P1, a patch of an app',
    mostMb: 4,
    layers: async (pairs, version) => {
      const at = path.join(pairs, 'ctx/P1', version);
      return [
        tarOf(path.join(pairs, 'roots/p3'), '.'),
        tarOf(path.join(at, 'node'), 'usr/local'),
        tarOf(path.join(at, 'deps'), 'srv/app'),
        tarOf(path.join(at, 'app'), 'srv/app'),
      ];
    },
  },
  {
    name: 'P5, a rebuild with new times',
    mostMb: 12,
    layers: async (pairs, version) => [
      readFileSync(path.join(pairs, 'pairs/P5', `${version}.tar`)),
    ],
  },
];

/** The tar of a folder's contents as they lie in `target`, as a build copies them. */
function tarOf(folder: string, target: string): Uint8Array {
  const how = ['--sort=name', '--numeric-owner', '--owner=0', '--group=0', '--format=gnu'];
  const where = ['--transform', `s,^\\.,${target},`, '--directory', folder];
  return execFileSync('tar', ['--create', ...how, ...where, '.'], { maxBuffer: 1 << 30 });
}

/** Measures one engine. */
export async function updates(
  name: EngineName,
  folder: string,
  { pairs, registry }: UpdateOptions,
  report: Report,
): Promise<void> {
  for (const [i, pair] of PAIRS.entries()) {
    const repository = `bench/update-${i}`;
    for (const version of ['old', 'new'] as const) {
      const layers = await pair.layers(pairs, version);
      await pushImage(
        registry,
        repository,
        version,
        await buildImage({ layers, compression: 'none' }),
      );
    }
    await using disk = await CountingDisk.make(path.join(folder, `${name}-update-${i}`));
    await using engine = new BenchEngine(name, disk.mountPoint);
    await engine.start();
    const pull = async (version: string): Promise<number> => {
      const before = await disk.writtenBytes();
      const image = encodeURIComponent(`${registry.host}/${repository}:${version}`);
      await engine.call('POST', `/images/create?fromImage=${image}`);
      await sleep(500); // what is done after the answer counts too
      return (await disk.writtenBytes()) - before;
    };
    await pull('old');
    report(
      {
        name: `update ${pair.name}: written to the device`,
        unit: 'MB',
        target: { most: pair.mostMb },
      },
      (await pull('new')) / 1e6,
    );
  }
}
