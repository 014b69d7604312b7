import { atLeast, defineCommand } from '../../command.ts';
import { alignTabs } from '../../tabwriter.ts';

export const command = defineCommand({
  use: 'CONTAINER [ps OPTIONS]',
  args: atLeast(1),
  interspersed: false,
  flags: {},
  run: async (session, { args: [id = '', ...options] }) => {
    const client = await session.client();
    const { Titles, Processes } = await client.containerTop({
      params: { id },
      query: { ps_args: options.join(' ') },
    });
    const lines = [Titles ?? [], ...(Processes ?? [])].map((cells) => `${cells.join('\t')}\n`);
    await session.out(alignTabs(lines.join(''), { minWidth: 20, padding: 3 }));
    return undefined;
  },
});
