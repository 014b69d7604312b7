import { spawn } from 'node:child_process';
import { errnoOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type AuthConfig, authConfig } from '../spec/docker/auth.ts';
import type { ConfigFile } from './config-file.ts';
import { EXIT, ExitError } from './exit.ts';

/**
 * Credentials of registries: in `config.json`, or kept by a helper program
 * (`docker-credential-NAME get|store|erase`, JSON on stdin and stdout).
 */

/** The key of Docker Hub in `auths`. */
export const HUB_SERVER = 'https://index.docker.io/v1/';

/** `https://registry.example/v2/` and `registry.example` name one registry. */
export function hostnameOf(server: string): string {
  return server.replace(/^https?:\/\//, '').split('/', 1)[0] ?? '';
}

/** The name of the helper for a server; '' when credentials stand in the file. */
function helperOf(config: ConfigFile, server: string): string {
  const { credHelpers, credsStore } = config.settings;
  return credHelpers[hostnameOf(server)] ?? credHelpers[server] ?? credsStore;
}

/** What a pull or push from the server is to send; undefined when nothing is known. */
export async function credentialsFor(
  config: ConfigFile,
  server: string,
): Promise<AuthConfig | undefined> {
  const helper = helperOf(config, server);
  if (helper !== '') return await fromHelper(helper, server);
  const { auths } = config.settings;
  const key = Object.hasOwn(auths, server)
    ? server
    : Object.keys(auths).find((each) => hostnameOf(each) === hostnameOf(server));
  const stored = key === undefined ? undefined : auths[key];
  if (stored === undefined) return undefined;
  const [username, password] =
    stored.auth === '' ? [stored.username, stored.password] : unpack(stored.auth);
  return {
    ...authConfig.zero(),
    username,
    password,
    serveraddress: server,
    identitytoken: stored.identitytoken,
    registrytoken: stored.registrytoken,
  };
}

function unpack(auth: string): [string, string] {
  const text = Buffer.from(auth, 'base64').toString();
  const colon = text.indexOf(':');
  if (colon < 0) return ['', ''];
  return [text.slice(0, colon), text.slice(colon + 1).replace(/\0+$/, '')];
}

/** Keeps credentials where the config says. True when they lie unencrypted in the file. */
export async function storeCredentials(
  config: ConfigFile,
  server: string,
  auth: { readonly username: string; readonly password: string; readonly identityToken: string },
): Promise<boolean> {
  const helper = helperOf(config, server);
  if (helper !== '') {
    const token = auth.identityToken;
    await runHelper(
      helper,
      'store',
      JSON.stringify({
        ServerURL: server,
        Username: token === '' ? auth.username : '<token>',
        Secret: token === '' ? auth.password : token,
      }),
    );
    await config.setAuth(server, {});
    return false;
  }
  await config.setAuth(server, {
    auth: Buffer.from(
      `${auth.username}:${auth.identityToken === '' ? auth.password : ''}`,
    ).toString('base64'),
    ...(auth.identityToken === '' ? {} : { identitytoken: auth.identityToken }),
  });
  return true;
}

/** Forgets a server's credentials; false when there were none. */
export async function eraseCredentials(config: ConfigFile, server: string): Promise<boolean> {
  const helper = helperOf(config, server);
  if (helper !== '') await runHelper(helper, 'erase', server);
  const keys = Object.keys(config.settings.auths).filter(
    (each) => each === server || hostnameOf(each) === hostnameOf(server),
  );
  for (const key of keys) await config.setAuth(key, undefined);
  return keys.length > 0 || helper !== '';
}

const NOT_FOUND = 'credentials not found in native keychain';

async function fromHelper(helper: string, server: string): Promise<AuthConfig | undefined> {
  const answer = await runHelper(helper, 'get', server);
  if (answer === undefined) return undefined;
  const { Username: username = '', Secret: secret = '' } = JSON.parse(answer) as {
    Username?: string;
    Secret?: string;
  };
  const known = { ...authConfig.zero(), serveraddress: server };
  if (username === '<token>') return { ...known, identitytoken: secret };
  return { ...known, username, password: secret };
}

/** The helper's answer; undefined when it has no such credentials. @throws ExitError */
async function runHelper(
  helper: string,
  verb: 'get' | 'store' | 'erase',
  input: string,
): Promise<string | undefined> {
  const program = `docker-credential-${helper}`;
  const { code, output } = await runProgram(program, verb, input);
  if (code === 0) return output;
  if (output.trim() === NOT_FOUND) return undefined;
  throw new ExitError(
    EXIT.failure,
    `error getting credentials - err: exit status ${code}, out: \`${output.trim()}\``,
  );
}

function runProgram(
  program: string,
  verb: string,
  input: string,
): Promise<{ code: number; output: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, [verb], { stdio: ['pipe', 'pipe', 'inherit'] });
    let output = '';
    child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
      output += chunk;
      if (output.length > LIMITS.tokenBytesMax) child.kill('SIGKILL');
    });
    child.on('error', (cause) => {
      const why =
        errnoOf(cause) === 'ENOENT' ? 'executable file not found in $PATH' : cause.message;
      reject(
        new ExitError(
          EXIT.failure,
          `error getting credentials - err: exec: "${program}": ${why}, out: \`\``,
          { cause },
        ),
      );
    });
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
    // A helper that does not read its input is no failure of ours.
    child.stdin.on('error', () => child.stdin.destroy());
    child.stdin.end(input);
  });
}
