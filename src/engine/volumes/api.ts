import { notFound } from '../../base/errors.ts';
import { type Decoded, map, string, struct } from '../../spec/decode.ts';
import type { Volume as VolumeView } from '../../spec/docker/volume.ts';
import { booleanFilter, checkFilterKeys, type Filters, matchLabels } from '../../spec/filters.ts';
import { atLeast, type Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { ANONYMOUS_LABEL, type Volume, viewOf } from './volume.ts';

/** The volume calls of the API. Shapes: Engine API v1.51, Volume*. */

/** Body of `POST /volumes/create`. */
export const volumeCreateBody = struct('VolumeCreateOptions', {
  Name: string,
  Driver: string,
  DriverOpts: map(string),
  Labels: map(string),
});
export type VolumeCreateBody = Decoded<typeof volumeCreateBody>;

/** Lists the volumes that match `dangling`, `driver`, `label` and `name` (a substring). */
export async function volumeList(
  engine: Engine,
  args: { query: { filters: Filters } },
): Promise<{ Volumes: VolumeView[]; Warnings: string[] }> {
  const { filters } = args.query;
  checkFilterKeys(filters, ['dangling', 'driver', 'label', 'name']);
  const dangling = booleanFilter(filters, 'dangling');
  const drivers = filters['driver'] ?? [];
  const names = filters['name'] ?? [];
  const matches = (volume: Volume): boolean =>
    (dangling === undefined || dangling === (engine.volumes.usersOf(volume.name).length === 0)) &&
    (drivers.length === 0 || drivers.includes(volume.driver)) &&
    (names.length === 0 || names.some((name) => volume.name.includes(name))) &&
    matchLabels(filters['label'], volume.labels);
  return { Volumes: engine.volumes.list().filter(matches).map(viewOf), Warnings: [] };
}

/** Makes a volume, or gives the one that is there. */
export async function volumeCreate(
  engine: Engine,
  args: { body: VolumeCreateBody },
): Promise<VolumeView> {
  const { Name, Driver, DriverOpts, Labels } = args.body;
  const labels = Name === '' ? { ...Labels, [ANONYMOUS_LABEL]: '' } : Labels;
  return viewOf(
    await engine.volumes.create({ name: Name, driver: Driver, options: DriverOpts, labels }),
  );
}

/** @throws notFound */
export async function volumeInspect(
  engine: Engine,
  args: { params: { name: string } },
): Promise<VolumeView> {
  const volume = engine.volumes.find(args.params.name);
  if (volume === undefined) throw notFound(`get ${args.params.name}: no such volume`);
  return viewOf(volume);
}

/** Removes a volume that no container refers to; with `force` one that is not there is fine. */
export async function volumeRemove(
  engine: Engine,
  args: { params: { name: string }; query: { force: boolean } },
): Promise<void> {
  const { name } = args.params;
  if (args.query.force && engine.volumes.find(name) === undefined) return;
  await engine.volumes.remove(name);
}

/** Removes unused volumes: anonymous ones, or all with the filter `all=true` (always before v1.42). */
export async function volumePrune(
  engine: Engine,
  args: { query: { filters: Filters } },
  call: Call,
): Promise<{ VolumesDeleted: string[]; SpaceReclaimed: number }> {
  const { filters } = args.query;
  checkFilterKeys(filters, ['all', 'label', 'label!']);
  const all = booleanFilter(filters, 'all') ?? !atLeast(call, 1, 42);
  const deleted: string[] = [];
  let reclaimed = 0;
  for (const volume of engine.volumes.list()) {
    if (engine.volumes.usersOf(volume.name).length > 0) continue;
    if (!all && !(ANONYMOUS_LABEL in volume.labels)) continue;
    if (!matchLabels(filters['label'], volume.labels)) continue;
    const unwanted = filters['label!'];
    if (unwanted !== undefined && matchLabels(unwanted, volume.labels)) continue;
    const bytes = await engine.volumes.sizeOf(volume.name);
    await engine.volumes.remove(volume.name);
    deleted.push(volume.name);
    reclaimed += bytes;
  }
  engine.events.publish({
    type: 'volume',
    action: 'prune',
    id: '',
    attributes: { reclaimed: String(reclaimed) },
  });
  return { VolumesDeleted: deleted, SpaceReclaimed: reclaimed };
}

/** Volumes with their sizes and reference counts, for `system df`. */
export async function volumeUsage(engine: Engine): Promise<VolumeView[]> {
  const views: VolumeView[] = [];
  for (const volume of engine.volumes.list()) {
    const RefCount = engine.volumes.usersOf(volume.name).length;
    const Size = await engine.volumes.sizeOf(volume.name);
    views.push({ ...viewOf(volume), UsageData: { RefCount, Size } });
  }
  return views;
}
