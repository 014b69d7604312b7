import { shortId } from '../../../base/digest.ts';
import type { NetworkView } from '../../../spec/docker/network-view.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { goTimestamp, labelText } from '../../display.ts';
import { filterFlag } from '../../filter-flag.ts';
import { bool, text } from '../../flags.ts';
import { FORMAT_USAGE, type RowShape, writeRows } from '../../format.ts';

const flags = {
  filter: filterFlag('f', 'Show only what fits (e.g. "driver=bridge")'),
  format: text('', FORMAT_USAGE),
  'no-trunc': bool('', 'Show IDs in full'),
  quiet: bool('q', 'Show IDs only'),
};

const shapeOf = (trunc: boolean): RowShape<NetworkView> => ({
  typeName: '*network.networkContext',
  fields: {
    CreatedAt: { header: 'CREATED AT', value: (network) => goTimestamp(network.Created) },
    Driver: { header: 'DRIVER', value: (network) => network.Driver },
    ID: { header: 'NETWORK ID', value: ({ Id }) => (trunc ? shortId(Id) : Id) },
    IPv4: { header: 'IPV4', value: (network) => String(network.EnableIPv4 ?? true) },
    IPv6: { header: 'IPV6', value: (network) => String(network.EnableIPv6) },
    Internal: { header: 'INTERNAL', value: (network) => String(network.Internal) },
    Labels: { header: 'LABELS', value: (network) => labelText(network.Labels) },
    Name: { header: 'NAME', value: (network) => network.Name },
    Scope: { header: 'SCOPE', value: (network) => network.Scope },
  },
  methods: { Label: (network) => (name) => network.Labels?.[String(name)] ?? '' },
});

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    const client = await session.client();
    const networks = await client.networkList({ query: { filters: flags.filter } });
    const configured = (await session.config()).settings.networksFormat;
    const format = flags.format || (flags.quiet ? '' : configured);
    const quiet = flags.quiet && ['', 'table'].includes(format);
    await writeRows(
      session,
      networks.toSorted((a, b) => (a.Name < b.Name ? -1 : 1)),
      {
        format: quiet ? '{{.ID}}' : format,
        shape: shapeOf(!flags['no-trunc']),
        named: { table: '{{.ID}}\\t{{.Name}}\\t{{.Driver}}\\t{{.Scope}}' },
      },
    );
    return undefined;
  },
});
