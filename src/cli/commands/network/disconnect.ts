import { defineCommand, exactly } from '../../command.ts';
import { bool } from '../../flags.ts';

const flags = { force: bool('f', 'Take it out although it runs') };

export const command = defineCommand({
  use: '[OPTIONS] NETWORK CONTAINER',
  args: exactly(2),
  flags,
  run: async (session, { flags, args: [id = '', container = ''] }) => {
    const client = await session.client();
    await client.networkDisconnect({
      params: { id },
      body: { Container: container, Force: flags.force },
    });
    return undefined;
  },
});
