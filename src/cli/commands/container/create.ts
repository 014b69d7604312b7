import { atLeast, defineCommand } from '../../command.ts';
import { CONTAINER_FLAGS, MAKE_FLAGS } from '../../run/flags.ts';
import { bodyOf, makeContainer, makeError } from '../../run/make.ts';

const flags = { ...CONTAINER_FLAGS, ...MAKE_FLAGS };

export const command = defineCommand({
  use: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  args: atLeast(1),
  interspersed: false,
  flags,
  run: async (session, input) => {
    const body = await bodyOf(session, input).catch((error: unknown) => {
      throw makeError(session, error);
    });
    await session.line(await makeContainer(session, body, input.flags));
    return undefined;
  },
});
