import { parseReference } from '../../../base/reference.ts';
import { between, defineCommand } from '../../command.ts';
import { bool, list, text } from '../../flags.ts';
import { repositoryAndTag } from '../../reference.ts';

const flags = {
  author: text('a', 'Author of the image'),
  change: list('c', 'Dockerfile instruction to apply to the image'),
  message: text('m', 'Comment of the image'),
  pause: bool('p', 'Pause the container meanwhile', { initial: true }),
};

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER [REPOSITORY[:TAG]]',
  args: between(1, 2),
  flags,
  run: async (session, { flags, args: [container = '', name] }) => {
    const client = await session.client();
    const target = name === undefined ? {} : repositoryAndTag(parseReference(name));
    const { Id } = await client.containerCommit({
      query: {
        container,
        ...target,
        comment: flags.message,
        author: flags.author,
        pause: flags.pause,
        changes: flags.change,
      },
    });
    await session.line(Id);
    return undefined;
  },
});
