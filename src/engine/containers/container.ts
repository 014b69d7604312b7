import { type Deferred, deferred } from '../../base/async.ts';
import { ZERO_TIME } from '../../base/clock.ts';
import type { ContainerId } from '../../base/id.ts';
import type { Shim } from '../../kernel/shim.ts';
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
  readonly shim: Shim;
  readonly startedAtNs: bigint;
  paused: boolean;
  /** The user asked for its end: no restart, whatever the policy. */
  stopAsked: boolean;
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
  /** True: rows of it lie in the exec root only (a `--rm` container that leaves nothing behind). */
  readonly transient: boolean;

  run: Run | undefined;
  health: Health | undefined;
  /** Set while the restart policy's back-off runs; aborting it gives the restart up. */
  restart: AbortController | undefined;
  removing = false;
  /** Its removal failed half-way. */
  dead = false;

  /** The end of the present or, when it does not run, of its next run. */
  ending: Deferred<Ending> = deferred<Ending>();
  readonly removed: Deferred<Ending> = deferred<Ending>();

  constructor(args: {
    id: ContainerId;
    name: string;
    document: ContainerDocument;
    kept: KeptState;
    transient: boolean;
  }) {
    this.id = args.id;
    this.name = args.name;
    this.document = args.document;
    this.kept = args.kept;
    this.transient = args.transient;
  }

  get status(): ContainerStatus {
    if (this.run !== undefined) return this.run.paused ? 'paused' : 'running';
    if (this.restart !== undefined) return 'restarting';
    if (this.removing) return 'removing';
    if (this.dead) return 'dead';
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
