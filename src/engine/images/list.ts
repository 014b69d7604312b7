import { parseTimeNs } from '../../base/clock.ts';
import type { DiffId, ImageId } from '../../base/digest.ts';
import { familiarRepository, parseReference } from '../../base/reference.ts';
import { parseTimestampNs } from '../../base/timestamp.ts';
import { pathMatch } from '../../formats/path-match.ts';
import type { ImageSummary } from '../../spec/docker/image.ts';
import { booleanFilter, checkFilterKeys, type Filters, matchLabels } from '../../spec/filters.ts';
import type { ImageRecord } from '../../store/images.ts';
import { atLeast, type Call } from '../call.ts';
import type { Engine } from '../engine.ts';
import { imageBrief } from './events.ts';
import { imageDescriptor, manifestSummaries } from './manifests.ts';
import { allNames, familiarName, fullName, type ImageName, isTagName } from './names.ts';
import { getImage } from './resolve.ts';

type Context = Pick<Engine, 'store' | 'layers' | 'clock' | 'containers'>;

export type ImageListArgs = {
  readonly query: {
    readonly all: boolean;
    readonly filters: Filters;
    readonly 'shared-size': boolean;
    readonly manifests: boolean;
    /** A reference, from clients before v1.41. */
    readonly filter: string;
  };
};

const FILTER_KEYS = ['before', 'dangling', 'label', 'reference', 'since', 'until'];

/**
 * Images that match `before` and `since` (an image), `until` (a time), `dangling`, `label` and
 * `reference` (a pattern), newest first. A name that does not match a reference is not shown.
 * @throws invalidArgument for a bad filter; notFound for an image that a filter names
 */
export async function imageList(
  engine: Context,
  args: ImageListArgs,
  call: Call,
): Promise<ImageSummary[]> {
  const { query } = args;
  const given =
    query.filter !== '' && !atLeast(call, 1, 41)
      ? { ...query.filters, reference: [...(query.filters['reference'] ?? []), query.filter] }
      : query.filters;
  checkFilterKeys(given, FILTER_KEYS);
  const isWanted = imageFilter(engine, given);
  const names = allNames(engine);
  const parents = engine.store.images.parents();
  const inBetween = new Set(parents.values());
  const shared = query['shared-size'] ? sharedLayers(engine) : undefined;
  const showsSteps = query.all && booleanFilter(given, 'dangling') !== true;
  const users = atLeast(call, 1, 51) ? usersByImage(engine) : undefined;
  const summaries: ImageSummary[] = [];
  for (const image of engine.store.images.list()) {
    const brief = imageBrief(image);
    const createdNs = parseTimeNs(brief.created) ?? 0n;
    const shown = shownNames(names.get(image.id) ?? [], given);
    if (shown === undefined || !isWanted(createdNs, brief.labels)) continue;
    // A step of a build, with a later one: nothing that a user made.
    if (inBetween.has(image.id) && !names.has(image.id) && !showsSteps) continue;
    summaries.push({
      ...summaryOf(image, Number(createdNs / 1_000_000_000n), brief.labels, shown, call),
      ParentId: parents.get(image.id) ?? '',
      Containers: users === undefined ? -1 : (users.get(image.id) ?? 0),
      SharedSize: shared === undefined ? -1 : sharedBytes(engine, image, shared),
      ...(atLeast(call, 1, 48) ? descriptorOf(engine, image) : {}),
      ...(query.manifests && atLeast(call, 1, 47)
        ? { Manifests: manifestSummaries(engine, image) }
        : {}),
    });
  }
  return summaries.sort((a, b) => b.Created - a.Created);
}

/** Checks filters that look at the image itself. */
function imageFilter(
  engine: Context,
  filters: Filters,
): (createdNs: bigint, labels: Readonly<Record<string, string>>) => boolean {
  const createdOf = (text: string): bigint =>
    parseTimeNs(imageBrief(getImage(engine, text).image).created) ?? 0n;
  const before = (filters['before'] ?? []).map(createdOf);
  const since = (filters['since'] ?? []).map(createdOf);
  const nowNs = engine.clock.nowNs();
  const until = (filters['until'] ?? []).map((text) => parseTimestampNs(text, nowNs));
  return (createdNs, labels) =>
    before.every((ns) => createdNs < ns) &&
    since.every((ns) => createdNs > ns) &&
    until.every((ns) => createdNs < ns) &&
    matchLabels(filters['label'], labels);
}

/** The names to show; undefined when the filters leave the image out. */
function shownNames(names: readonly ImageName[], filters: Filters): ImageName[] | undefined {
  const dangling = booleanFilter(filters, 'dangling');
  const patterns = filters['reference'] ?? [];
  const shown = patterns.length === 0 ? [...names] : names.filter((n) => matchName(n, patterns));
  if (shown.length === 0) {
    return dangling === false || patterns.length > 0 ? undefined : shown;
  }
  return dangling === true && shown.some(isTagName) ? undefined : shown;
}

/** True when a pattern matches the name as users write it, with or without tag. */
function matchName(name: ImageName, patterns: readonly string[]): boolean {
  const familiar = familiarName(name);
  const repository = familiarRepository(parseReference(fullName(name)));
  return patterns.some((each) => pathMatch(each, familiar) || pathMatch(each, repository));
}

type Summary = Omit<ImageSummary, 'Containers' | 'SharedSize' | 'ParentId'>;

function summaryOf(
  image: ImageRecord,
  created: number,
  labels: Readonly<Record<string, string>>,
  names: readonly ImageName[],
  call: Call,
): Summary {
  let RepoTags = names.filter(isTagName).map(familiarName);
  let RepoDigests = names.filter((name) => !isTagName(name)).map(familiarName);
  if (names.length === 0 && !atLeast(call, 1, 43)) {
    RepoTags = ['<none>:<none>'];
    RepoDigests = ['<none>@<none>'];
  }
  return {
    Created: created,
    Id: image.id,
    Labels: Object.keys(labels).length === 0 ? null : labels,
    RepoDigests,
    RepoTags,
    Size: image.sizeBytes,
    ...(atLeast(call, 1, 44) ? {} : { VirtualSize: image.sizeBytes }),
  };
}

function descriptorOf(engine: Context, image: ImageRecord): Pick<ImageSummary, 'Descriptor'> {
  const Descriptor = imageDescriptor(engine, image);
  return Descriptor === undefined ? {} : { Descriptor };
}

function usersByImage(engine: Context): Map<ImageId, number> {
  const users = new Map<ImageId, number>();
  for (const { document } of engine.containers.list()) {
    users.set(document.imageId, (users.get(document.imageId) ?? 0) + 1);
  }
  return users;
}

/** Layers that more than one image has. */
function sharedLayers(engine: Context): Set<DiffId> {
  const seen = new Set<DiffId>();
  const shared = new Set<DiffId>();
  for (const image of engine.store.images.list()) {
    for (const diffId of new Set(image.diffIds)) {
      if (seen.has(diffId)) shared.add(diffId);
      else seen.add(diffId);
    }
  }
  return shared;
}

function sharedBytes(engine: Context, image: ImageRecord, shared: ReadonlySet<DiffId>): number {
  let bytes = 0;
  for (const diffId of image.diffIds) {
    if (shared.has(diffId)) bytes += engine.layers.find(diffId)?.diskBytes ?? 0;
  }
  return bytes;
}
