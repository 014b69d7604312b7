import { defineCommand, exactly } from '../../command.ts';
import { text } from '../../flags.ts';
import { showProgress } from '../../progress.ts';

const flags = {
  tag: text('t', 'Name of the delta image (name:tag)'),
};

export const command = defineCommand({
  use: '[OPTIONS] BASE TARGET',
  args: exactly(2),
  flags,
  run: async (session, { flags, args: [src = '', dest = ''] }) => {
    const client = await session.client();
    const messages = await client.imageDelta({ query: { src, dest, t: flags.tag } });
    await showProgress(messages, session.context.stdout);
    return undefined;
  },
});
