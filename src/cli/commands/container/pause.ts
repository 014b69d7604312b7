import { atLeast, defineCommand } from '../../command.ts';
import { forEachName } from '../../each.ts';

export const command = defineCommand({
  use: 'CONTAINER [CONTAINER...]',
  args: atLeast(1),
  flags: {},
  run: async (session, { args }) => {
    const client = await session.client();
    return await forEachName(session, args, async (id) => {
      await client.containerPause({ params: { id } });
      return id;
    });
  },
});
