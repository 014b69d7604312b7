import { defineCommand, noArguments } from '../../command.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool, text } from '../../flags.ts';
import { FORMAT_USAGE, writeRows } from '../../format.ts';
import { VOLUME_SHAPE, VOLUME_TABLE } from '../../shapes/volume.ts';

const flags = {
  filter: filterFlag('f', 'Show only what fits (e.g. "dangling=true")'),
  format: text('', FORMAT_USAGE),
  quiet: bool('q', 'Show names only'),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    const client = await session.client();
    const { Volumes } = await client.volumeList({ query: { filters: flags.filter } });
    const configured = (await session.config()).settings.volumesFormat;
    const format = flags.format || (flags.quiet ? '' : configured);
    const quiet = flags.quiet && ['', 'table'].includes(format);
    const rows = [...(Volumes ?? [])].toSorted((a, b) => (a.Name < b.Name ? -1 : 1));
    await writeRows(session, rows, {
      format: quiet ? '{{.Name}}' : format,
      shape: VOLUME_SHAPE,
      named: { table: VOLUME_TABLE },
    });
    return undefined;
  },
});
