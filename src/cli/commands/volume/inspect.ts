import { atLeast, defineCommand } from '../../command.ts';
import { text } from '../../flags.ts';
import { INSPECT_FORMAT_USAGE, inspectAll } from '../../inspect.ts';

const flags = { format: text('f', INSPECT_FORMAT_USAGE) };

export const command = defineCommand({
  use: '[OPTIONS] VOLUME [VOLUME...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    return await inspectAll(session, args, flags.format, (name) =>
      client.volumeInspect({ params: { name } }),
    );
  },
});
