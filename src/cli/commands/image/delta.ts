import { parseReference, repositoryOf } from '../../../base/reference.ts';
import { between, defineCommand } from '../../command.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, strings, text } from '../../flags.ts';
import { showProgress } from '../../progress.ts';
import { authFor } from '../../pull.ts';

const flags = {
  from: strings('', 'Images to start from, in place of BASE; a bare word is a tag beside TARGET'),
  push: bool('', 'Send the delta to the registry of TARGET, where a pull of TARGET finds it'),
  tag: text('t', 'Name of the delta image (name:tag)'),
};

export const command = defineCommand({
  use: '[OPTIONS] [BASE] TARGET',
  args: between(1, 2),
  about:
    'Without --push, the delta is an image of its own, as balenaEngine makes them: push it like\n' +
    'any image; who has BASE gets TARGET by pulling it. With --push, it lies beside TARGET.',
  flags,
  run: async (session, { flags, args }) => {
    const target = args.at(-1) ?? '';
    const from = flags.from.map((word) => besides(target, word));
    const bases = [...args.slice(0, -1), ...from];
    if (bases.length === 0) throw new ExitError(EXIT.failure, 'a delta needs a BASE or --from');
    const client = await session.client();
    if (flags.push) {
      if (flags.tag !== '') {
        throw new ExitError(EXIT.failure, '--tag cannot be used with --push: it has no name');
      }
      const reference = parseReference(target);
      const messages = await client.deltaPublish({
        query: { target, base: bases },
        headers: { registryAuth: await authFor(session, reference) },
      });
      await showProgress(messages, session.context.stdout);
      return undefined;
    }
    const [src = '', ...more] = bases;
    if (more.length > 0) throw new ExitError(EXIT.failure, 'several bases need --push');
    const messages = await client.imageDelta({ query: { src, dest: target, t: flags.tag } });
    await showProgress(messages, session.context.stdout);
    return undefined;
  },
});

/** A bare word is a tag of the target's repository: `--from v1,v2 app:v3`. */
function besides(target: string, base: string): string {
  return /[/:@]/.test(base) ? base : `${repositoryOf(parseReference(target))}:${base}`;
}
