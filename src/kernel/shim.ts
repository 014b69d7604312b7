import type { Socket } from 'node:net';
import type { Readable } from 'node:stream';

/**
 * The daemon's side of `native/shim/`: one shim supervises one process tree, a container's or an
 * exec's. It outlives the daemon. See docs/shim.md for its protocol.
 */

/** Where the shim writes a container's output besides to attached clients. */
export type ShimLog = {
  readonly driver: 'json-file' | 'local' | 'journald' | 'syslog' | 'none';
  /** File of json-file and local. */
  readonly path: string;
  /** Rotation: bytes at which a file is closed (0: never), files kept in all. */
  readonly maxSizeBytes: number;
  readonly filesMax: number;
  /** Rotated files are packed: PATH.1.gz and so on. */
  readonly compress: boolean;
  /** Attributes of every message as a JSON object; '' for none. */
  readonly attrs: string;
  /** What journald and syslog need, `key=value`; native/shim/log-socket.c lists them. */
  readonly options: readonly string[];
  /** `mode=non-blocking`: messages that do not fit `bufferBytes` are dropped, instead of stopping the container. */
  readonly nonBlocking: boolean;
  readonly bufferBytes: number;
};

export type ShimSpec = {
  /** The shim's own folder in the exec root: sockets, exit file, its copy of this. Must exist. */
  readonly directory: string;
  readonly containerId: string;
  readonly runtime: {
    /** crun or runc. */
    readonly path: string;
    /** Arguments before the subcommand, `--root DIR` and `--systemd-cgroup` included. */
    readonly args: readonly string[];
  };
  readonly process:
    | { readonly kind: 'container'; readonly bundle: string }
    | { readonly kind: 'exec'; readonly processFile: string };
  readonly terminal: boolean;
  /** False: the process reads /dev/null. */
  readonly openStdin: boolean;
  /** Close the process's stdin when the first attached client's input ends. */
  readonly stdinOnce: boolean;
  /** Who owns the process's pipes; root by default. */
  readonly owner?: { readonly uid: number; readonly gid: number } | undefined;
  readonly log: ShimLog;
  /**
   * Rows and columns of the terminal at start. The runtime spec's `process.consoleSize` should say
   * the same: only the runtime is sure to set it before the process runs.
   */
  readonly consoleSize?: readonly [rows: number, columns: number];
  /** File whose growth tells of an OOM kill: v2 memory.events, v1 memory.oom_control (event counter `oom_kill`). */
  readonly oomFile?: string;
  /**
   * How long the process may be held up by an attached client that takes nothing, when the output
   * is logged as well; then the client is cut off. 5 minutes. Without a log it is waited for.
   */
  readonly stallMs?: number;
  /** After which a runtime that has not come back is killed; {@link LIMITS.runtimeStartMs}. */
  readonly startMs?: number;
};

/** How a process ended, as the shim recorded it. */
export type ExitStatus = {
  /** 0 … 255; 128 + signal when one ended it. */
  readonly exitCode: number;
  readonly oomKilled: boolean;
  /** Nanoseconds since the epoch. */
  readonly exitedAtNs: bigint;
  /** Nanoseconds that it ran, by a clock that nobody sets; 0 when that is not known. */
  readonly ranNs: bigint;
};

/** What a client of a process wants of it. */
export type ShimStreams = {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
};

/** A live shim. */
export type Shim = {
  readonly pid: number;
  /** Runs the runtime; resolves with the process's pid once it is started. Rejects with the runtime's own words. */
  readonly start: () => Promise<{ pid: number; startedAtNs: bigint }>;
  /**
   * A connection that carries output from now on (in Docker's 8-byte framing, or raw with a
   * terminal) and takes stdin. Ending it half-way ends the client's stdin.
   */
  readonly attach: (streams: ShimStreams) => Promise<Socket>;
  readonly resize: (size: { rows: number; columns: number }) => Promise<void>;
  /** Resolves when the process has ended and all its output is written; rejects (dataLoss) when the shim died without saying so. */
  readonly exited: Promise<ExitStatus>;
  /** Lets go of the connection; the shim runs on. */
  readonly detach: () => void;
};

/** What of a log to read. Times are nanoseconds since the epoch. */
export type LogRequest = {
  readonly driver: 'json-file' | 'local' | 'journald';
  readonly containerId: string;
  /** Of json-file and local. */
  readonly path: string;
  /** Files in all, rotated ones included. */
  readonly filesMax: number;
  readonly stdout: boolean;
  readonly stderr: boolean;
  /** Only the last so many messages; undefined: all. */
  readonly tail: number | undefined;
  readonly sinceNs: bigint | undefined;
  /** Ends before the first younger message. */
  readonly untilNs: bigint | undefined;
  readonly timestamps: boolean;
  /** Puts the message's attributes before it. */
  readonly details: boolean;
  /** Without frames: a terminal's log. */
  readonly raw: boolean;
  /** Goes on with what is written from now on, until {@link LogReading.end}. */
  readonly follow: boolean;
};

/** A log being read. Destroying `output` ends it. */
export type LogReading = {
  readonly output: Readable;
  /** The container has ended: what is written now is all. */
  readonly end: () => void;
};

/** Starts and finds shims, and reads what they logged. */
export type Shims = {
  /** @throws notImplemented when the host has no program that reads the journal */
  readonly readLog: (request: LogRequest) => LogReading;
  /** Starts a shim; it is ready for `attach` and `start` when this resolves. */
  readonly launch: (spec: ShimSpec) => Promise<Shim>;
  /**
   * Connects to the shim of an earlier daemon. `exited` when it is gone and left an exit file,
   * `unstarted` when it is gone and nothing was run by it, `lost` when it is gone and the end of
   * what it ran (then `pid`) was not seen: that may run on.
   */
  readonly reconnect: (directory: string) => Promise<
    | {
        readonly state: 'running';
        readonly shim: Shim;
        readonly pid: number;
        /** How long the process has run, as {@link ExitStatus} has it. */
        readonly ranNs: bigint;
      }
    | { readonly state: 'exited'; readonly status: ExitStatus }
    | { readonly state: 'unstarted' }
    | { readonly state: 'lost'; readonly pid: number }
  >;
};
