import type { ImageSearchItem } from '../../../spec/docker/image.ts';
import { defineCommand, exactly } from '../../command.ts';
import { ellipsis } from '../../display.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool, integer, text } from '../../flags.ts';
import { FORMAT_USAGE, type RowShape, writeRows } from '../../format.ts';
import { authFor } from '../../pull.ts';

const flags = {
  filter: filterFlag('f'),
  format: text('', FORMAT_USAGE),
  limit: integer('', 'Most results to show'),
  'no-trunc': bool('', 'Show descriptions in full'),
};

const DESCRIPTION_CHARS = 45;

const shapeOf = (trunc: boolean): RowShape<ImageSearchItem> => ({
  typeName: '*registry.searchContext',
  fields: {
    Description: {
      header: 'DESCRIPTION',
      value: (item) => {
        const line = item.description.replaceAll('\n', ' ').replaceAll('\r', ' ');
        return trunc ? ellipsis(line, DESCRIPTION_CHARS) : line;
      },
    },
    IsAutomated: { header: 'AUTOMATED', value: (item) => (item.is_automated ? '[OK]' : '') },
    IsOfficial: { header: 'OFFICIAL', value: (item) => (item.is_official ? '[OK]' : '') },
    Name: { header: 'NAME', value: (item) => item.name },
    StarCount: { header: 'STARS', value: (item) => String(item.star_count) },
  },
});

export const command = defineCommand({
  use: '[OPTIONS] TERM',
  args: exactly(1),
  flags,
  run: async (session, { flags, given, args: [term = ''] }) => {
    const slash = term.indexOf('/');
    const first = slash < 0 ? '' : term.slice(0, slash);
    const domain = /[.:]/.test(first) || first === 'localhost' ? first : 'docker.io';
    const client = await session.client();
    const items = await client.imageSearch({
      query: { term, filters: flags.filter, ...(given('limit') ? { limit: flags.limit } : {}) },
      headers: { registryAuth: await authFor(session, { domain }) },
    });
    await writeRows(
      session,
      items.toSorted((a, b) => b.star_count - a.star_count),
      {
        format: flags.format,
        shape: shapeOf(!flags['no-trunc']),
        named: { table: '{{.Name}}\\t{{.Description}}\\t{{.StarCount}}\\t{{.IsOfficial}}' },
      },
    );
    return undefined;
  },
});
