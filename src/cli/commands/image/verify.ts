import { atLeast, defineCommand } from '../../command.ts';
import { inTurn } from '../../each.ts';
import { EXIT, ExitError, sentenceOf } from '../../exit.ts';
import { bool } from '../../flags.ts';
import { hideProgress, showProgress } from '../../progress.ts';

const flags = {
  quiet: bool('q', 'Say nothing but which images are damaged'),
};

export const command = defineCommand({
  use: '[OPTIONS] IMAGE [IMAGE...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    // One after the other: each reads all of its image.
    const failures = await inTurn(args, async (name) => {
      const messages = await client.imageVerify({ params: { name } });
      if (flags.quiet) await hideProgress(messages);
      else await showProgress(messages, session.context.stdout);
    });
    if (failures.length > 0) {
      throw new ExitError(EXIT.failure, failures.map((each) => sentenceOf(each)).join('\n'));
    }
    return undefined;
  },
});
