import type { Client } from '../client/client.ts';
import { type ConfigFile, loadConfigFile } from './config-file.ts';
import { configDirectory, openClient } from './connection.ts';
import { type CliContext, writeAll } from './context.ts';
import type { GlobalFlags } from './global-flags.ts';

/** One run of one command: the process it is in, and what it needs of the rest, made when asked for. */
export type Session = {
  readonly context: CliContext;
  readonly globals: GlobalFlags;
  /** How it was called, without the program's name: `container rm`. */
  readonly path: string;
  readonly client: () => Promise<Client>;
  readonly config: () => Promise<ConfigFile>;
  /** Writes to stdout as it is. */
  readonly out: (text: string) => Promise<void>;
  /** Writes a line to stdout. */
  readonly line: (text: string) => Promise<void>;
  /** Writes a line to stderr. */
  readonly errorLine: (text: string) => Promise<void>;
  /** Lets go of the connection. */
  readonly close: () => Promise<void>;
};

/** Made by the dispatcher, once. */
export function createSession(context: CliContext, globals: GlobalFlags, path: string): Session {
  let client: Promise<Client> | undefined;
  let config: Promise<ConfigFile> | undefined;
  return {
    context,
    globals,
    path,
    client: () => {
      client ??= openClient(context, globals);
      return client;
    },
    config: () => {
      config ??= loadConfigFile(configDirectory(context, globals), (text) =>
        writeAll(context.stderr, `${text}\n`),
      );
      return config;
    },
    out: (text) => writeAll(context.stdout, text),
    line: (text) => writeAll(context.stdout, `${text}\n`),
    errorLine: (text) => writeAll(context.stderr, `${text}\n`),
    close: async () => {
      if (client !== undefined) (await client).close();
    },
  };
}
