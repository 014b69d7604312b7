import { atLeast, defineCommand } from '../../command.ts';
import { forEachName } from '../../each.ts';
import { STOP_FLAGS, stopQuery } from '../../stop-flags.ts';

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER [CONTAINER...]',
  args: atLeast(1),
  flags: STOP_FLAGS,
  run: async (session, { flags, given, args }) => {
    const client = await session.client();
    const query = stopQuery({ flags, given });
    return await forEachName(session, args, async (id) => {
      await client.containerStop({ params: { id }, query });
      return id;
    });
  },
});
