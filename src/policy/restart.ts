import type { RestartPolicy } from '../spec/docker/container.ts';

/** When a container whose process ended is started again, and how long it waits. */

const DELAY_MIN_MS = 100;
const DELAY_MAX_MS = 60_000;
/** A run of this length counts as a success: the next wait is the shortest again. */
const RESET_MS = 10_000;

/** What is known when a process has ended. */
export type RunEnd = {
  readonly policy: RestartPolicy;
  readonly exitCode: number;
  /** Restarts by the policy since the user's last start. */
  readonly restartCount: number;
  /** The user, or the daemon's shutdown, ended it. */
  readonly stopAsked: boolean;
  readonly ranMs: number;
  /** The wait before this run; 0 for the first. */
  readonly lastDelayMs: number;
};

/** Milliseconds to wait before the next run; undefined leaves the container ended. */
export function restartDelayMs(end: RunEnd): number | undefined {
  if (end.stopAsked || !wantsRestart(end)) return undefined;
  if (end.lastDelayMs === 0 || end.ranMs >= RESET_MS) return DELAY_MIN_MS;
  return Math.min(end.lastDelayMs * 2, DELAY_MAX_MS);
}

function wantsRestart({ policy, exitCode, restartCount }: RunEnd): boolean {
  switch (policy.Name) {
    case 'always':
    case 'unless-stopped':
      return true;
    case 'on-failure':
      if (exitCode === 0) return false;
      return policy.MaximumRetryCount === 0 || restartCount < policy.MaximumRetryCount;
    default:
      return false;
  }
}

/** What is known of a container at the daemon's start, when its process is gone. */
export type BootFacts = {
  readonly policy: RestartPolicy;
  readonly exitCode: number;
  readonly restartCount: number;
  /** It ran, as far as the daemon knows, until the daemon or the host went down. */
  readonly wasRunning: boolean;
  readonly stoppedByUser: boolean;
  readonly everStarted: boolean;
};

/**
 * True when the daemon's start starts the container: `always` even if the user stopped it,
 * `unless-stopped` unless so, `on-failure` when it went down with the host or failed.
 */
export function startsWithDaemon(facts: BootFacts): boolean {
  const { policy, exitCode } = facts;
  switch (policy.Name) {
    case 'always':
      return facts.everStarted;
    case 'unless-stopped':
      return facts.everStarted && !facts.stoppedByUser;
    case 'on-failure':
      if (!facts.wasRunning || exitCode === 0) return false;
      return policy.MaximumRetryCount === 0 || facts.restartCount < policy.MaximumRetryCount;
    default:
      return false;
  }
}
