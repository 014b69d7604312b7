import { defineCommand, noArguments } from '../../command.ts';
import { confirm } from '../../confirm.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool } from '../../flags.ts';
import { tellDeleted, tellReclaimed } from '../../pruned.ts';

const flags = {
  filter: filterFlag('', 'Remove only what fits (e.g. "until=<timestamp>")'),
  force: bool('f', 'Remove without asking'),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    if (!flags.force) await confirm(session, 'WARNING! This will remove all stopped containers.');
    const client = await session.client();
    const { ContainersDeleted, SpaceReclaimed } = await client.containerPrune({
      query: { filters: flags.filter },
    });
    await tellDeleted(session, 'Deleted Containers', ContainersDeleted);
    await tellReclaimed(session, SpaceReclaimed);
    return undefined;
  },
});
