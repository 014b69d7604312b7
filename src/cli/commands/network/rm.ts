import { isEngineError } from '../../../base/errors.ts';
import { atLeast, defineCommand } from '../../command.ts';
import { EXIT, ExitError, sentenceOf } from '../../exit.ts';
import { bool } from '../../flags.ts';

const flags = { force: bool('f', 'A network that is not there is no failure') };

export const command = defineCommand({
  use: '[OPTIONS] NETWORK [NETWORK...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    const failures: string[] = [];
    for (const id of args) {
      try {
        await client.networkRemove({ params: { id } });
        await session.line(id);
      } catch (error) {
        if (!isEngineError(error)) throw error;
        if (flags.force && error.kind === 'notFound') continue;
        failures.push(sentenceOf(error));
      }
    }
    if (failures.length > 0) {
      throw new ExitError(EXIT.failure, `${failures.join('\n')}\nexit status 1`);
    }
    return undefined;
  },
});
