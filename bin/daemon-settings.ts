import { accessSync, constants, readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import path from 'node:path';
import { errnoOf, fileFault, invalidArgument } from '../src/base/errors.ts';
import {
  type DaemonConfig,
  type DaemonHost,
  resolveDaemonConfig,
} from '../src/policy/daemon-config.ts';
import { parseDaemonFile } from '../src/policy/daemon-file.ts';
import { daemonUsage, parseDaemonFlags } from '../src/policy/daemon-flags.ts';

/** From the command line and the configuration file to the daemon's settings. */

const DEFAULT_FILE = '/etc/coracle/daemon.json';

/** What the command line asks for. `load` reads the file anew, for SIGHUP. */
export type Wish =
  | { readonly kind: 'help'; readonly text: string }
  | { readonly kind: 'version' }
  | { readonly kind: 'validate'; readonly load: () => DaemonConfig }
  | { readonly kind: 'run'; readonly load: () => DaemonConfig };

/** @throws invalidArgument for a flag that is not one; `load` for the rest */
export function readWish(args: readonly string[], env: NodeJS.ProcessEnv): Wish {
  const flags = parseDaemonFlags(args);
  const given = (name: string): string | undefined =>
    [...flags].find(([option]) => option.flag === name)?.[1].at(-1);
  if (given('help') === 'true')
    return { kind: 'help', text: daemonUsage(process.stdout.columns ?? 80) };
  if (given('version') === 'true') return { kind: 'version' };
  const load = (): DaemonConfig => {
    const file = given('config-file');
    const text = readConfigFile(file ?? DEFAULT_FILE, file !== undefined);
    const parsed = parseDaemonFile(text, file ?? DEFAULT_FILE, flags);
    return checkProfile(resolveDaemonConfig(flags, parsed, hostOf(env)));
  };
  return { kind: given('validate') === 'true' ? 'validate' : 'run', load };
}

/** Without the default file everything is as if it were empty; a file that was named must exist. */
function readConfigFile(file: string, named: boolean): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    if (!named && errnoOf(cause) === 'ENOENT') return '';
    const reason = errnoOf(cause) === 'ENOENT' ? 'no such file or directory' : String(cause);
    throw invalidArgument(
      `unable to configure the Docker daemon with file ${file}: open ${file}: ${reason}`,
      { cause },
    );
  }
}

/** The default seccomp profile is read at each start of a container; what cannot be is told now. */
function checkProfile(config: DaemonConfig): DaemonConfig {
  const { seccompProfile } = config.engine;
  if (seccompProfile === 'builtin' || seccompProfile === 'unconfined') return config;
  const file = path.resolve(seccompProfile);
  try {
    JSON.parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    const reason = fileFault(cause);
    throw invalidArgument(`opening seccomp profile (${seccompProfile}) failed: ${reason}`, {
      cause,
    });
  }
  return { ...config, engine: { ...config.engine, seccompProfile: file } };
}

function hostOf(env: NodeJS.ProcessEnv): DaemonHost {
  const crun = findProgram('crun', env);
  const runc = findProgram('runc', env);
  return {
    runtimes: {
      ...(crun === undefined ? {} : { crun }),
      ...(runc === undefined ? {} : { runc }),
    },
    certificates: env['DOCKER_CERT_PATH'] || path.join(homedir(), '.docker'),
    env,
  };
}

/** First executable of that name on the PATH and in the usual folders, which a service's PATH may lack. */
function findProgram(name: string, env: NodeJS.ProcessEnv): string | undefined {
  const usual = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin'];
  const folders = [...(env['PATH'] ?? '').split(':').filter((f) => path.isAbsolute(f)), ...usual];
  return folders
    .map((folder) => path.join(folder, name))
    .find((file) => {
      try {
        accessSync(file, constants.X_OK);
        return true;
      } catch {
        return false; // not here
      }
    });
}
