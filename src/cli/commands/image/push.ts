import {
  fullReference,
  parseReference,
  repositoryOf,
  withDefaultTag,
} from '../../../base/reference.ts';
import { defineCommand, exactly } from '../../command.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, text } from '../../flags.ts';
import { parsePlatform } from '../../platform.ts';
import { hideProgress, showProgress } from '../../progress.ts';
import { authFor } from '../../pull.ts';

const flags = {
  'all-tags': bool('a', 'Upload all tags of the image'),
  'disable-content-trust': bool('', 'Skip image signing', { initial: true }),
  platform: text('', 'Upload only this platform of the image (os[/arch[/variant]])'),
  quiet: bool('q', 'Show nothing but the name in the end'),
};

export const command = defineCommand({
  use: '[OPTIONS] NAME[:TAG]',
  args: exactly(1),
  flags,
  run: async (session, { flags, args: [name = ''] }) => {
    const given = parseReference(name);
    const all = flags['all-tags'];
    if (all && (given.tag !== undefined || given.digest !== undefined)) {
      throw new ExitError(EXIT.failure, "tag can't be used with --all-tags/-a");
    }
    const reference = all ? given : withDefaultTag(given);
    if (!all && given.tag === undefined && !flags.quiet) {
      await session.line(`Using default tag: ${reference.tag ?? ''}`);
    }
    const client = await session.client();
    const messages = await client.imagePush({
      params: { name: repositoryOf(reference) },
      query: { tag: reference.tag ?? '', platform: parsePlatform(flags.platform) },
      headers: { registryAuth: await authFor(session, reference) },
    });
    if (flags.quiet) {
      await hideProgress(messages);
      await session.line(fullReference(reference));
    } else await showProgress(messages, session.context.stdout);
    return undefined;
  },
});
