import type { Readable, Writable } from 'node:stream';
import type { DeltaLayoutInput } from '../spec/delta-layout.ts';
import type { ProgressMessage } from '../spec/docker/progress.ts';

/** The terminal or pipe that a user types into. */
export type CliInput = Readable & {
  readonly isTTY?: boolean;
  readonly isRaw?: boolean;
  readonly setRawMode?: (raw: boolean) => unknown;
};

/** Where a command writes; a terminal tells its size and emits `resize`. */
export type CliOutput = Writable & {
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
};

/** Signals that the client passes on to a container, or stops for. */
export type CliSignals = {
  /** Calls `listener` for every signal that can be caught; gives what ends that. */
  readonly listen: (
    names: readonly NodeJS.Signals[],
    listener: (name: NodeJS.Signals) => void,
  ) => () => void;
  /** Sends the signal to this process, as if it had not been listened for. */
  readonly raise: (name: NodeJS.Signals) => void;
};

/**
 * All that a command knows of the process it runs in. `bin/` makes it; tests make their own. No
 * other file of the client looks at `process`.
 */
export type CliContext = {
  /** The name the program was called by: `coracle`, or `docker` through a link. */
  readonly program: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly cwd: string;
  readonly homeDirectory: string;
  readonly stdin: CliInput;
  readonly stdout: CliOutput;
  readonly stderr: CliOutput;
  readonly signals: CliSignals;
  /** Makes deltas in a process of its own, without a daemon. Rejects with the job's EngineError. */
  readonly makeDeltas: (
    input: DeltaLayoutInput,
    onProgress: (message: ProgressMessage) => void,
  ) => Promise<void>;
  readonly nowMs: () => number;
  /** `0.1.0`, and the commit it was built from. */
  readonly version: string;
  readonly commit: string;
  /** `linux`, `arm64`, as Go names them. */
  readonly os: string;
  readonly arch: string;
};

/** Writes and waits until the stream takes more. Resolves too when the reader went away. */
export async function writeAll(stream: Writable, chunk: string | Uint8Array): Promise<void> {
  if (stream.destroyed || stream.write(chunk)) return;
  await new Promise<void>((resolve) => {
    const done = (): void => {
      for (const name of ['drain', 'close', 'error'] as const) stream.off(name, done);
      resolve();
    };
    for (const name of ['drain', 'close', 'error'] as const) stream.on(name, done);
  });
}

const WIDTH_WITHOUT_TERMINAL = 80;

/** Columns to fold help to. */
export function columnsOf(stream: CliOutput): number {
  return stream.isTTY === true && (stream.columns ?? 0) > 0
    ? (stream.columns ?? WIDTH_WITHOUT_TERMINAL)
    : WIDTH_WITHOUT_TERMINAL;
}
