import { spawnSync } from 'node:child_process';
import { chownSync, mkdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import type { DiffId } from '../../src/base/digest.ts';
import type { RootfsOptions } from '../../src/store/layer-store.ts';
import { layerTar } from './images.ts';
import { type OpenStore, openStore } from './layers.ts';

/*
 * What a container may write on the filesystem of the folder that is named, as lines of JSON. Run in
 * user-mode Linux by quota.test.ts. Writers are no root: root may exceed a quota on ext4.
 */

const MB = 1 << 20;
const [, , folder = ''] = process.argv;
const results: Record<string, unknown> = {};

/** Writes to a container's file; the megabytes that got there. */
function write(merged: string, name: string, megabytes: number): number {
  const file = path.join(merged, 'data', name);
  const args = ['dd', 'if=/dev/zero', `of=${file}`, 'bs=64k', `count=${megabytes * 16}`];
  const { stderr } = spawnSync('busybox', args, { uid: 1000, gid: 1000, encoding: 'utf8' });
  const bytes = Number(
    /^(\d+) bytes/m.exec(stderr)?.[1] ?? /(\d+)\+\d+ records out/.exec(stderr)?.[1],
  );
  const records = Number(/(\d+)\+\d+ records out/.exec(stderr)?.[1]);
  return Number.isNaN(records) ? bytes : records / 16;
}

async function container(
  { store }: OpenStore,
  id: string,
  layers: readonly DiffId[],
  options: RootfsOptions,
): Promise<string> {
  await store.createRootfs(id, layers, options);
  const { merged } = await store.mountRootfs(id, layers);
  mkdirSync(path.join(merged, 'data'));
  chownSync(path.join(merged, 'data'), 1000, 1000);
  return merged;
}

const content = Buffer.alloc(3 * MB, 'x');
{
  await using here = await openStore('overlay2', path.join(folder, 'one'));
  const layers = await here.add(await layerTar([{ name: 'big', content, uid: 1000, mode: 0o666 }]));
  const limited = await container(here, 'c1', layers, { sizeBytes: 4 * MB });
  results['within'] = write(limited, 'a', 3);
  results['beyond'] = write(limited, 'b', 3);
  rmSync(path.join(limited, 'data/b'));
  rmSync(path.join(limited, 'data/a'));
  results['again'] = write(limited, 'a', 3);
  const copyUp = spawnSync('sh', ['-c', `echo x >>${limited}/big`], { uid: 1000 });
  results['copyUp'] = copyUp.status === 0;
  const free = await container(here, 'c2', layers, {});
  results['unlimited'] = write(free, 'a', 8);
  await here.store.removeRootfs('c1');
  await here.settle();
  const other = await container(here, 'c3', layers, { sizeBytes: 2 * MB });
  results['other'] = write(other, 'a', 5);
}
{
  await using here = await openStore('overlay2', path.join(folder, 'two'), {
    sizeBytes: 2 * MB,
    syncDiffs: true,
  });
  const layers = await here.add(await layerTar([{ name: 'x', content: '' }]));
  results['byDefault'] = write(await container(here, 'c1', layers, {}), 'a', 5);
  results['own'] = write(await container(here, 'c2', layers, { sizeBytes: 0 }), 'a', 5);
}
console.log(JSON.stringify(results));
