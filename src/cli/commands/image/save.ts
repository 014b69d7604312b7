import { checkArchiveOutput, writeArchive } from '../../archive-output.ts';
import { atLeast, defineCommand } from '../../command.ts';
import { strings, text } from '../../flags.ts';

const flags = {
  output: text('o', 'File to write to instead of standard output'),
  platform: strings('', 'Save only this platform of the images (os[/arch[/variant]])'),
};

export const command = defineCommand({
  use: '[OPTIONS] IMAGE [IMAGE...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    await checkArchiveOutput(session, flags.output);
    const client = await session.client();
    const { body } = await client.imageSave({ query: { names: args, platform: flags.platform } });
    await writeArchive(session, body, flags.output);
    return undefined;
  },
});
