import { spawn } from 'node:child_process';
import { closeSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { unmountAllBelow } from './mounts.ts';
import { eventually, run, runOk, stopChild } from './processes.ts';
import { temporaryFolder } from './temp.ts';
import { tool } from './tools.ts';

/** Docker itself, for its images alone: it has no network. Disposing it leaves nothing behind. */
export type Dockerd = AsyncDisposable & {
  /** Runs its own client: the output. @throws when it fails */
  readonly docker: (...args: string[]) => Promise<string>;
  /** The host for any client. */
  readonly host: string;
};

/**
 * Starts Debian's dockerd (20.10) with roots and a socket of its own. Call it in a network namespace
 * of the test's: it changes nothing of the host's then.
 */
export async function startDockerd(): Promise<Dockerd> {
  const folder = temporaryFolder('dockerd');
  const at = (name: string): string => path.join(folder.path, name);
  const host = `unix://${at('api.sock')}`;
  writeFileSync(at('daemon.json'), '{}'); // the machine's own is not for this one
  const log = openSync(at('log'), 'a');
  const programs = [tool('containerd'), tool('dockerd'), tool('runc')].map(path.dirname);
  const child = spawn(
    tool('dockerd'),
    [
      ...['--data-root', at('data'), '--exec-root', at('run'), '--pidfile', at('pid')],
      ...['--host', host, '--config-file', at('daemon.json')],
      ...['--bridge', 'none', '--iptables=false', '--ip-forward=false'],
    ],
    {
      stdio: ['ignore', log, log],
      env: { ...process.env, PATH: [...programs, process.env['PATH']].join(':') },
    },
  );
  closeSync(log);
  const stop = async (): Promise<void> => {
    await stopChild(child);
    unmountAllBelow(folder.path);
    folder[Symbol.dispose]();
  };
  const client = tool('docker');
  const env = { DOCKER_HOST: host, DOCKER_CONFIG: folder.path };
  try {
    await eventually(
      async () => {
        if (child.exitCode !== null) throw new Error(readFileSync(at('log'), 'utf8').slice(-2000));
        return (await run(client, ['version'], { env })).code === 0;
      },
      { what: 'dockerd', timeoutMs: 30_000 },
    );
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    host,
    docker: (...args) => runOk(client, args, { env }),
    [Symbol.asyncDispose]: stop,
  };
}
