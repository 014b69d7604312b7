import { defineCommand, noArguments } from '../../command.ts';
import { confirm } from '../../confirm.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool } from '../../flags.ts';
import { tellDeletedImages, tellReclaimed } from '../../pruned.ts';

const flags = {
  all: bool('a', 'Remove all images that no container uses, not just those without a name'),
  filter: filterFlag('', 'Remove only what fits (e.g. "until=<timestamp>")'),
  force: bool('f', 'Remove without asking'),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    const what = flags.all
      ? 'all images without at least one container associated to them.'
      : 'all dangling images.';
    if (!flags.force) await confirm(session, `WARNING! This will remove ${what}`);
    const client = await session.client();
    const { ImagesDeleted, SpaceReclaimed } = await client.imagePrune({
      query: { filters: { ...flags.filter, dangling: [String(!flags.all)] } },
    });
    await tellDeletedImages(session, ImagesDeleted);
    await tellReclaimed(session, SpaceReclaimed);
    return undefined;
  },
});
