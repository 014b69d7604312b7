import { authConfig } from '../../../spec/docker/auth.ts';
import { atMost, defineCommand } from '../../command.ts';
import { credentialsFor, HUB_SERVER, storeCredentials } from '../../credentials.ts';
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
        ? { username: flags.username, password }
        : await fromUser(session, address, flags.username, password);
    const client = await session.client();
    const { Status, IdentityToken } = await client.systemAuth({
      body: { ...authConfig.zero(), ...credentials, serveraddress: address },
    });
    const config = await session.config();
    const plain = await storeCredentials(config, address, {
      ...credentials,
      identityToken: IdentityToken ?? '',
    });
    if (plain) {
      await session.errorLine(
        `\nWARNING! Your credentials are stored unencrypted in '${config.file}'.\nConfigure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n`,
      );
    }
    await session.line(Status);
    return undefined;
  },
});

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

async function fromUser(
  session: Session,
  server: string,
  username: string,
  password: string,
): Promise<{ username: string; password: string }> {
  const known = username === '' ? await credentialsFor(await session.config(), server) : undefined;
  if (known !== undefined && known.username !== '' && known.password !== '') {
    await session.line('Authenticating with existing credentials...');
    return { username: known.username, password: known.password };
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
  return { username: name, password: secret };
}
