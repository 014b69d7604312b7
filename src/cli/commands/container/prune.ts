import { humanSize } from '../../../base/bytes.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { confirm } from '../../confirm.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool } from '../../flags.ts';

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
    const deleted = ContainersDeleted ?? [];
    if (deleted.length > 0) await session.line(`Deleted Containers:\n${deleted.join('\n')}\n`);
    await session.line(`Total reclaimed space: ${humanSize(SpaceReclaimed)}`);
    return undefined;
  },
});
