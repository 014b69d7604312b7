import { mkdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { errnoOf, messageOf } from '../base/errors.ts';
import { type Decoded, decodeJson, map, string, struct } from '../spec/decode.ts';
import { EXIT, ExitError } from './exit.ts';

/**
 * Docker's `config.json`: credentials, formats of tables, detach keys, proxies. Only what is named
 * here is read; a change keeps all else as it was.
 */
const storedAuth = struct('AuthConfig', {
  /** base64 of `user:password`. */
  auth: string,
  username: string,
  password: string,
  email: string,
  identitytoken: string,
  registrytoken: string,
});
export type StoredAuth = Decoded<typeof storedAuth>;

const proxy = struct('ProxyConfig', {
  httpProxy: string,
  httpsProxy: string,
  noProxy: string,
  ftpProxy: string,
  allProxy: string,
});
export type ProxyConfig = Decoded<typeof proxy>;

const settings = struct('ConfigFile', {
  auths: map(storedAuth),
  credsStore: string,
  credHelpers: map(string),
  psFormat: string,
  imagesFormat: string,
  networksFormat: string,
  volumesFormat: string,
  statsFormat: string,
  detachKeys: string,
  /** By host, or `default`. */
  proxies: map(proxy),
});
export type ConfigSettings = Decoded<typeof settings>;

export type ConfigFile = {
  readonly file: string;
  readonly settings: ConfigSettings;
  /** Changes `auths` (undefined removes an entry) and writes the file. */
  readonly setAuth: (server: string, auth: Partial<StoredAuth> | undefined) => Promise<void>;
};

/** Reads `config.json` of a folder. A file that cannot be read is told of and counts as empty. */
export async function loadConfigFile(
  directory: string,
  warn: (text: string) => Promise<void>,
): Promise<ConfigFile> {
  const file = path.join(directory, 'config.json');
  let text = '{}';
  try {
    text = await readFile(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') {
      await warn(`WARNING: Error loading config file: ${file}: ${messageOf(error)}`);
    }
  }
  let decoded = settings.zero();
  try {
    decoded = decodeJson(settings, text.trim() === '' ? '{}' : text);
  } catch (error) {
    await warn(`WARNING: Error parsing config file (${file}): ${messageOf(error)}`);
  }
  return {
    file,
    settings: decoded,
    setAuth: async (server, auth) => {
      await rewrite(file, (config) => {
        const auths = { ...(config['auths'] as Record<string, unknown> | undefined) };
        if (auth === undefined) delete auths[server];
        else auths[server] = auth;
        return { ...config, auths };
      });
    },
  };
}

type Json = Readonly<Record<string, unknown>>;

/** Changes the file as it is now, in one rename, readable by its owner only. */
async function rewrite(file: string, change: (config: Json) => Json): Promise<void> {
  let current: unknown = {};
  try {
    current = JSON.parse(await readFile(file, 'utf8'));
  } catch (cause) {
    if (errnoOf(cause) !== 'ENOENT') {
      throw new ExitError(
        EXIT.failure,
        `cannot change ${file}: ${messageOf(cause)}. Mend or remove it first`,
        { cause },
      );
    }
  }
  const config = typeof current === 'object' && current !== null ? (current as Json) : {};
  await mkdir(path.dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${process.pid}.tmp`;
  try {
    const text = `${JSON.stringify(change(config), null, '\t')}\n`;
    // On the disk before it takes the name: a power cut must not leave an empty file of logins.
    await writeFile(temporary, text, { mode: 0o600, flush: true });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
