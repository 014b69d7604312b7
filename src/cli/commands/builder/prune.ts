import { defineCommand, noArguments } from '../../command.ts';
import { confirm } from '../../confirm.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool } from '../../flags.ts';
import { tellDeleted, tellReclaimed } from '../../pruned.ts';

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
    await tellDeleted(session, 'Deleted build cache objects', CachesDeleted);
    await tellReclaimed(session, SpaceReclaimed);
    return undefined;
  },
});
