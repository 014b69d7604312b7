import { humanSize } from '../../../base/bytes.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { confirm } from '../../confirm.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool } from '../../flags.ts';

const flags = {
  all: bool('a', 'The same: steps of images with a name take no room of their own'),
  filter: filterFlag('', 'Remove only what fits (e.g. "until=24h")'),
  force: bool('f', 'Remove without asking'),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    if (!flags.force) await confirm(session, 'WARNING! This will remove all dangling build cache.');
    const client = await session.client();
    const { CachesDeleted, SpaceReclaimed } = await client.buildPrune({
      query: { filters: flags.filter, all: flags.all },
    });
    const deleted = CachesDeleted ?? [];
    if (deleted.length > 0) {
      await session.line(`Deleted build cache objects:\n${deleted.join('\n')}\n`);
    }
    await session.line(`Total reclaimed space: ${humanSize(SpaceReclaimed)}`);
    return undefined;
  },
});
