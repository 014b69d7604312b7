import { isEngineError } from '../../../base/errors.ts';
import { defineCommand, exactly } from '../../command.ts';
import { EXIT, ExitError, sentenceOf } from '../../exit.ts';

export const command = defineCommand({
  use: 'CONTAINER NEW_NAME',
  args: exactly(2),
  flags: {},
  run: async (session, { args: [id = '', name = ''] }) => {
    const client = await session.client();
    try {
      await client.containerRename({ params: { id }, query: { name } });
    } catch (error) {
      if (!isEngineError(error)) throw error;
      throw new ExitError(
        EXIT.failure,
        `${sentenceOf(error)}\nError: failed to rename container named ${id}`,
        { cause: error },
      );
    }
    return undefined;
  },
});
