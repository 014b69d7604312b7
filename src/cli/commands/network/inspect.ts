import { atLeast, defineCommand } from '../../command.ts';
import { bool, text } from '../../flags.ts';
import { INSPECT_FORMAT_USAGE, inspectAll } from '../../inspect.ts';

const flags = {
  format: text('f', INSPECT_FORMAT_USAGE),
  verbose: bool('v', 'Show more for finding out what is wrong'),
};

export const command = defineCommand({
  use: '[OPTIONS] NETWORK [NETWORK...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    return await inspectAll(session, args, flags.format, (id) =>
      client.networkInspect({ params: { id }, query: { verbose: flags.verbose } }),
    );
  },
});
