import { fullReference, parseReference, withDefaultTag } from '../../../base/reference.ts';
import { defineCommand, exactly } from '../../command.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, text } from '../../flags.ts';
import { pullImage } from '../../pull.ts';

const flags = {
  'all-tags': bool('a', 'Download all images of the repository'),
  delta: text('', 'Use of deltas ("auto" | "never" | "require")'),
  'disable-content-trust': bool('', 'Skip image verification', { initial: true }),
  'limit-rate': text('', 'Download at most so many bytes in a second (such as 500k or 2m)'),
  platform: text('', 'Platform of the image (os[/arch[/variant]])'),
  quiet: bool('q', 'Show nothing but the name in the end'),
};

export const command = defineCommand({
  use: '[OPTIONS] NAME[:TAG|@DIGEST]',
  args: exactly(1),
  flags,
  run: async (session, { flags, args: [name = ''] }) => {
    const given = parseReference(name);
    const isNameOnly = given.tag === undefined && given.digest === undefined;
    if (flags['all-tags'] && !isNameOnly) {
      throw new ExitError(EXIT.failure, "tag can't be used with --all-tags/-a");
    }
    const reference = flags['all-tags'] ? given : withDefaultTag(given);
    if (isNameOnly && !flags['all-tags'] && !flags.quiet) {
      await session.line(`Using default tag: ${reference.tag ?? ''}`);
    }
    await pullImage(session, reference, {
      platform: flags.platform,
      delta: flags.delta,
      limitRate: flags['limit-rate'],
      quiet: flags.quiet,
      output: session.context.stdout,
    });
    await session.line(fullReference(reference));
    return undefined;
  },
});
