import type { Readable, Writable } from 'node:stream';

/**
 * Heavy work runs in short-lived children of the same executable, which start with JIT and give
 * their memory back by exiting. A job is a name plus JSON input; the child answers with JSON
 * messages and one result. Bulk bytes go over its stdin and stdout.
 *
 * `jobs.ts` maps each name to the function that carries it out in the child.
 */
export type JobName =
  | 'registry'
  | 'pull'
  | 'push'
  | 'load'
  | 'import'
  | 'build'
  | 'save'
  | 'usage'
  | 'verify'
  | 'tree-pack'
  | 'tree-unpack'
  | 'tree-changes'
  | 'tree-diff'
  | 'delta-create'
  | 'delta-publish'
  | 'delta-plan'
  | 'delta-layout'
  | 'delta-inspect';

/** A running job as the daemon sees it. */
export type RunningJob = AsyncDisposable & {
  readonly pid: number;
  /** Bytes to the child (an archive to load). */
  readonly stdin: Writable;
  /** Bytes from the child (an archive being saved). */
  readonly stdout: Readable;
  /** Resolves with the job's result; rejects with the child's EngineError, or `internal` when it died. */
  readonly result: Promise<unknown>;
};

/** What a job sees of the daemon, in the child. */
export type JobContext = {
  readonly signal: AbortSignal;
  readonly stdin: Readable;
  /**
   * What comes from stdin through one buffer, instead of in buffers that are collected late: each
   * piece is valid until the next is asked for. Nothing else runs while it waits for bytes.
   */
  readonly stdinPieces: () => AsyncIterable<Buffer>;
  readonly stdout: Writable;
  /** Sends a report to the daemon; ordered. */
  readonly report: (message: unknown) => void;
  /** Asks the daemon something and waits for its answer. */
  readonly ask: (question: unknown) => Promise<unknown>;
};

/** One job's function in the child. */
export type JobBody = (input: unknown, context: JobContext) => Promise<unknown>;

/** Starts jobs. `signal` kills the child. `onQuestion` answers its {@link JobContext.ask}. */
export type Workers = {
  readonly start: (
    name: JobName,
    input: unknown,
    options: {
      signal: AbortSignal;
      onReport?: (message: unknown) => void;
      onQuestion?: (question: unknown) => Promise<unknown>;
    },
  ) => Promise<RunningJob>;
  /** Ends what still runs. */
  readonly close: () => Promise<void>;
};
