import { atLeast, defineCommand } from '../../command.ts';
import { forEachName } from '../../each.ts';
import { text } from '../../flags.ts';

const flags = { signal: text('s', 'Signal to send') };

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER [CONTAINER...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    return await forEachName(session, args, async (id) => {
      await client.containerKill({ params: { id }, query: { signal: flags.signal } });
      return id;
    });
  },
});
