import { once } from 'node:events';
import { readSync } from 'node:fs';
import { Socket } from 'node:net';
import type { Readable, Writable } from 'node:stream';
import { setFlagsFromString } from 'node:v8';
import { type Deferred, deferred } from '../base/async.ts';
import { canceled, isEngineError, messageOf, toEngineError } from '../base/errors.ts';
import { openSyscalls } from '../kernel/ffi.ts';
import { releaseText } from '../kernel/page-out.ts';
import { TextCache } from '../kernel/text-cache.ts';
import {
  CHANNEL_FD,
  type Channel,
  type ChannelMessage,
  decodeError,
  encodeError,
  openChannel,
} from './channel.ts';
import type { JobBody, JobContext, JobName } from './job.ts';
import { JOBS } from './jobs.ts';

/** Finds the body of a job, loading its code. */
export type JobTable = Readonly<Partial<Record<string, () => Promise<JobBody>>>>;

/**
 * The worker's whole life: takes one job from the daemon, runs it, answers. Resolves with the exit
 * code, on which the caller must end the process at once: handles may still be open. A daemon that
 * goes away ends the worker: the job's signal is aborted and this resolves without waiting for it.
 */
export async function runWorker(jobs: JobTable = JOBS): Promise<number> {
  const abort = new AbortController();
  const orphaned = deferred();
  const first = deferred<ChannelMessage>();
  const answers = new Map<number, Deferred<unknown>>();
  const channel = openChannel(new Socket({ fd: CHANNEL_FD }), {
    onMessage: (message) => {
      if ('answer' in message) settle(answers, message);
      else first.resolve(message);
    },
    onEnd: () => {
      abort.abort(canceled('the daemon is gone'));
      orphaned.resolve();
    },
  });
  const work = async (): Promise<number> => {
    const { job, input, cachedText } = await first.promise;
    const stdio = lazyStdio();
    try {
      const load = typeof job === 'string' && Object.hasOwn(jobs, job) ? jobs[job] : undefined;
      if (load === undefined) throw new Error(`no such job: ${String(job)}`);
      const body = await load();
      for (const flag of v8Flags(job)) setFlagsFromString(flag);
      const sys = openSyscalls();
      const cache =
        typeof cachedText === 'string'
          ? new TextCache(sys, Buffer.from(cachedText, 'base64'))
          : undefined;
      cache?.keepMapped();
      releaseText(sys);
      const result = await body(input, context(channel, answers, abort.signal, stdio));
      cache?.dropRest();
      await stdio.flush();
      channel.send({ result: result ?? null });
    } catch (error) {
      if (!isEngineError(error)) report(error);
      channel.send({ error: encodeError(toEngineError(error)) });
    }
    await channel.end();
    return 0;
  };
  return await Promise.race([work(), orphaned.promise.then(() => 1)]);
}

/** Jobs that end before code that is optimized twice pays: their time is the kernel's and native. */
const NATIVE_JOBS: readonly unknown[] = ['pull', 'load', 'import'] satisfies JobName[];

/**
 * How V8 goes on when all code is loaded. The last compiler would take 4 percent of a pull's CPU.
 * The one before it takes 3 to 5 MB for each function that it makes of many and of loops, at any
 * time, and what it makes of them is no faster here.
 */
export function v8Flags(job: unknown): string[] {
  const keepsSmall = ['--optimize-for-size', '--no-maglev-inlining', '--no-maglev-loop-peeling'];
  return NATIVE_JOBS.includes(job) ? [...keepsSmall, '--no-turbofan'] : ['--optimize-for-size'];
}

/** A programmer's error: its stack goes to the daemon's log, the user sees its message. */
function report(error: unknown): void {
  process.stderr.write(`${error instanceof Error ? (error.stack ?? '') : messageOf(error)}\n`);
}

function settle(answers: Map<number, Deferred<unknown>>, message: ChannelMessage): void {
  const number = message['answer'] as number;
  const waiting = answers.get(number);
  answers.delete(number);
  if ('error' in message) waiting?.reject(decodeError(message['error']));
  else waiting?.resolve(message['value']);
}

type Stdio = {
  readonly stdin: () => Readable;
  readonly stdout: () => Writable;
  /** Ends stdout, if it was used, and waits until the kernel has it all. */
  readonly flush: () => Promise<void>;
};

const PIECE_BYTES = 256 << 10;

async function* stdinPieces(): AsyncGenerator<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(PIECE_BYTES);
  for (;;) {
    const bytes = readSync(0, buffer);
    if (bytes === 0) return;
    yield buffer.subarray(0, bytes);
  }
}

/** Sockets are made at first use: one that nobody reads would fill up. */
function lazyStdio(): Stdio {
  let stdin: Socket | undefined;
  let stdout: Socket | undefined;
  return {
    stdin: () => {
      stdin ??= new Socket({ fd: 0, readable: true, writable: false });
      return stdin;
    },
    stdout: () => {
      stdout ??= new Socket({ fd: 1, readable: false, writable: true });
      return stdout;
    },
    flush: async () => {
      if (stdout === undefined || stdout.writableFinished) return;
      stdout.end();
      await once(stdout, 'finish');
    },
  };
}

function context(
  channel: Channel,
  answers: Map<number, Deferred<unknown>>,
  signal: AbortSignal,
  stdio: Stdio,
): JobContext {
  let questions = 0;
  return {
    signal,
    get stdin() {
      return stdio.stdin();
    },
    stdinPieces,
    get stdout() {
      return stdio.stdout();
    },
    report: (message) => channel.send({ report: message }),
    ask: (question) => {
      questions += 1;
      const answer = deferred<unknown>();
      answers.set(questions, answer);
      channel.send({ question: questions, value: question });
      return answer.promise;
    },
  };
}
