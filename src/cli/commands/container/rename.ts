import { defineCommand, exactly } from '../../command.ts';

export const command = defineCommand({
  use: 'CONTAINER NEW_NAME',
  args: exactly(2),
  flags: {},
  run: async (session, { args: [id = '', name = ''] }) => {
    const client = await session.client();
    await client.containerRename({ params: { id }, query: { name } });
    return undefined;
  },
});
