import { defineCommand, noArguments } from '../../command.ts';
import { confirm } from '../../confirm.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool } from '../../flags.ts';
import { tellDeleted } from '../../pruned.ts';

const flags = {
  filter: filterFlag('', 'Remove only what fits (e.g. "until=<timestamp>")'),
  force: bool('f', 'Remove without asking'),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    if (!flags.force) {
      await confirm(
        session,
        'WARNING! This will remove all custom networks not used by at least one container.',
      );
    }
    const client = await session.client();
    const { NetworksDeleted } = await client.networkPrune({ query: { filters: flags.filter } });
    await tellDeleted(session, 'Deleted Networks', NetworksDeleted);
    return undefined;
  },
});
