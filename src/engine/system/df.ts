import { invalidArgument } from '../../base/errors.ts';
import type { ContainerSummary } from '../../spec/docker/container-view.ts';
import type { DiskUsage } from '../../spec/docker/system.ts';
import type { UsageInput, UsageResult } from '../../worker/usage-protocol.ts';
import { atLeast, type Call } from '../call.ts';
import { containerList } from '../containers/list.ts';
import type { Engine } from '../engine.ts';
import { imageList } from '../images/list.ts';
import { volumeUsage } from '../volumes/api.ts';

const TYPES = ['build-cache', 'container', 'image', 'volume'] as const;
type UsageType = (typeof TYPES)[number];

/**
 * What images, containers and volumes take on the disk. `type` (from v1.42) asks for some of them
 * only; what was not asked for is left out. Walks the files of containers and volumes.
 * @throws invalidArgument for an unknown type
 */
export async function systemDf(
  engine: Engine,
  args: { readonly query: { readonly type: readonly string[] } },
  call: Call,
): Promise<DiskUsage> {
  const wanted = wantedTypes(atLeast(call, 1, 42) ? args.query.type : []);
  return {
    ...(wanted.has('image') ? await imageUsage(engine, call) : {}),
    ...(wanted.has('container') ? { Containers: await containerUsage(engine) } : {}),
    ...(wanted.has('volume') ? { Volumes: await volumeUsage(engine) } : {}),
    ...(wanted.has('build-cache') ? { BuildCache: [] } : {}),
    ...(atLeast(call, 1, 44) ? {} : { BuilderSize: 0 }),
  };
}

function wantedTypes(given: readonly string[]): Set<UsageType> {
  const known = new Map<string, UsageType>(TYPES.map((type) => [type, type]));
  const wanted = given.map((text) => {
    const type = known.get(text);
    if (type === undefined) throw invalidArgument(`unknown object type: ${text}`);
    return type;
  });
  return new Set(wanted.length === 0 ? TYPES : wanted);
}

async function imageUsage(
  engine: Engine,
  call: Call,
): Promise<Pick<DiskUsage, 'Images' | 'LayersSize'>> {
  const query = { all: false, filters: {}, 'shared-size': true, manifests: false, filter: '' };
  const images = await imageList(engine, { query }, call);
  const usage = await usageOfImages(engine, call);
  const users = new Map<string, number>();
  for (const { document } of engine.containers.list()) {
    users.set(document.imageId, (users.get(document.imageId) ?? 0) + 1);
  }
  return {
    LayersSize: usage.totalBytes,
    Images: images.map((each) => ({
      ...each,
      Containers: users.get(each.Id) ?? 0,
      // Of files, not only of layers: what another image has as well is free when both are gone.
      SharedSize: each.Size - (usage.uniqueBytes.get(each.Id) ?? each.Size),
    })),
  };
}

/** What images take on the disk; an image that comes or goes meanwhile is not told of. */
async function usageOfImages(
  engine: Engine,
  { signal }: Call,
): Promise<{ totalBytes: number; uniqueBytes: Map<string, number> }> {
  const { layers, store, workers, dataRoot } = engine;
  const images = store.images.list();
  using _held = layers.hold(images.flatMap(({ diffIds }) => diffIds));
  const input: UsageInput = {
    layers: dataRoot.layers,
    images: images.map(({ diffIds }) => ({
      layers: diffIds.flatMap((diffId) => layers.find(diffId) ?? []),
    })),
  };
  await using job = await workers.start('usage', input, { signal });
  job.stdin.end();
  job.stdout.resume();
  const { totalBytes, uniqueBytes } = (await job.result) as UsageResult;
  const unique = images.map(({ id }, i): [string, number] => [id, uniqueBytes[i] ?? 0]);
  return { totalBytes, uniqueBytes: new Map(unique) };
}

async function containerUsage(engine: Engine): Promise<readonly ContainerSummary[]> {
  const query = { all: true, limit: undefined, size: true, filters: {} };
  return await containerList(engine, { query });
}
