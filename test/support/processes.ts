import { type ChildProcess, execFile } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

/** What a finished program said. `code` is 128 + signal when one ended it. */
export type Outcome = {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
};

/** Runs a program to its end; a non-zero exit is an outcome, not an error. `input` is its stdin. */
export async function run(
  command: string,
  args: readonly string[],
  options: {
    input?: string | Uint8Array;
    env?: Record<string, string>;
    cwd?: string;
    timeoutMs?: number;
  } = {},
): Promise<Outcome> {
  return await new Promise((resolve) => {
    const child = execFile(
      command,
      [...args],
      {
        cwd: options.cwd,
        env: { ...process.env, ...options.env },
        maxBuffer: 256 << 20,
        timeout: options.timeoutMs ?? 120_000,
        killSignal: 'SIGKILL',
      },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : typeof error.code === 'number' ? error.code : 137;
        const hint = error?.killed === true ? '\n(killed: it took too long)' : '';
        resolve({ code, stdout, stderr: `${stderr}${hint}` });
      },
    );
    child.stdin?.on('error', () => undefined); // it ended without reading all
    child.stdin?.end(options.input ?? '');
  });
}

/** Runs a program; returns its stdout. @throws when it exits with another code than 0 */
export async function runOk(
  command: string,
  args: readonly string[],
  options: Parameters<typeof run>[2] = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code !== 0) {
    throw new Error(`${command} ${args.join(' ')} exited with ${code}\n${stdout}${stderr}`);
  }
  return stdout;
}

/** PID of a process's parent: of a container's first process that is its shim. */
export function parentOf(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1]);
}

/** A TCP port on loopback that is free now. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  if (address === null || typeof address === 'string') throw new Error('no port');
  return address.port;
}

/** Waits until `condition` gives something other than false, undefined or null; returns it. */
export async function eventually<T>(
  condition: () => Promise<T> | T,
  options: { timeoutMs?: number; what?: string } = {},
): Promise<NonNullable<T>> {
  const deadline = performance.now() + (options.timeoutMs ?? 30_000);
  for (;;) {
    const value = await condition();
    if (value !== undefined && value !== null && value !== false) return value;
    if (performance.now() > deadline) {
      throw new Error(`waited too long for ${options.what ?? condition.toString()}`);
    }
    await sleep(20);
  }
}

/** Waits until a folder is empty: what is in it may be on its way out. */
export async function emptied(folder: string): Promise<void> {
  await eventually(() => readdirSync(folder).length === 0).catch((cause: unknown) => {
    throw new Error(`${folder} still holds ${readdirSync(folder).join(' ')}`, { cause });
  });
}

/** Ends a child by its own pid and waits until it is gone; SIGKILL after `graceMs`. */
export async function stopChild(child: ChildProcess, graceMs = 10_000): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const exited = once(child, 'exit');
  child.kill('SIGTERM');
  const timer = setTimeout(() => child.kill('SIGKILL'), graceMs);
  await exited;
  clearTimeout(timer);
}
