import { atLeast, defineCommand } from '../../command.ts';
import { forEachName } from '../../each.ts';
import { bool } from '../../flags.ts';

const flags = { force: bool('f', 'A volume that is not there is no failure') };

export const command = defineCommand({
  use: '[OPTIONS] VOLUME [VOLUME...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    return await forEachName(session, args, async (name) => {
      await client.volumeRemove({ params: { name }, query: { force: flags.force } });
      return name;
    });
  },
});
