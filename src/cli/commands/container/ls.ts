import { defineCommand, noArguments } from '../../command.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool, integer, text } from '../../flags.ts';
import { FORMAT_USAGE, formatUses, writeRows } from '../../format.ts';
import { CONTAINER_RAW, CONTAINER_TABLE, containerShape } from '../../shapes/container.ts';

const flags = {
  all: bool('a', 'Show all containers, not just running ones'),
  filter: filterFlag('f'),
  format: text('', FORMAT_USAGE),
  last: integer('n', 'Show the last n containers made, in any state', { initial: -1 }),
  latest: bool('l', 'Show the container made last, in any state'),
  'no-trunc': bool('', 'Show IDs and commands in full'),
  quiet: bool('q', 'Show IDs only'),
  size: bool('s', 'Show the size of files'),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags, given }) => {
    const client = await session.client();
    const configured = (await session.config()).settings.psFormat;
    const format = flags.format || (flags.quiet ? '' : configured);
    const limit = flags.latest && !given('last') ? 1 : flags.last;
    const size = flags.size || formatUses(format, 'Size');
    const rows = await client.containerList({
      query: {
        all: flags.all,
        filters: flags.filter,
        ...(limit > 0 ? { limit } : {}),
        size,
      },
    });
    const trunc = !flags['no-trunc'];
    const shape = containerShape({ trunc, nowMs: session.context.nowMs() });
    const named = {
      raw: CONTAINER_RAW,
      table: flags.quiet ? '{{.ID}}' : CONTAINER_TABLE + (flags.size ? '\\t{{.Size}}' : ''),
    };
    const quiet = flags.quiet && ['', 'table'].includes(format);
    await writeRows(session, rows, { format: quiet ? '{{.ID}}' : format, shape, named });
    return undefined;
  },
});
