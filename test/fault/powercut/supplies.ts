import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import path from 'node:path';
import { startDaemon } from '../../support/daemon.ts';
import { busyboxImage, type LayerEntry, pushImage } from '../../support/images.ts';
import { runOk } from '../../support/processes.ts';
import { type Registry, startRegistry } from '../../support/registry.ts';
import { temporaryFolder } from '../../support/temp.ts';

/** What operations bring into the engine; it lies on another disk, which keeps its power. */
export type Supplies = AsyncDisposable & {
  readonly images: readonly {
    /** In the registry: `127.0.0.1:PORT/app:3`. */
    readonly reference: string;
    readonly id: string;
    /** A docker archive of it, which loads under another name. */
    readonly archive: string;
    readonly loadedAs: string;
  }[];
  /** Of all images only this one's: a path in its top layer. */
  readonly ownFile: string;
  /** Mode and owner of their root folder. */
  readonly rootFolder: string;
  /** One with a layer that takes some seconds to come. */
  readonly large: { readonly reference: string; readonly id: string };
  /** From each version to the next, in the registry and beside it. */
  readonly deltas: readonly {
    /** Of the delta as balenaEngine has it; of the target, for one of ours. */
    readonly reference: string;
    readonly isOurs: boolean;
    readonly baseId: string;
    readonly targetId: string;
    readonly archive: string;
  }[];
};

const VERSIONS = 4;
const FILES = 150;
const LARGE_BYTES = 12 << 20;

/** Versions of one image: most files are equal, some with new times, some with other content. */
export async function makeSupplies(): Promise<Supplies> {
  await using making = new AsyncDisposableStack();
  const folder = making.use(temporaryFolder('supplies'));
  const registry = making.use(await startRegistry());
  const images = [];
  for (let version = 0; version < VERSIONS; version += 1) {
    images.push(await makeVersion(registry, folder.path, version));
  }
  const deltas = await makeDeltas(registry, folder.path, images);
  const blob = { name: 'srv/large', content: randomBytes(LARGE_BYTES) };
  const image = await busyboxImage({ extra: [...files(VERSIONS), blob] });
  await pushImage(registry, 'app', 'large', image);
  const large = { reference: `${registry.host}/app:large`, id: image.config.digest };
  const held = making.move();
  const fixed = { ownFile: 'srv/f0', rootFolder: '751:7' };
  return { ...fixed, images, large, deltas, [Symbol.asyncDispose]: () => held.disposeAsync() };
}

/** Made by a daemon of their own. Ours lie beside every second version, where its pull finds it. */
async function makeDeltas(
  registry: Registry,
  folder: string,
  images: Supplies['images'],
): Promise<Supplies['deltas']> {
  await using builder = await startDaemon();
  const post = async (address: string): Promise<void> => {
    const { status, text } = await builder.api('POST', address);
    if (status >= 300 || text.includes('"errorDetail"')) throw new Error(`${address}: ${text}`);
  };
  for (const { reference } of images) await post(`/images/create?fromImage=${reference}`);
  const deltas: Supplies['deltas'][number][] = [];
  for (const [i, target] of images.entries()) {
    const base = images[i - 1];
    if (base === undefined) continue;
    const reference = `${registry.host}/app:delta-${i}`;
    await post(`/images/delta?src=${base.reference}&dest=${target.reference}&t=${reference}`);
    await post(`/images/${registry.host}/app/push?tag=delta-${i}`);
    const archive = path.join(folder, `delta-${i}.tar`);
    writeFileSync(archive, (await builder.api('GET', `/images/${reference}/get`)).bytes);
    const ends = { baseId: base.id, targetId: target.id };
    deltas.push({ reference, isOurs: false, ...ends, archive });
    if (i % 2 === 0) {
      await post(`/deltas/publish?target=${target.reference}&base=${base.reference}`);
      deltas.push({ reference: target.reference, isOurs: true, ...ends, archive });
    }
  }
  return deltas;
}

async function makeVersion(
  registry: Registry,
  folder: string,
  version: number,
): Promise<Supplies['images'][number]> {
  const image = await busyboxImage({ extra: files(version) });
  await pushImage(registry, 'app', String(version), image);
  const loadedAs = `loaded:${version}`;
  const archive = path.join(folder, `${version}.tar`);
  const reference = `${registry.host}/app:${version}`;
  await runOk('skopeo', [
    ...['copy', '--quiet', '--src-tls-verify=false', `docker://${reference}`],
    `docker-archive:${archive}:docker.io/library/${loadedAs}`,
  ]);
  return { reference, id: image.config.digest, archive, loadedAs };
}

function files(version: number): LayerEntry[] {
  const root: LayerEntry = { name: './', type: 'directory', mode: 0o751, uid: 7 };
  const data = Array.from({ length: FILES }, (_, i) => {
    const isChanged = i % 10 === 0;
    const bytes = i % 25 === 0 ? 300_000 : 500 + i * 40;
    const content = Buffer.alloc(bytes, `file ${i}${isChanged ? ` of version ${version}` : ''}\n`);
    const mtime = new Date(1_700_000_000_000 + (i % 3 === 0 ? version * 1000 : 0));
    return { name: `srv/f${i}`, content, mtime, ...(i % 7 === 0 ? { mode: 0o755 } : {}) };
  });
  return [root, ...data];
}
