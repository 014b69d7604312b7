import { checkArchiveOutput, writeArchive } from '../../archive-output.ts';
import { defineCommand, exactly } from '../../command.ts';
import { text } from '../../flags.ts';

const flags = { output: text('o', 'File to write to instead of standard output') };

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER',
  args: exactly(1),
  flags,
  run: async (session, { flags, args: [id = ''] }) => {
    await checkArchiveOutput(session, flags.output);
    const client = await session.client();
    const { body } = await client.containerExport({ params: { id } });
    await writeArchive(session, body, flags.output);
    return undefined;
  },
});
