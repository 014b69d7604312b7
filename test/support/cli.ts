import { EventEmitter } from 'node:events';
import { type PassThrough, Readable, Writable } from 'node:stream';
import type { CliContext, CliOutput } from '../../src/cli/context.ts';
import { runCli } from '../../src/cli/main.ts';
import type { Outcome } from './processes.ts';

/** A stream that keeps what is written to it. */
function sink(options: { columns?: number; rows?: number }): CliOutput & { text: () => string } {
  const chunks: Buffer[] = [];
  const stream = new Writable({
    write: (chunk: Buffer, _encoding, done) => {
      chunks.push(Buffer.from(chunk));
      done();
    },
  });
  return Object.assign(stream, {
    text: () => Buffer.concat(chunks).toString(),
    ...(options.columns === undefined ? {} : { isTTY: true, columns: options.columns }),
    ...(options.rows === undefined ? {} : { rows: options.rows }),
  });
}

export type CliOptions = {
  readonly host?: string;
  readonly input?: string | Buffer;
  readonly env?: Readonly<Record<string, string>>;
  readonly cwd?: string;
  readonly home?: string;
  readonly program?: string;
  /** With it stdout and stderr are terminals. */
  readonly columns?: number;
  readonly nowMs?: number;
  /** Instead of `input`: what is typed, as it is typed. */
  readonly stdin?: PassThrough;
  /** Signals for the client: `signals.emit('SIGINT')`. */
  readonly signals?: EventEmitter;
};

/** Runs our client inside this process. */
export async function coracle(args: readonly string[], options: CliOptions = {}): Promise<Outcome> {
  const size = options.columns === undefined ? {} : { columns: options.columns, rows: 24 };
  const stdout = sink(size);
  const stderr = sink(size);
  const signals = options.signals ?? new EventEmitter();
  const context: CliContext = {
    program: options.program ?? 'coracle',
    env: { ...(options.host === undefined ? {} : { DOCKER_HOST: options.host }), ...options.env },
    cwd: options.cwd ?? '/',
    homeDirectory: options.home ?? '/nonexistent',
    stdin: options.stdin ?? Readable.from([Buffer.from(options.input ?? '')]),
    stdout,
    stderr,
    signals: {
      listen: (names, listener) => {
        const handlers = names.map((name) => ({ name, handler: () => listener(name) }));
        for (const { name, handler } of handlers) signals.on(name, handler);
        return () => {
          for (const { name, handler } of handlers) signals.off(name, handler);
        };
      },
      raise: (name) => {
        signals.emit('raised', name);
      },
    },
    nowMs: () => options.nowMs ?? Date.now(),
    version: '0.1.0',
    commit: 'test',
    makeDeltas: () => Promise.reject(new Error('no worker in this test')),
    os: 'linux',
    arch: 'amd64',
  };
  const code = await runCli(args, context);
  return { code, stdout: stdout.text(), stderr: stderr.text() };
}
