import { messageOf } from '../../../base/errors.ts';
import { atLeast, type CommandInput, defineCommand } from '../../command.ts';
import { commandExitCode, EXIT, ExitError } from '../../exit.ts';
import { bool, text } from '../../flags.ts';
import { CONTAINER_FLAGS, MAKE_FLAGS } from '../../run/flags.ts';
import { bodyOf, makeContainer, makeError } from '../../run/make.ts';
import type { CreateBody } from '../../run/options.ts';
import {
  attachContainer,
  checkTty,
  detachKeysOf,
  followContainerSize,
  foreground,
  watchExit,
} from '../../run/session.ts';
import type { Session } from '../../session.ts';
import { terminalSize } from '../../terminal.ts';

const flags = {
  ...CONTAINER_FLAGS,
  ...MAKE_FLAGS,
  detach: bool('d', 'Leave the container in the background and print its ID'),
  'detach-keys': text('', 'Keys that leave the container running'),
  'sig-proxy': bool('', 'Pass signals on to the process', { initial: true }),
};

type Input = CommandInput<typeof flags>;

export const command = defineCommand({
  use: '[OPTIONS] IMAGE [COMMAND] [ARG...]',
  args: atLeast(1),
  interspersed: false,
  flags,
  run: async (session, input) => {
    const prepared = await prepare(session, input).catch((error: unknown) => {
      throw makeError(session, error);
    });
    return input.flags.detach
      ? await runDetached(session, prepared)
      : await runAttached(session, prepared, input);
  },
});

type Prepared = { readonly id: string; readonly body: CreateBody; readonly detachKeys: string };

/** Makes the container; nothing runs yet. */
async function prepare(session: Session, input: Input): Promise<Prepared> {
  const { flags: given } = input;
  if (given.detach && given.attach.length > 0) {
    const text = 'conflicting options: cannot specify both --attach and --detach';
    throw new ExitError(EXIT.failure, text);
  }
  const detachKeys = await detachKeysOf(session, given['detach-keys']);
  const wanted = await bodyOf(session, input);
  const size = terminalSize(session.context);
  const HostConfig = {
    ...wanted.HostConfig,
    ConsoleSize: size === undefined ? [0, 0] : [size.h, size.w],
  };
  const body: CreateBody = given.detach
    ? {
        ...wanted,
        HostConfig,
        AttachStdin: false,
        AttachStdout: false,
        AttachStderr: false,
        StdinOnce: false,
      }
    : { ...wanted, HostConfig };
  if (!given.detach) {
    const refusal = checkTty(session, { tty: given.tty, stdin: body.AttachStdin === true });
    if (refusal !== '') throw new ExitError(EXIT.failure, refusal);
  }
  const id = await makeContainer(session, body, given).catch((error: unknown) => {
    throw makeError(session, error, commandExitCode(messageOf(error)) ?? EXIT.usage);
  });
  return { id, body, detachKeys };
}

async function start(session: Session, { id, detachKeys }: Prepared): Promise<void> {
  const client = await session.client();
  try {
    await client.containerStart({ params: { id }, query: { detachKeys } });
  } catch (error) {
    throw makeError(session, error, commandExitCode(messageOf(error)) ?? EXIT.usage);
  }
}

async function runDetached(session: Session, prepared: Prepared): Promise<number> {
  await start(session, prepared);
  await session.line(prepared.id);
  return EXIT.ok;
}

/** Attached and waited for before the start, so that nothing is missed. */
async function runAttached(session: Session, prepared: Prepared, input: Input): Promise<number> {
  const { id, body, detachKeys } = prepared;
  const { flags: given } = input;
  const tty = given.tty;
  const stdin = body.AttachStdin === true;
  using front = foreground(session, id, { tty, stdin, proxy: given['sig-proxy'] });
  const attachment = await attachContainer(session, id, {
    tty,
    stdin,
    stdout: body.AttachStdout === true,
    stderr: body.AttachStderr === true,
    detachKeys,
  }).catch((error: unknown) => {
    throw makeError(session, error);
  });
  const exit = await watchExit(session, id, given.rm ? 'removed' : 'next-exit');
  await start(session, prepared);
  if (tty) front.use(followContainerSize(session, id));
  const end = await attachment.ended;
  return end === 'detached' ? EXIT.ok : await exit.code();
}
