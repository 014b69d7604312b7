import { atLeast, defineCommand } from '../../command.ts';
import { inTurn } from '../../each.ts';
import { EXIT, ExitError, sentenceOf } from '../../exit.ts';
import { bool, strings } from '../../flags.ts';

const flags = {
  force: bool('f', 'Remove it although containers use it'),
  'no-prune': bool('', 'Keep the images without a name that it was made from'),
  platform: strings('', 'Remove only these platforms of the image (os[/arch[/variant]])'),
};

export const command = defineCommand({
  use: '[OPTIONS] IMAGE [IMAGE...]',
  args: atLeast(1),
  flags,
  run: async (session, { flags, args }) => {
    const client = await session.client();
    const failures = await inTurn(args, async (name) => {
      const items = await client.imageRemove({
        params: { name },
        query: { force: flags.force, noprune: flags['no-prune'], platforms: flags.platform },
      });
      for (const item of items) {
        await session.line(
          'Deleted' in item ? `Deleted: ${item.Deleted}` : `Untagged: ${item.Untagged}`,
        );
      }
    });
    if (failures.length === 0) return undefined;
    const failed = failures.some(({ kind }) => !flags.force || kind !== 'notFound');
    throw new ExitError(
      failed ? EXIT.failure : EXIT.ok,
      failures.map((each) => sentenceOf(each)).join('\n'),
    );
  },
});
