import { humanSize } from '../../../base/bytes.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { text } from '../../flags.ts';
import { FORMAT_USAGE, formatRows, type RowShape } from '../../format.ts';

const flags = {
  format: text('', FORMAT_USAGE),
};

type Row = { readonly cause: string; readonly bytes: number };

const shape: RowShape<Row> = {
  typeName: '*formatter.wearContext',
  fields: {
    Bytes: { header: 'BYTES', value: ({ bytes }) => String(bytes) },
    Cause: { header: 'CAUSE', value: ({ cause }) => cause },
    Written: { header: 'WRITTEN', value: ({ bytes }) => humanSize(bytes) },
  },
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    const client = await session.client();
    const { Causes, TotalBytes } = await client.systemWear();
    const rows = [
      ...Causes.map(({ Cause, Bytes }) => ({ cause: Cause, bytes: Bytes })),
      { cause: 'total', bytes: TotalBytes },
    ];
    const table = '{{.Cause}}\\t{{.Written}}';
    await session.out(formatRows(rows, flags.format, shape, { table }));
    return undefined;
  },
});
