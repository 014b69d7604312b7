import { defineCommand, noArguments } from '../../command.ts';
import { confirm } from '../../confirm.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool } from '../../flags.ts';
import { tellDeleted, tellReclaimed } from '../../pruned.ts';

const flags = {
  all: bool('a', 'Remove all unused volumes, not just those without a name'),
  filter: filterFlag('', 'Remove only what fits (e.g. "label=<label>")'),
  force: bool('f', 'Remove without asking'),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    const what = flags.all ? 'all' : 'anonymous';
    if (!flags.force) {
      const question = `WARNING! This will remove ${what} local volumes not used by at least one container.`;
      await confirm(session, question);
    }
    const client = await session.client();
    const filters = flags.all ? { ...flags.filter, all: ['true'] } : flags.filter;
    const { VolumesDeleted, SpaceReclaimed } = await client.volumePrune({ query: { filters } });
    await tellDeleted(session, 'Deleted Volumes', VolumesDeleted);
    await tellReclaimed(session, SpaceReclaimed);
    return undefined;
  },
});
