import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { parseApiVersion } from '../api/contract/versions.ts';
import { errnoOf } from '../base/errors.ts';
import { type Client, connect } from '../client/client.ts';
import type { TlsMaterial } from '../client/host.ts';
import { DEFAULT_HOST } from '../spec/endpoint.ts';
import type { CliContext } from './context.ts';
import { EXIT, ExitError } from './exit.ts';
import type { GlobalFlags } from './global-flags.ts';

/** The folder of `config.json` and certificates: `--config`, DOCKER_CONFIG, `~/.docker`. */
export function configDirectory(context: CliContext, flags: GlobalFlags): string {
  const given = flags.config === '' ? (context.env['DOCKER_CONFIG'] ?? '') : flags.config;
  return given === ''
    ? path.join(context.homeDirectory, '.docker')
    : path.resolve(context.cwd, given);
}

/**
 * The daemon's address: `-H`, else CORACLE_HOST, else DOCKER_HOST, else the default.
 * @throws ExitError for a context other than `default`
 */
export function hostOf(context: CliContext, flags: GlobalFlags): string {
  const { env } = context;
  const name = flags.context === '' ? (env['DOCKER_CONTEXT'] ?? '') : flags.context;
  if (flags.context !== '' && flags.host.length > 0) {
    throw new ExitError(
      EXIT.failure,
      'conflicting options: cannot specify both --host and --context',
    );
  }
  if (name !== '' && name !== 'default') {
    throw new ExitError(
      EXIT.failure,
      `Failed to initialize: unable to resolve ${context.program} endpoint: context "${name}": context not found. Use -H or DOCKER_HOST to name a daemon`,
    );
  }
  const given = flags.host[0] || env['CORACLE_HOST'] || env['DOCKER_HOST'] || DEFAULT_HOST;
  return given.includes('://') ? given : `tcp://${given}`;
}

/** A client by flags and environment. Nothing is sent yet. @throws ExitError, EngineError */
export async function openClient(context: CliContext, flags: GlobalFlags): Promise<Client> {
  const wanted = context.env['DOCKER_API_VERSION'] ?? '';
  const apiVersion = wanted === '' ? undefined : parseApiVersion(wanted);
  if (wanted !== '' && apiVersion === undefined) {
    throw new ExitError(EXIT.failure, `invalid DOCKER_API_VERSION: "${wanted}"`);
  }
  const host = hostOf(context, flags);
  const tls = host.startsWith('unix://') ? undefined : await tlsOf(context, flags);
  return await connect({
    host,
    userAgent: `Docker-Client/coracle-${context.version} (${context.os})`,
    ...(apiVersion === undefined ? {} : { apiVersion }),
    ...(tls === undefined ? {} : { tls }),
  });
}

async function tlsOf(context: CliContext, flags: GlobalFlags): Promise<TlsMaterial | undefined> {
  const verify = flags.tlsverify || (context.env['DOCKER_TLS_VERIFY'] ?? '') !== '';
  const asked = verify || flags.tls || (context.env['DOCKER_TLS'] ?? '') !== '';
  if (!asked) return undefined;
  const directory = context.env['DOCKER_CERT_PATH'] || configDirectory(context, flags);
  const read = async (given: string, name: string): Promise<Buffer | undefined> => {
    const file = given === '' ? path.join(directory, name) : path.resolve(context.cwd, given);
    try {
      return await readFile(file);
    } catch (cause) {
      if (given === '' && errnoOf(cause) === 'ENOENT') return undefined;
      const why = errnoOf(cause) === 'ENOENT' ? 'no such file or directory' : String(cause);
      throw new ExitError(EXIT.failure, `could not read the TLS file ${file}: ${why}`, { cause });
    }
  };
  const [ca, cert, key] = await Promise.all([
    verify ? read(flags.tlscacert, 'ca.pem') : undefined,
    read(flags.tlscert, 'cert.pem'),
    read(flags.tlskey, 'key.pem'),
  ]);
  return {
    verify,
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
}
