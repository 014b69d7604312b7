import { atLeast, defineCommand } from '../../command.ts';
import { text } from '../../flags.ts';
import { INSPECT_FORMAT_USAGE, inspectAll } from '../../inspect.ts';
import { parsePlatform } from '../../platform.ts';

const flags = {
  format: text('f', INSPECT_FORMAT_USAGE),
  platform: text('', 'Platform of the image (os[/arch[/variant]])'),
};

export const command = defineCommand({
  use: '[OPTIONS] IMAGE [IMAGE...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    const platform = parsePlatform(flags.platform);
    return await inspectAll(session, args, flags.format, (name) =>
      client.imageInspect({ params: { name }, query: { platform } }),
    );
  },
});
