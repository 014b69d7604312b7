import { spawn } from 'node:child_process';
import { errnoOf, messageOf } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { type Decoded, decodeJson, string, struct } from '../spec/decode.ts';
import { type AuthConfig, authConfig } from '../spec/docker/auth.ts';
import type { ConfigFile } from './config-file.ts';
import { EXIT, ExitError } from './exit.ts';
import type { Session } from './session.ts';

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

/**
 * What a pull or push from the server is to send; undefined when nothing is known.
 * @throws ExitError when a helper fails
 */
async function credentialsFor(config: ConfigFile, server: string): Promise<AuthConfig | undefined> {
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

/** The same for who can do without: a helper that fails is told of, and nothing is known then. */
export async function credentialsIfAny(
  session: Pick<Session, 'config' | 'errorLine'>,
  server: string,
): Promise<AuthConfig | undefined> {
  try {
    return await credentialsFor(await session.config(), server);
  } catch (error) {
    if (!(error instanceof ExitError)) throw error;
    await session.errorLine(`WARNING: ${error.message}`);
    return undefined;
  }
}

/** All that the config names, by server: a build does not know beforehand what it will pull. */
export async function allCredentials(
  session: Pick<Session, 'config' | 'errorLine'>,
): Promise<Record<string, AuthConfig>> {
  const { auths, credHelpers } = (await session.config()).settings;
  const found: Record<string, AuthConfig> = {};
  for (const server of new Set([...Object.keys(auths), ...Object.keys(credHelpers)])) {
    const credentials = await credentialsIfAny(session, server);
    if (credentials !== undefined) found[server] = credentials;
  }
  return found;
}

function unpack(auth: string): [string, string] {
  const text = Buffer.from(auth, 'base64').toString();
  const colon = text.indexOf(':');
  if (colon < 0) return ['', ''];
  return [text.slice(0, colon), text.slice(colon + 1).replace(/\0+$/, '')];
}

/**
 * Keeps credentials where the config says. True when a password lies unencrypted in the file.
 * @throws ExitError when a helper does not take them
 */
export async function storeCredentials(
  config: ConfigFile,
  server: string,
  auth: { readonly username: string; readonly password: string; readonly identityToken: string },
): Promise<boolean> {
  const { username, password, identityToken } = auth;
  const hasToken = identityToken !== '';
  const helper = helperOf(config, server);
  if (helper !== '') {
    const stored = {
      ServerURL: server,
      Username: hasToken ? '<token>' : username,
      Secret: hasToken ? identityToken : password,
    };
    await runHelper(helper, 'store', JSON.stringify(stored));
    await config.setAuth(server, {});
    return false;
  }
  await config.setAuth(server, {
    auth: Buffer.from(`${username}:${hasToken ? '' : password}`).toString('base64'),
    ...(hasToken ? { identitytoken: identityToken } : {}),
  });
  return !hasToken;
}

/** Forgets a server's credentials. What a helper could not forget is told of by `warn`. */
export async function eraseCredentials(
  config: ConfigFile,
  server: string,
  warn: (text: string) => Promise<void>,
): Promise<void> {
  const helper = helperOf(config, server);
  if (helper !== '') {
    const host = hostnameOf(server);
    // Clients of other times kept them under these names.
    const others = server === HUB_SERVER ? [] : [host, `http://${host}`, `https://${host}`];
    for (const name of new Set([server, ...others])) {
      try {
        await runHelper(helper, 'erase', name);
      } catch (error) {
        if (!(error instanceof ExitError)) throw error;
        await warn(`WARNING: could not erase credentials:\n${name}: ${error.message}`);
        break;
      }
    }
  }
  const keys = Object.keys(config.settings.auths).filter(
    (each) => each === server || hostnameOf(each) === hostnameOf(server),
  );
  for (const key of keys) await config.setAuth(key, undefined);
}

const NOT_FOUND = 'credentials not found in native keychain';

async function fromHelper(helper: string, server: string): Promise<AuthConfig | undefined> {
  const answer = await runHelper(helper, 'get', server);
  if (answer === undefined) return undefined;
  const known = { ...authConfig.zero(), serveraddress: server };
  let found: Decoded<typeof helperAnswer>;
  try {
    found = decodeJson(helperAnswer, answer);
  } catch (cause) {
    // Not what it says, nor where it is wrong: it may hold a secret.
    throw helperError('get', 'the answer is not valid', '', cause);
  }
  const { Username: username, Secret: secret } = found;
  if (username === '<token>') return { ...known, identitytoken: secret };
  return { ...known, username, password: secret };
}

const helperAnswer = struct('credentials', { Username: string, Secret: string });

type Verb = 'get' | 'store' | 'erase';

const DOING: Readonly<Record<Verb, string>> = {
  get: 'getting',
  store: 'storing',
  erase: 'erasing',
};

/** In the words of Docker's clients. */
function helperError(verb: Verb, why: string, output: string, cause?: unknown): ExitError {
  const shown = output.trim().slice(0, 500);
  const text = `error ${DOING[verb]} credentials - err: ${why}, out: \`${shown}\``;
  return new ExitError(EXIT.failure, text, { cause });
}

/** The helper's answer; undefined when it has no such credentials. @throws ExitError */
async function runHelper(helper: string, verb: Verb, input: string): Promise<string | undefined> {
  const program = `docker-credential-${helper}`;
  let ended: { readonly code: number; readonly output: string };
  try {
    ended = await runProgram(program, verb, input);
  } catch (cause) {
    const isMissing = errnoOf(cause) === 'ENOENT';
    const why = isMissing ? 'executable file not found in $PATH' : messageOf(cause);
    throw helperError(verb, `exec: "${program}": ${why}`, '', cause);
  }
  if (ended.code === 0) return ended.output;
  if (ended.output.trim() === NOT_FOUND) return undefined;
  throw helperError(verb, `exit status ${ended.code}`, ended.output);
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
    child.on('error', reject);
    child.on('close', (code) => resolve({ code: code ?? 1, output }));
    // A helper that does not read its input is no failure of ours.
    child.stdin.on('error', () => child.stdin.destroy());
    child.stdin.end(input);
  });
}
