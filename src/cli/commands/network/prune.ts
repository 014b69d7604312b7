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
    if (!flags.force) {
      await confirm(
        session,
        'WARNING! This will remove all custom networks not used by at least one container.',
      );
    }
    const client = await session.client();
    const { NetworksDeleted } = await client.networkPrune({ query: { filters: flags.filter } });
    const deleted = NetworksDeleted ?? [];
    if (deleted.length > 0) await session.line(`Deleted Networks:\n${deleted.join('\n')}\n`);
    return undefined;
  },
});
