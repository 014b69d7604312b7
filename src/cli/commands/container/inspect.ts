import { atLeast, defineCommand } from '../../command.ts';
import { bool, text } from '../../flags.ts';
import { INSPECT_FORMAT_USAGE, inspectAll } from '../../inspect.ts';

const flags = {
  format: text('f', INSPECT_FORMAT_USAGE),
  size: bool('s', 'Add the size of files'),
};

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER [CONTAINER...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    return await inspectAll(session, args, flags.format, (id) =>
      client.containerInspect({ params: { id }, query: { size: flags.size } }),
    );
  },
});
