import type { Readable } from 'node:stream';
import { openArchive } from '../../archive-input.ts';
import { defineCommand, noArguments } from '../../command.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, strings, text } from '../../flags.ts';
import { showProgress } from '../../progress.ts';
import type { Session } from '../../session.ts';

const flags = {
  input: text('i', 'Archive to read instead of standard input'),
  platform: strings('', 'Load only this platform of the image (os[/arch[/variant]])'),
  quiet: bool('q', 'Show nothing but the names of the images'),
};

export const command = defineCommand({
  use: '[OPTIONS]',
  args: noArguments,
  flags,
  run: async (session, { flags }) => {
    const { stdout } = session.context;
    const body = await openInput(session, flags.input);
    const client = await session.client();
    const messages = await client.imageLoad({
      query: { quiet: flags.quiet || stdout.isTTY !== true, platform: flags.platform },
      body,
    });
    await showProgress(messages, stdout);
    return undefined;
  },
});

async function openInput(session: Session, input: string): Promise<Readable> {
  if (input !== '') return await openArchive(session, input);
  const { stdin } = session.context;
  if (stdin.isTTY !== true) return stdin;
  throw new ExitError(EXIT.failure, 'requested load from stdin, but stdin is empty');
}
