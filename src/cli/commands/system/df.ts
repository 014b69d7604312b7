import { humanSize } from '../../../base/bytes.ts';
import { shortId } from '../../../base/digest.ts';
import type { DiskUsage } from '../../../spec/docker/system.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { ago } from '../../display.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, text } from '../../flags.ts';
import { FORMAT_USAGE, formatRows, type RowShape } from '../../format.ts';
import type { Session } from '../../session.ts';
import { containerShape } from '../../shapes/container.ts';
import { imageRows, imageShape } from '../../shapes/image.ts';
import { VOLUME_SHAPE } from '../../shapes/volume.ts';

const flags = {
  format: text('', FORMAT_USAGE),
  verbose: bool('v', 'Show each image, container and volume'),
};

/** One line of the summary. */
type Total = {
  readonly type: string;
  readonly total: number;
  readonly active: number;
  readonly size: number;
  readonly reclaimable: number;
};

const shape: RowShape<Total> = {
  typeName: '*formatter.diskUsageContext',
  fields: {
    Active: { header: 'ACTIVE', value: (row) => String(row.active) },
    Reclaimable: {
      header: 'RECLAIMABLE',
      value: ({ size, reclaimable }) =>
        size > 0
          ? `${humanSize(reclaimable)} (${Math.trunc((reclaimable * 100) / size)}%)`
          : humanSize(reclaimable),
    },
    Size: { header: 'SIZE', value: (row) => humanSize(row.size) },
    TotalCount: { header: 'TOTAL', value: (row) => String(row.total) },
    Type: { header: 'TYPE', value: (row) => row.type },
  },
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    if (flags.verbose && flags.format !== '' && flags.format !== 'table') {
      throw new ExitError(EXIT.failure, 'the verbose and the format options conflict');
    }
    const client = await session.client();
    const usage = await client.systemDf();
    if (flags.verbose) await session.out(details(session, usage));
    else {
      const table = '{{.Type}}\\t{{.TotalCount}}\\t{{.Active}}\\t{{.Size}}\\t{{.Reclaimable}}';
      await session.out(formatRows(totals(usage), flags.format, shape, { table }));
    }
    return undefined;
  },
});

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

function totals(usage: DiskUsage): Total[] {
  const images = usage.Images ?? [];
  const containers = usage.Containers ?? [];
  const volumes = usage.Volumes ?? [];
  const cache = usage.BuildCache ?? [];
  const layers = usage.LayersSize ?? 0;
  const used = images.filter((image) => image.Containers > 0);
  const usedBytes = sum(
    used.map((image) => (image.SharedSize < 0 ? image.Size : image.Size - image.SharedSize)),
  );
  const running = containers.filter(({ State }) =>
    ['running', 'paused', 'restarting'].includes(State),
  );
  const stopped = containers.filter((container) => !running.includes(container));
  const referred = volumes.filter((volume) => (volume.UsageData?.RefCount ?? 0) > 0);
  const free = volumes.filter((volume) => !referred.includes(volume));
  const volumeSize = (each: typeof volumes): number =>
    sum(each.map((volume) => Math.max(0, volume.UsageData?.Size ?? 0)));
  return [
    {
      type: 'Images',
      total: images.length,
      active: used.length,
      size: layers,
      reclaimable: Math.max(0, layers - usedBytes),
    },
    {
      type: 'Containers',
      total: containers.length,
      active: running.length,
      size: sum(containers.map((container) => container.SizeRw ?? 0)),
      reclaimable: sum(stopped.map((container) => container.SizeRw ?? 0)),
    },
    {
      type: 'Local Volumes',
      total: volumes.length,
      active: referred.length,
      size: volumeSize(volumes),
      reclaimable: volumeSize(free),
    },
    {
      type: 'Build Cache',
      total: cache.length,
      active: cache.filter((record) => record.InUse).length,
      size: sum(cache.filter((record) => !record.Shared).map((record) => record.Size)),
      reclaimable: sum(
        cache.filter((record) => !record.InUse && !record.Shared).map((record) => record.Size),
      ),
    },
  ];
}

function details(session: Session, usage: DiskUsage): string {
  const nowMs = session.context.nowMs();
  const images = (usage.Images ?? []).flatMap((image) => imageRows(image, false));
  const options = { trunc: true, nowMs };
  const cache: RowShape<NonNullable<DiskUsage['BuildCache']>[number]> = {
    typeName: '*formatter.buildCacheContext',
    fields: {
      CacheType: { header: 'CACHE TYPE', value: (record) => record.Type },
      CreatedSince: {
        header: 'CREATED',
        value: (record) => ago(Date.parse(record.CreatedAt) / 1000, nowMs),
      },
      ID: { header: 'CACHE ID', value: (record) => shortId(record.ID) },
      LastUsedSince: {
        header: 'LAST USED',
        value: ({ LastUsedAt: at }) => (at === null ? '' : ago(Date.parse(at) / 1000, nowMs)),
      },
      Shared: { header: 'SHARED', value: (record) => String(record.Shared) },
      Size: { header: 'SIZE', value: (record) => humanSize(record.Size) },
      UsageCount: { header: 'USAGE', value: (record) => String(record.UsageCount) },
    },
  };
  return [
    'Images space usage:\n\n',
    formatRows(images, '', imageShape(options), {
      table:
        '{{.Repository}}\\t{{.Tag}}\\t{{.ID}}\\t{{.CreatedSince}}\\t{{.Size}}\\t{{.SharedSize}}\\t{{.UniqueSize}}\\t{{.Containers}}',
    }),
    '\nContainers space usage:\n\n',
    formatRows(usage.Containers ?? [], '', containerShape(options), {
      table:
        '{{.ID}}\\t{{.Image}}\\t{{.Command}}\\t{{.LocalVolumes}}\\t{{.Size}}\\t{{.RunningFor}}\\t{{.Status}}\\t{{.Names}}',
    }),
    '\nLocal Volumes space usage:\n\n',
    formatRows(usage.Volumes ?? [], '', VOLUME_SHAPE, {
      table: '{{.Name}}\\t{{.Links}}\\t{{.Size}}',
    }),
    `\nBuild cache usage: ${humanSize(sum((usage.BuildCache ?? []).map(({ Size }) => Size)))}\n\n`,
    formatRows(usage.BuildCache ?? [], '', cache, {
      table:
        '{{.ID}}\\t{{.CacheType}}\\t{{.Size}}\\t{{.CreatedSince}}\\t{{.LastUsedSince}}\\t{{.UsageCount}}\\t{{.Shared}}',
    }),
  ].join('');
}
