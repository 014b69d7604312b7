import type { FilesystemChange } from '../../../spec/docker/container-view.ts';
import { defineCommand, exactly } from '../../command.ts';
import { text } from '../../flags.ts';
import { formatRows, type RowShape } from '../../format.ts';

/** Changed, added, deleted. */
const KINDS = ['C', 'A', 'D'];

const shape: RowShape<FilesystemChange> = {
  typeName: '*container.diffContext',
  fields: {
    Path: { header: 'PATH', value: (change) => change.Path },
    Type: { header: 'CHANGE TYPE', value: (change) => KINDS[change.Kind] ?? '' },
  },
};

const flags = { format: text('', 'How to print each change', { hidden: true }) };

export const command = defineCommand({
  use: 'CONTAINER',
  args: exactly(1),
  flags,
  run: async (session, { flags, args: [id = ''] }) => {
    const client = await session.client();
    const changes = (await client.containerChanges({ params: { id } })) ?? [];
    const format = flags.format || '{{.Type}} {{.Path}}';
    await session.out(formatRows(changes, format, shape, { table: '{{.Type}}\t{{.Path}}' }));
    return undefined;
  },
});
