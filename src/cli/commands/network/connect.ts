import { defineCommand, exactly } from '../../command.ts';
import { integer, list, splitPair, strings, text } from '../../flags.ts';
import { checkLink } from '../../run/values.ts';

const flags = {
  alias: strings('', 'Further name of the container in the network'),
  'driver-opt': strings('', 'Options of the network driver'),
  'gw-priority': integer('', 'The network with the highest gives the default gateway'),
  ip: text('', 'IPv4 address (e.g., "172.30.100.104")'),
  ip6: text('', 'IPv6 address (e.g., "2001:db8::33")'),
  link: list('', 'Another container to reach by name (container[:alias])', { item: checkLink }),
  'link-local-ip': strings('', 'Link-local addresses'),
};

export const command = defineCommand({
  use: '[OPTIONS] NETWORK CONTAINER',
  args: exactly(2),
  flags,
  run: async (session, { flags, args: [id = '', container = ''] }) => {
    const client = await session.client();
    await client.networkConnect({
      params: { id },
      body: {
        Container: container,
        EndpointConfig: {
          IPAMConfig: {
            IPv4Address: flags.ip,
            IPv6Address: flags.ip6,
            LinkLocalIPs: flags['link-local-ip'],
          },
          Links: flags.link,
          Aliases: flags.alias,
          DriverOpts: Object.fromEntries(flags['driver-opt'].map(splitPair)),
          GwPriority: flags['gw-priority'],
        },
      },
    });
    return undefined;
  },
});
