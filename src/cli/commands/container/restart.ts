import { atLeast, defineCommand } from '../../command.ts';
import { forEachName } from '../../each.ts';
import { integer, text } from '../../flags.ts';

const flags = {
  signal: text('s', 'Signal to stop it with'),
  time: integer('', 'Seconds to wait before it is killed', { deprecated: 'use --timeout instead' }),
  timeout: integer('t', 'Seconds to wait before it is killed; -1 waits for ever'),
};

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER [CONTAINER...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, given, args }) => {
    const client = await session.client();
    const seconds = given('timeout') ? flags.timeout : given('time') ? flags.time : undefined;
    return await forEachName(session, args, async (id) => {
      await client.containerRestart({
        params: { id },
        query: { signal: flags.signal, t: seconds },
      });
      return id;
    });
  },
});
