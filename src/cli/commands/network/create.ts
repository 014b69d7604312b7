import { defineCommand, exactly } from '../../command.ts';
import { bool, list, pairs, splitPair, strings, text } from '../../flags.ts';
import { checkLabel } from '../../run/values.ts';
import { ipamOf } from './ipam.ts';

const flags = {
  attachable: bool('', 'Let containers be attached by hand'),
  'aux-address': pairs('', "Addresses that are others' (name=address)"),
  'config-from': text('', 'Network to take the configuration from', { hidden: true }),
  'config-only': bool('', 'Make a configuration only', { hidden: true }),
  driver: text('d', 'Driver of the network', { initial: 'bridge' }),
  gateway: strings('', 'Addresses of the gateway'),
  ingress: bool('', 'Make the routing mesh of a swarm', { hidden: true }),
  internal: bool('', 'No way out of the network'),
  'ip-range': strings('', 'Part of the subnet that containers get addresses of'),
  'ipam-driver': text('', 'Driver of addresses', { initial: 'default' }),
  'ipam-opt': pairs('', 'Options of the driver of addresses'),
  ipv4: bool('', 'Give IPv4 addresses', { initial: true }),
  ipv6: bool('', 'Give IPv6 addresses'),
  label: list('', 'Labels of the network', { item: checkLabel }),
  opt: pairs('o', 'Options of the driver'),
  scope: text('', 'Scope of the network', { hidden: true }),
  subnet: strings('', 'Subnet in CIDR notation'),
};

export const command = defineCommand({
  use: '[OPTIONS] NETWORK',
  args: exactly(1),
  flags,
  run: async (session, { flags, given, args: [name = ''] }) => {
    const client = await session.client();
    const { Id, Warning } = await client.networkCreate({
      body: {
        Name: name,
        Driver: flags.driver,
        Options: flags.opt,
        IPAM: {
          Driver: flags['ipam-driver'],
          Options: flags['ipam-opt'],
          Config: ipamOf({
            subnets: flags.subnet,
            ranges: flags['ip-range'],
            gateways: flags.gateway,
            auxiliary: flags['aux-address'],
          }),
        },
        Internal: flags.internal,
        ...(given('ipv4') ? { EnableIPv4: flags.ipv4 } : {}),
        ...(given('ipv6') ? { EnableIPv6: flags.ipv6 } : {}),
        Attachable: flags.attachable,
        Ingress: flags.ingress,
        Scope: flags.scope,
        ConfigOnly: flags['config-only'],
        Labels: Object.fromEntries(flags.label.map(splitPair)),
        ...(flags['config-from'] === '' ? {} : { ConfigFrom: { Network: flags['config-from'] } }),
      },
    });
    if (Warning !== '' && Warning !== undefined) await session.errorLine(`WARNING: ${Warning}`);
    await session.line(Id);
    return undefined;
  },
});
