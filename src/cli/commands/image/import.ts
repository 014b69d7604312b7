import { parseReference } from '../../../base/reference.ts';
import { openArchive } from '../../archive-input.ts';
import { between, defineCommand } from '../../command.ts';
import { list, text } from '../../flags.ts';
import { showProgress } from '../../progress.ts';
import { repositoryAndTag } from '../../reference.ts';

const flags = {
  change: list('c', 'Dockerfile instruction to apply to the image'),
  message: text('m', 'Comment of the image'),
  platform: text('', 'Platform of the image (os[/arch[/variant]])'),
};

export const command = defineCommand({
  use: '[OPTIONS] file|URL|- [REPOSITORY[:TAG]]',
  args: between(1, 2),
  flags,
  run: async (session, { flags, args: [source = '', name] }) => {
    const target = name === undefined ? {} : repositoryAndTag(parseReference(name));
    const remote = /^https?:\/\//.test(source);
    const body =
      source === '-' || remote ? session.context.stdin : await openArchive(session, source);
    const client = await session.client();
    const messages = await client.imageImport({
      query: {
        ...target,
        fromSrc: remote ? source : '-',
        message: flags.message,
        changes: flags.change,
        platform: flags.platform,
      },
      ...(remote ? {} : { body }),
    });
    await showProgress(messages, session.context.stdout);
    return undefined;
  },
});
