import { existsSync, realpathSync } from 'node:fs';
import path from 'node:path';
import { type Outcome, run } from './processes.ts';
import { temporaryFolder } from './temp.ts';
import { CHECKOUT } from './tools.ts';

/** An unmodified docker client. */
export type DockerCli = {
  /** `20.10.24`. */
  readonly version: string;
  readonly path: string;
};

const CANDIDATES = [
  '/usr/local/bin/docker',
  '/usr/bin/docker',
  path.join(CHECKOUT, '.cache/debian/usr/bin/docker'),
];

/** The docker clients of this machine, newest first, one for each version. @throws when there is none */
export async function dockerClis(): Promise<readonly DockerCli[]> {
  const found = new Map<string, DockerCli>();
  for (const candidate of CANDIDATES) {
    if (!existsSync(candidate)) continue;
    const { stdout } = await run(candidate, ['--version']);
    const version = /version ([0-9.]+)/.exec(stdout)?.[1];
    if (version !== undefined && !found.has(version)) {
      found.set(version, { version, path: realpathSync(candidate) });
    }
  }
  if (found.size === 0) throw new Error('no docker client here: run script/setup');
  return [...found.values()].sort((a, b) =>
    b.version.localeCompare(a.version, 'en', { numeric: true }),
  );
}

/** Whether its words are those that ours are held against; older clients have others here and there. */
export function hasOurWords(cli: DockerCli): boolean {
  return Number.parseInt(cli.version, 10) >= 28;
}

/** Runs `docker ARGS` against a daemon, with a configuration folder of its own. */
export async function docker(
  cli: DockerCli,
  host: string,
  args: readonly string[],
  options: Parameters<typeof run>[2] = {},
): Promise<Outcome> {
  using config = temporaryFolder('docker-config');
  return await run(cli.path, [...args], {
    ...options,
    env: { DOCKER_HOST: host, DOCKER_CONFIG: config.path, ...options.env },
  });
}
