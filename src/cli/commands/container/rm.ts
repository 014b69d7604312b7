import { isEngineError } from '../../../base/errors.ts';
import { atLeast, defineCommand } from '../../command.ts';
import { forEachName } from '../../each.ts';
import { bool } from '../../flags.ts';

const flags = {
  force: bool('f', 'Remove it although it runs (SIGKILL)'),
  link: bool('l', 'Remove the link of that name'),
  volumes: bool('v', 'Remove its anonymous volumes too'),
};

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER [CONTAINER...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    return await forEachName(session, args, async (name) => {
      const id = name.replace(/^\/+/, '');
      try {
        await client.containerRemove({
          params: { id },
          query: { v: flags.volumes, link: flags.link, force: flags.force },
        });
      } catch (error) {
        // With --force the wish is that it is gone, and it is.
        if (!flags.force || !isEngineError(error, 'notFound')) throw error;
        await session.errorLine(`Error response from daemon: ${error.message}`);
        return '';
      }
      return name;
    });
  },
});
