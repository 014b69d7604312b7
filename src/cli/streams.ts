import type { Duplex } from 'node:stream';
import { StdcopyReader } from '../formats/stdcopy.ts';
import { DetachFilter } from '../policy/detach-keys.ts';
import { type CliContext, writeAll } from './context.ts';

/** How a process's connection is joined to the terminal or pipes of the client. */
export type StreamOptions = {
  /** The process has a terminal: its output is one stream without frames. */
  readonly tty: boolean;
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Keys that leave the process running; only looked for on a terminal. */
  readonly detachKeys: Uint8Array;
};

/** How it ended: `detached` when the user left with the detach keys. */
export type StreamEnd = 'ended' | 'detached';

/**
 * Joins the streams until the process's output ends or the user detaches. The end of our input is
 * passed on and leaves the output open.
 * @throws what reading the connection throws
 */
export async function joinStreams(
  connection: Duplex,
  context: CliContext,
  options: StreamOptions,
): Promise<StreamEnd> {
  const detached = Promise.withResolvers<StreamEnd>();
  const stop = options.stdin
    ? sendInput(connection, context, options, () => detached.resolve('detached'))
    : closeInput(connection);
  try {
    return await Promise.race([copyOutput(connection, context, options), detached.promise]);
  } finally {
    stop();
    connection.destroy();
  }
}

function closeInput(connection: Duplex): () => void {
  // The daemon may be done before it sees the end; that is no failure.
  connection.on('error', () => undefined);
  connection.end();
  return () => undefined;
}

function sendInput(
  connection: Duplex,
  { stdin }: CliContext,
  options: StreamOptions,
  onDetach: () => void,
): () => void {
  const filter = options.tty ? new DetachFilter(options.detachKeys) : undefined;
  const onData = (chunk: Buffer | string): void => {
    const typed = Buffer.from(chunk);
    const { bytes, detached } = filter?.push(typed) ?? { bytes: typed, detached: false };
    if (bytes.length > 0 && connection.writable && !connection.write(bytes)) {
      stdin.pause();
      connection.once('drain', () => stdin.resume());
    }
    if (detached) onDetach();
  };
  const onEnd = (): void => {
    connection.end();
  };
  // A process that ended takes no more input: its output tells.
  connection.on('error', () => undefined);
  stdin.on('data', onData).on('end', onEnd).on('error', onEnd);
  if (stdin.readableEnded || stdin.destroyed) onEnd();
  return () => {
    stdin.off('data', onData).off('end', onEnd).off('error', onEnd);
    stdin.pause();
  };
}

async function copyOutput(
  connection: Duplex,
  { stdout, stderr }: CliContext,
  options: StreamOptions,
): Promise<StreamEnd> {
  const reader = options.tty ? undefined : new StdcopyReader();
  for await (const chunk of connection as AsyncIterable<Buffer>) {
    if (reader === undefined) {
      if (options.stdout) await writeAll(stdout, chunk);
      continue;
    }
    for (const piece of reader.push(chunk)) {
      if (piece.stream === 'stdout' && options.stdout) await writeAll(stdout, piece.bytes);
      else if (piece.stream !== 'stdout' && options.stderr) await writeAll(stderr, piece.bytes);
    }
  }
  return 'ended';
}

/** Takes an output without a terminal apart into stdout and stderr, to its end. */
export async function copyFramed(
  body: AsyncIterable<Buffer>,
  { stdout, stderr }: CliContext,
): Promise<void> {
  const reader = new StdcopyReader();
  for await (const chunk of body) {
    for (const { stream, bytes } of reader.push(chunk)) {
      await writeAll(stream === 'stdout' ? stdout : stderr, bytes);
    }
  }
}

/** Signals that `--sig-proxy` passes on to the process. */
const PROXIED: readonly NodeJS.Signals[] = [
  'SIGHUP',
  'SIGINT',
  'SIGQUIT',
  'SIGABRT',
  'SIGUSR1',
  'SIGUSR2',
  'SIGALRM',
  'SIGTERM',
  'SIGTSTP',
  'SIGCONT',
];

/** Passes signals on with `kill` until disposed; a process that is gone already is no failure. */
export function proxySignals(
  context: CliContext,
  kill: (signal: string) => Promise<void>,
): Disposable {
  const stop = context.signals.listen(PROXIED, (name) => {
    kill(name.replace(/^SIG/, '')).catch(() => undefined);
  });
  return { [Symbol.dispose]: stop };
}
