import { humanSize } from '../../../base/bytes.ts';
import type { DiskUsage } from '../../../spec/docker/system.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { bool, text } from '../../flags.ts';
import { FORMAT_USAGE, formatRows, type RowShape } from '../../format.ts';
import { usageDetails } from '../../usage-details.ts';

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
    const client = await session.client();
    const usage = await client.systemDf();
    if (flags.verbose)
      await session.out(usageDetails(usage, flags.format, session.context.nowMs()));
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
