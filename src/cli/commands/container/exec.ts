import { parseDetachKeys } from '../../../policy/detach-keys.ts';
import { atLeast, type CommandInput, defineCommand } from '../../command.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, list, text } from '../../flags.ts';
import { envOf, readRunFiles } from '../../run/files.ts';
import { checkTty, detachKeysOf } from '../../run/session.ts';
import { checkEnv } from '../../run/values.ts';
import type { Session } from '../../session.ts';
import { joinStreams } from '../../streams.ts';
import { followSize, rawTerminal, terminalSize } from '../../terminal.ts';

const flags = {
  detach: bool('d', 'Leave the command in the background'),
  'detach-keys': text('', 'Keys that leave the command running'),
  env: list('e', 'Environment variables', { item: checkEnv }),
  'env-file': list('', 'Files of environment variables'),
  interactive: bool('i', 'Keep standard input open'),
  privileged: bool('', 'Give the command all privileges'),
  tty: bool('t', 'Give it a terminal'),
  user: text('u', 'User name or ID (<name|uid>[:<group|gid>])'),
  workdir: text('w', 'Working directory in the container'),
};

type Input = CommandInput<typeof flags>;

export const command = defineCommand({
  use: '[OPTIONS] CONTAINER COMMAND [ARG...]',
  args: atLeast(2),
  interspersed: false,
  flags,
  run: async (session, input) => {
    const { flags } = input;
    const client = await session.client();
    const id = await create(session, input);
    if (flags.detach) {
      await client.execStart({ params: { id }, body: { Detach: true, Tty: flags.tty } });
      return EXIT.ok;
    }
    await attach(session, id, input);
    const { ExitCode } = await client.execInspect({ params: { id } });
    return ExitCode ?? EXIT.ok;
  },
});

async function create(session: Session, { flags, args }: Input): Promise<string> {
  const { context } = session;
  const [container = '', ...command] = args;
  const attached = !flags.detach;
  const stdin = attached && flags.interactive;
  const refusal = checkTty(session, { tty: flags.tty, stdin });
  if (refusal !== '') throw new ExitError(EXIT.failure, refusal);
  const files = await readRunFiles({ ...flags, 'label-file': [], 'security-opt': [] }, context.cwd);
  const size = terminalSize(context);
  const client = await session.client();
  const { Id } = await client.execCreate({
    params: { id: container },
    body: {
      User: flags.user,
      Privileged: flags.privileged,
      Tty: flags.tty,
      ...(flags.tty && size !== undefined ? { ConsoleSize: [size.h, size.w] } : {}),
      AttachStdin: stdin,
      AttachStderr: attached,
      AttachStdout: attached,
      DetachKeys: await detachKeysOf(session, flags['detach-keys']),
      Env: envOf(flags['env-file'], flags.env, files, context.env),
      WorkingDir: flags.workdir,
      Cmd: command,
    },
  });
  return Id;
}

async function attach(session: Session, id: string, { flags }: Input): Promise<void> {
  const { context } = session;
  const client = await session.client();
  const { tty, interactive: stdin } = flags;
  const size = terminalSize(context);
  using front = new DisposableStack();
  if (tty && stdin) front.use(rawTerminal(context));
  const { stream } = await client.execStart({
    params: { id },
    body: {
      Detach: false,
      Tty: tty,
      ...(tty && size !== undefined ? { ConsoleSize: [size.h, size.w] } : {}),
    },
  });
  if (stream === undefined) throw new Error('the daemon did not hand the connection over');
  if (tty) front.use(followSize(context, (query) => client.execResize({ params: { id }, query })));
  const keys = parseDetachKeys(await detachKeysOf(session, flags['detach-keys']));
  const end = await joinStreams(stream, context, {
    tty,
    stdin,
    stdout: true,
    stderr: true,
    detachKeys: keys,
  });
  if (end === 'detached') throw new ExitError(EXIT.failure, 'read escape sequence');
}
