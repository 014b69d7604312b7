import { humanSize } from '../base/bytes.ts';
import { shortId } from '../base/digest.ts';
import type { ImageSummary } from '../spec/docker/image.ts';
import type { DiskUsage } from '../spec/docker/system.ts';
import { ago } from './display.ts';
import { formatLists, formatRows, type RowShape, rowContexts } from './format.ts';
import { containerShape } from './shapes/container.ts';
import { type ImageRow, imageRows, imageShape } from './shapes/image.ts';
import { VOLUME_SHAPE } from './shapes/volume.ts';

/** `system df -v`: each image, container, volume and piece of build cache with what it takes. */

type CacheRecord = NonNullable<DiskUsage['BuildCache']>[number];

const IMAGES =
  '{{.Repository}}\\t{{.Tag}}\\t{{.ID}}\\t{{.CreatedSince}}\\t{{.Size}}\\t{{.SharedSize}}\\t{{.UniqueSize}}\\t{{.Containers}}';
const CONTAINERS =
  '{{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.LocalVolumes}}\\t{{.Size}}\\t{{.RunningFor}}\\t{{.Status}}\\t{{.Names}}';
const VOLUMES = '{{.Name}}\\t{{.Links}}\\t{{.Size}}';
const CACHE =
  '{{.ID}}\\t{{.CacheType}}\\t{{.Size}}\\t{{.CreatedSince}}\\t{{.LastUsedSince}}\\t{{.UsageCount}}\\t{{.Shared}}';

function cacheShape(nowMs: number, trunc: boolean): RowShape<CacheRecord> {
  return {
    typeName: '*formatter.buildCacheContext',
    fields: {
      CacheType: { header: 'CACHE TYPE', value: (record) => record.Type },
      CreatedSince: {
        header: 'CREATED',
        value: (record) => ago(Date.parse(record.CreatedAt) / 1000, nowMs),
      },
      ID: { header: 'CACHE ID', value: (record) => (trunc ? shortId(record.ID) : record.ID) },
      LastUsedSince: {
        header: 'LAST USED',
        value: ({ LastUsedAt: at }) => (at === null ? '' : ago(Date.parse(at) / 1000, nowMs)),
      },
      Shared: { header: 'SHARED', value: (record) => String(record.Shared) },
      Size: { header: 'SIZE', value: (record) => humanSize(record.Size) },
      UsageCount: { header: 'USAGE', value: (record) => String(record.UsageCount) },
    },
  };
}

/** An image counts once, under the first of its names. */
function firstRow(image: ImageSummary): readonly ImageRow[] {
  const [name] = image.RepoTags ?? [];
  const first = { ...image, RepoTags: name === undefined ? [] : [name], RepoDigests: [] };
  return imageRows(first, false).map((row) => ({ ...row, image, digest: '' }));
}

/** Four tables, or what a `--format` makes of the four lists. @throws invalidArgument */
export function usageDetails(usage: DiskUsage, format: string, nowMs: number): string {
  const images = (usage.Images ?? []).flatMap((image) => firstRow(image));
  // What it shares with its image is listed there.
  const containers = (usage.Containers ?? []).map((each) => ({ ...each, SizeRootFs: 0 }));
  const volumes = usage.Volumes ?? [];
  const cache = usage.BuildCache ?? [];
  const asTable = format === '' || format === 'table';
  const options = { trunc: asTable, nowMs };
  const ofImages = imageShape(options);
  const ofContainers = containerShape(options);
  const ofCache = cacheShape(nowMs, asTable);
  if (!asTable) {
    const lists = {
      Images: rowContexts(images, ofImages),
      Containers: rowContexts(containers, ofContainers),
      Volumes: rowContexts(volumes, VOLUME_SHAPE),
      BuildCache: rowContexts(cache, ofCache),
    };
    return formatLists(lists, format);
  }
  const cacheBytes = cache.reduce((total, { Size }) => total + Size, 0);
  return [
    'Images space usage:\n\n',
    formatRows(images, '', ofImages, { table: IMAGES }),
    '\nContainers space usage:\n\n',
    formatRows(containers, '', ofContainers, { table: CONTAINERS }),
    '\nLocal Volumes space usage:\n\n',
    formatRows(volumes, '', VOLUME_SHAPE, { table: VOLUMES }),
    `\nBuild cache usage: ${humanSize(cacheBytes)}\n\n`,
    formatRows(cache, '', ofCache, { table: CACHE }),
  ].join('');
}
