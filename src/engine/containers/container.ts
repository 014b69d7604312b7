import type { Socket } from 'node:net';
import { type Deferred, Latch } from '../../base/async.ts';
import { ZERO_TIME } from '../../base/clock.ts';
import type { ContainerId, ExecId } from '../../base/id.ts';
import type { ProcessHandle } from '../../kernel/process-handle.ts';
import type { Shim, ShimStreams } from '../../kernel/shim.ts';
import type { ContainerDocument, KeptState } from './document.ts';

/** A container's status word, as `State.Status` and the `status` filter have it. */
export type ContainerStatus =
  | 'created'
  | 'running'
  | 'paused'
  | 'restarting'
  | 'removing'
  | 'exited'
  | 'dead';

/** A container's process while it runs. A reboot voids it. */
export type Run = {
  readonly pid: number;
  readonly process: ProcessHandle;
  readonly shim: Shim;
  /** How many milliseconds it has run, however the wall clock is set meanwhile. */
  readonly ageMs: () => number;
  /** What the restart policy waited before it; 0 when the user started it. */
  readonly delayMs: number;
  paused: boolean;
  /** The user asked for its end: no restart, whatever the policy. */
  stopAsked: boolean;
  /** Its end makes room for the next run, for which a `--rm` container stays. */
  startsAgain: boolean;
  /** Resolves when its end is recorded; its mounts may still be there. */
  readonly over: Deferred<void>;
};

/** Who starts a container, and so what is written and counted. */
export type StartCause =
  | { readonly by: 'user' }
  /** After its restart policy waited this long. */
  | { readonly by: 'policy'; readonly delayMs: number };

/** A client that attached before the process runs, so that no byte is lost. */
export type EarlyClient = {
  readonly streams: ShimStreams;
  /** Given the connection to the shim just before the process starts. */
  readonly connect: (socket: Socket) => void;
  /** Told that there will be no start. */
  readonly cancel: () => void;
};

/** What a waiter learns of an end. */
export type Ending = { readonly exitCode: number; readonly error: string };

/** One probe of a healthcheck. */
export type HealthResult = {
  readonly startNs: bigint;
  readonly endNs: bigint;
  readonly exitCode: number;
  readonly output: string;
};

/** A container's health while it runs; kept in memory only. */
export type Health = {
  status: 'starting' | 'healthy' | 'unhealthy';
  failingStreak: number;
  /** Oldest first. */
  readonly log: HealthResult[];
};

/**
 * One container. Who changes it holds `engine.locks` at `container/ID`, except for what the exit of
 * its process sets.
 */
export class Container {
  readonly id: ContainerId;
  /** Without the leading slash. */
  name: string;
  document: ContainerDocument;
  kept: KeptState;

  run: Run | undefined;
  health: Health | undefined;
  /** Set from an end that the restart policy answers until the next run; aborting it gives the restart up. */
  restart: AbortController | undefined;
  /** A start under way; it rejects when the start fails. */
  starting: Promise<void> | undefined;
  /** Clients that wait for its start. */
  readonly earlyClients = new Set<EarlyClient>();
  /** Takes down what the last run left (mounts, network, cgroup); a start and a removal wait for it. */
  cleanup: Promise<void> = Promise.resolve();
  /** IDs of the execs that were made in it. */
  readonly execIds = new Set<ExecId>();
  removing = false;
  /** The removal in progress. */
  removal: Promise<void> | undefined;
  /** Its removal failed half-way. */
  dead = false;

  /** The end of the present or, when it does not run, of its next run. */
  ending = new Latch<Ending>();
  readonly removed = new Latch<Ending>();

  constructor(args: {
    id: ContainerId;
    name: string;
    document: ContainerDocument;
    kept: KeptState;
  }) {
    this.id = args.id;
    this.name = args.name;
    this.document = args.document;
    this.kept = args.kept;
  }

  get status(): ContainerStatus {
    if (this.run !== undefined) return this.run.paused ? 'paused' : 'running';
    if (this.restart !== undefined) return 'restarting';
    if (this.removing) return 'removing';
    if (this.dead || this.kept.shimDied) return 'dead';
    return this.kept.startedAt === '' ? 'created' : 'exited';
  }

  /** As Docker counts: true also while it is paused or waits to be restarted. */
  get isRunning(): boolean {
    return this.run !== undefined || this.restart !== undefined;
  }

  /** RFC 3339; Go's zero time when it was never started. */
  get startedAt(): string {
    return this.kept.startedAt === '' ? ZERO_TIME : this.kept.startedAt;
  }

  /** RFC 3339; Go's zero time when it never ended. */
  get finishedAt(): string {
    return this.kept.finishedAt === '' ? ZERO_TIME : this.kept.finishedAt;
  }
}

/** Key of `engine.locks` that whoever starts, removes, renames or updates a container holds. */
export function lockOf(container: Container): string {
  return `container/${container.id}`;
}
