import { isEngineError } from '../../../base/errors.ts';
import { atLeast, defineCommand } from '../../command.ts';
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
    const failures: string[] = [];
    // One after the other: each reads all of its image.
    for (const name of args) {
      try {
        const messages = await client.imageVerify({ params: { name } });
        if (flags.quiet) await hideProgress(messages);
        else await showProgress(messages, session.context.stdout);
      } catch (error) {
        if (!isEngineError(error)) throw error;
        failures.push(sentenceOf(error));
      }
    }
    if (failures.length > 0) throw new ExitError(EXIT.failure, failures.join('\n'));
    return undefined;
  },
});
