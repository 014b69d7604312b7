import { humanSize } from '../../../base/bytes.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { confirm } from '../../confirm.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool } from '../../flags.ts';

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
    const deleted = ImagesDeleted ?? [];
    if (deleted.length > 0) {
      await session.line('Deleted Images:');
      for (const item of deleted) {
        await session.line(
          'Deleted' in item ? `deleted: ${item.Deleted}` : `untagged: ${item.Untagged}`,
        );
      }
      await session.line('');
    }
    await session.line(`Total reclaimed space: ${humanSize(SpaceReclaimed)}`);
    return undefined;
  },
});
