import { authConfig } from '../../../spec/docker/auth.ts';
import { atMost, defineCommand } from '../../command.ts';
import { credentialsIfAny, HUB_SERVER, storeCredentials } from '../../credentials.ts';
import { EXIT, ExitError } from '../../exit.ts';
import { bool, text } from '../../flags.ts';
import { ask } from '../../prompt.ts';
import type { Session } from '../../session.ts';

const flags = {
  password: text('p', 'Password or token'),
  'password-stdin': bool('', 'Take the password or token from standard input'),
  username: text('u', 'User name'),
};

export const command = defineCommand({
  use: '[OPTIONS] [SERVER]',
  about: 'Without a server it is Docker Hub.',
  args: atMost(1),
  flags,
  run: async (session, { flags, given, args: [server] }) => {
    if (given('password') && flags['password-stdin']) {
      throw new ExitError(
        EXIT.failure,
        'conflicting options: cannot specify both --password and --password-stdin',
      );
    }
    if (flags['password-stdin'] && flags.username === '') {
      throw new ExitError(
        EXIT.failure,
        'the --password-stdin option requires --username to be set',
      );
    }
    if (given('password')) {
      await session.errorLine(
        'WARNING! Using --password via the CLI is insecure. Use --password-stdin.',
      );
    }
    const address = serverOf(server);
    const password = flags['password-stdin'] ? await readAll(session) : flags.password;
    const credentials =
      flags.username !== '' && password !== ''
        ? { username: flags.username, password, isKnown: false }
        : await fromUser(session, address, flags.username, password);
    const client = await session.client();
    const { username } = credentials;
    const { Status, IdentityToken } = await client.systemAuth({
      body: {
        ...authConfig.zero(),
        ...{ username, password: credentials.password, serveraddress: address },
      },
    });
    await keep(session, address, { ...credentials, identityToken: IdentityToken ?? '' });
    await session.line(Status);
    return undefined;
  },
});

async function keep(
  session: Session,
  address: string,
  credentials: {
    readonly username: string;
    readonly password: string;
    readonly identityToken: string;
    readonly isKnown: boolean;
  },
): Promise<void> {
  const config = await session.config();
  let isPlain: boolean;
  try {
    isPlain = await storeCredentials(config, address, credentials);
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    throw new ExitError(error.code, `Error saving credentials: ${error.message}`, { cause: error });
  }
  if (!isPlain || credentials.isKnown) return;
  await session.errorLine(
    `\nWARNING! Your credentials are stored unencrypted in '${config.file}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n`,
  );
}

/** The key under which credentials are kept. */
function serverOf(server: string | undefined): string {
  if (
    server === undefined ||
    server === '' ||
    server === 'docker.io' ||
    server === 'index.docker.io'
  ) {
    return HUB_SERVER;
  }
  return server === HUB_SERVER ? server : server.replace(/^https?:\/\//, '').replace(/\/.*$/, '');
}

async function readAll({ context: { stdin } }: Session): Promise<string> {
  let text = '';
  for await (const chunk of stdin as AsyncIterable<Buffer | string>) text += chunk.toString();
  return text.replace(/\r?\n$/, '');
}

type Given = { readonly username: string; readonly password: string; readonly isKnown: boolean };

async function fromUser(
  session: Session,
  server: string,
  username: string,
  password: string,
): Promise<Given> {
  const known = username === '' ? await credentialsIfAny(session, server) : undefined;
  if (known !== undefined && known.username !== '' && known.password !== '') {
    const { program } = session.context;
    await session.errorLine(
      `Authenticating with existing credentials... [Username: ${known.username}]\n\n Info -> To login with a different account, run '${program} logout' followed by '${program} login'\n`,
    );
    return { username: known.username, password: known.password, isKnown: true };
  }
  if (session.context.stdin.isTTY !== true) {
    throw new ExitError(
      EXIT.failure,
      'Error: Cannot perform an interactive login from a non TTY device',
    );
  }
  const name = username || (await ask(session.context, 'Username: ', { hidden: false }));
  if (name === '') throw new ExitError(EXIT.failure, 'Error: Non-null Username Required');
  const secret = password || (await ask(session.context, 'Password: ', { hidden: true }));
  if (secret === '') throw new ExitError(EXIT.failure, 'Error: Password Required');
  return { username: name, password: secret, isKnown: false };
}
