import { invalidArgument } from '../../../base/errors.ts';
import { atLeast, type CommandInput, defineCommand } from '../../command.ts';
import { forEachName } from '../../each.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, text } from '../../flags.ts';
import {
  attachContainer,
  checkTty,
  detachKeysOf,
  followContainerSize,
  foreground,
  watchExit,
} from '../../run/session.ts';
import type { Session } from '../../session.ts';

const flags = {
  attach: bool('a', 'Show its output and pass signals on'),
  checkpoint: text('', 'Restore from this checkpoint'),
  'checkpoint-dir': text('', 'Where the checkpoint lies'),
  'detach-keys': text('', 'Keys that leave the container running'),
  interactive: bool('i', "Attach the container's standard input"),
};

type Input = CommandInput<typeof flags>;

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER [CONTAINER...]',
  args: atLeast(1),
  flags,
  run: async (session, input) => {
    const { flags, args } = input;
    if (flags.attach || flags.interactive) {
      if (args.length > 1) {
        throw new ExitError(
          EXIT.failure,
          'you cannot start and attach multiple containers at once',
        );
      }
      return await startAttached(session, input);
    }
    const client = await session.client();
    const query = { checkpoint: flags.checkpoint, 'checkpoint-dir': flags['checkpoint-dir'] };
    const failed: string[] = [];
    try {
      return await forEachName(session, args, async (id) => {
        try {
          await client.containerStart({ params: { id }, query });
        } catch (error) {
          failed.push(id);
          throw error;
        }
        return id;
      });
    } catch (error) {
      if (!(error instanceof ExitError)) throw error;
      const text = `${error.message}\nError: failed to start containers: ${failed.join(', ')}`;
      throw new ExitError(EXIT.failure, text, { cause: error });
    }
  },
});

/** Attached and waited for before the start, so that nothing is missed. */
async function startAttached(
  session: Session,
  { flags, args: [name = ''] }: Input,
): Promise<number> {
  const client = await session.client();
  const { Id: id, Config, HostConfig } = await client.containerInspect({ params: { id: name } });
  const tty = Config.Tty === true;
  const stdin = flags.interactive && Config.OpenStdin === true;
  const refusal = checkTty(session, { tty, stdin });
  if (refusal !== '') throw invalidArgument(refusal);
  const detachKeys = await detachKeysOf(session, flags['detach-keys']);
  using front = foreground(session, id, { tty, stdin, proxy: true });
  const { ended } = await attachContainer(session, id, {
    tty,
    stdin,
    stdout: true,
    stderr: true,
    detachKeys,
  });
  const exit = await watchExit(session, id, HostConfig.AutoRemove ? 'removed' : 'next-exit');
  await client.containerStart({ params: { id }, query: { detachKeys } });
  if (tty) front.use(followContainerSize(session, id));
  return (await ended) === 'detached' ? EXIT.ok : await exit.code();
}
