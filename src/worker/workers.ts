import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import type { Socket } from 'node:net';
import { deferred } from '../base/async.ts';
import { canceled, internal, toEngineError } from '../base/errors.ts';
import type { Logger } from '../base/log.ts';
import {
  CHANNEL_FD,
  type ChannelMessage,
  decodeError,
  encodeError,
  openChannel,
} from './channel.ts';
import type { JobName, RunningJob, Workers } from './job.ts';

/** How to start a worker: the same executable as the daemon, in another role. */
export type WorkerCommand = {
  readonly command: string;
  readonly args: readonly string[];
  /** The daemon's environment. What would change how Node starts is left out for the worker. */
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Makes room for it in this process. */
  readonly makeRoom?: () => void;
  /** What of the program is in the page cache before it starts (`kernel/text-cache.ts`). */
  readonly cachedText?: () => Buffer | undefined;
};

/** Jobs that leave the page cache as it was; others are over before that pays. */
const KEEPS_CACHE: readonly JobName[] = ['pull', 'load', 'import'];

type StartOptions = Parameters<Workers['start']>[2];

/** Variables of the daemon's own Node: a worker wants JIT, whatever the daemon runs with. */
const OWN_VARIABLES = [
  'NODE_OPTIONS',
  'NODE_CHANNEL_FD',
  'NODE_V8_COVERAGE',
  // Node would read hundreds of certificates at its start; a registry's are the machine's own.
  'NODE_EXTRA_CA_CERTS',
  'NODE_USE_SYSTEM_CA',
];

/** Workers as child processes. `close` ends them and waits until they are gone. */
export function createWorkers(how: WorkerCommand, log: Logger): Workers {
  const children = new Set<ChildProcess>();
  const env = Object.fromEntries(
    Object.entries(how.env).filter(([name]) => !OWN_VARIABLES.includes(name)),
  );
  let closed = false;
  return {
    start: async (name, input, options) => {
      options.signal.throwIfAborted();
      if (closed) throw canceled('the daemon is shutting down');
      const cachedText = KEEPS_CACHE.includes(name) ? how.cachedText?.() : undefined;
      how.makeRoom?.();
      const child = spawn(how.command, [...how.args], {
        stdio: ['pipe', 'pipe', 'inherit', 'pipe'],
        env,
      });
      children.add(child);
      child.once('close', () => children.delete(child));
      child.once('error', () => children.delete(child));
      try {
        await once(child, 'spawn');
      } catch (cause) {
        throw internal(`cannot start a worker process: ${String(cause)}`, { cause });
      }
      log.debug('worker started', { job: name, pid: child.pid });
      const first = { job: name, input, cachedText: cachedText?.toString('base64') };
      return supervise(child, { name, first }, options);
    },
    close: async () => {
      closed = true;
      await Promise.all([...children].map(killed));
    },
  };
}

/** Kills the child; resolves when it and its pipes are gone. */
async function killed(child: ChildProcess): Promise<void> {
  const gone = child.exitCode !== null || child.signalCode !== null;
  const exited = gone ? Promise.resolve() : once(child, 'exit');
  child.kill('SIGKILL');
  await exited;
}

function supervise(
  child: ChildProcess,
  { name, first }: { readonly name: JobName; readonly first: ChannelMessage },
  options: StartOptions,
): RunningJob {
  const { stdin, stdout } = child;
  if (stdin === null || stdout === null || child.pid === undefined) {
    throw new Error('a worker process was started without its pipes');
  }
  const result = deferred<unknown>();
  // Who starts a job and fails before waiting for it still disposes it: that is no unhandled error.
  result.promise.catch(() => undefined);
  // A worker that is killed leaves its pipes broken; its death is told by `result`.
  stdin.on('error', () => undefined);
  stdout.on('error', () => undefined);

  const kill = (): void => void child.kill('SIGKILL');
  const channel = openChannel(child.stdio[CHANNEL_FD] as Socket, {
    onMessage: (message) => {
      if ('report' in message) options.onReport?.(message['report']);
      else if ('question' in message) void answer(message['question'], message['value']);
      else if ('result' in message) result.resolve(message['result']);
      else if ('error' in message) result.reject(decodeError(message['error']));
    },
    onEnd: (error) => {
      if (error !== undefined) {
        result.reject(error);
        kill();
      }
    },
  });
  const answer = async (number: unknown, question: unknown): Promise<void> => {
    try {
      const value = await options.onQuestion?.(question);
      channel.send({ answer: number, value: value ?? null });
    } catch (error) {
      channel.send({ answer: number, error: encodeError(toEngineError(error)) });
    }
  };

  const abort = (): void => {
    result.reject(options.signal.reason);
    kill();
  };
  options.signal.addEventListener('abort', abort, { once: true });
  const gone = once(child, 'close').then(([code, signal]) => {
    options.signal.removeEventListener('abort', abort);
    // Rejecting does nothing when the job said its result before it exited.
    result.reject(died(name, code as number | null, signal as string | null));
  });
  if (options.signal.aborted) abort();
  else channel.send(first);

  return {
    pid: child.pid,
    stdin,
    stdout,
    result: result.promise,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) kill();
      stdout.destroy();
      await gone;
    },
  };
}

function died(name: JobName, code: number | null, signal: string | null): Error {
  const how = signal === null ? `exited with code ${code}` : `was ended by ${signal}`;
  const hint = signal === 'SIGKILL' ? ' (out of memory?)' : '';
  return internal(`the ${name} worker ${how}${hint} before it was done`, {
    detail: { job: name, ...(signal === null ? { exitCode: code ?? -1 } : { signal }) },
  });
}
