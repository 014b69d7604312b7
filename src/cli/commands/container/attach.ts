import { defineCommand, exactly } from '../../command.ts';
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

const flags = {
  'detach-keys': text('', 'Keys that leave the container running'),
  'no-stdin': bool('', 'Do without standard input'),
  'sig-proxy': bool('', 'Pass signals on to the process', { initial: true }),
};

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER',
  args: exactly(1),
  flags,
  run: async (session, { flags, args: [name = ''] }) => {
    const client = await session.client();
    const exit = await watchExit(session, name, 'not-running');
    const { Id: id, State, Config } = await client.containerInspect({ params: { id: name } });
    if (!State.Running) {
      throw new ExitError(EXIT.failure, 'cannot attach to a stopped container, start it first');
    }
    if (State.Paused) {
      throw new ExitError(EXIT.failure, 'cannot attach to a paused container, unpause it first');
    }
    if (State.Restarting) {
      throw new ExitError(
        EXIT.failure,
        'cannot attach to a restarting container, wait until it is running',
      );
    }
    const tty = Config.Tty === true;
    const stdin = !flags['no-stdin'] && Config.OpenStdin === true;
    const refusal = checkTty(session, { tty, stdin });
    if (refusal !== '') throw new ExitError(EXIT.failure, refusal);
    const detachKeys = await detachKeysOf(session, flags['detach-keys']);
    using front = foreground(session, id, { tty, stdin, proxy: flags['sig-proxy'] });
    const { ended } = await attachContainer(session, id, {
      tty,
      stdin,
      stdout: true,
      stderr: true,
      detachKeys,
    });
    if (tty) front.use(followContainerSize(session, id));
    if ((await ended) === 'detached') throw new ExitError(EXIT.failure, 'read escape sequence');
    return await exit.code();
  },
});
