import { atMost, defineCommand } from '../../command.ts';
import { eraseCredentials, HUB_SERVER, hostnameOf } from '../../credentials.ts';

export const command = defineCommand({
  use: '[SERVER]',
  about: 'Without a server it is Docker Hub.',
  args: atMost(1),
  flags: {},
  run: async (session, { args: [given] }) => {
    const server = given === undefined || given === 'docker.io' ? HUB_SERVER : given;
    const shown = server === HUB_SERVER ? server : hostnameOf(server);
    await session.line(`Removing login credentials for ${shown}`);
    await eraseCredentials(await session.config(), server, session.errorLine);
    return undefined;
  },
});
