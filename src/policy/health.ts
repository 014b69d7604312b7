import type { ContainerConfig, HealthConfig } from '../spec/docker/container.ts';

/** Healthchecks: what is run when, and what its results come to. Source: moby `daemon/health.go`. */

/** A container's healthcheck with defaults filled in. Times in milliseconds. */
export type HealthPlan = {
  readonly command: readonly string[];
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly startPeriodMs: number;
  /** Between probes during the start period. */
  readonly startIntervalMs: number;
  readonly retries: number;
};

const NS_PER_MS = 1_000_000;
const DEFAULTS = { intervalMs: 30_000, timeoutMs: 30_000, startIntervalMs: 5_000, retries: 3 };

/** The label by which a container that becomes unhealthy is restarted. Off unless it is `true`. */
export const RESTART_UNHEALTHY_LABEL = 'coracle.restart-unhealthy';

/** Undefined when the container has none, or has it turned off. */
export function healthPlan(config: ContainerConfig): HealthPlan | undefined {
  const check = config.Healthcheck;
  const command = check === null ? undefined : commandOf(check, config);
  if (check === null || command === undefined) return undefined;
  const ms = (ns: number, fallback: number): number => (ns === 0 ? fallback : ns / NS_PER_MS);
  return {
    command,
    intervalMs: ms(check.Interval, DEFAULTS.intervalMs),
    timeoutMs: ms(check.Timeout, DEFAULTS.timeoutMs),
    startPeriodMs: ms(check.StartPeriod, 0),
    startIntervalMs: ms(check.StartInterval, DEFAULTS.startIntervalMs),
    retries: check.Retries || DEFAULTS.retries,
  };
}

function commandOf(check: HealthConfig, config: ContainerConfig): string[] | undefined {
  const [kind, ...rest] = check.Test;
  if (kind === 'CMD' && rest.length > 0) return rest;
  if (kind !== 'CMD-SHELL' || rest.length === 0) return undefined;
  return [...(config.Shell ?? ['/bin/sh', '-c']), ...rest];
}

export type HealthStatus = 'starting' | 'healthy' | 'unhealthy';
export type HealthState = { readonly status: HealthStatus; readonly failingStreak: number };

/** What a probe's exit code makes of the state. `ageMs` is how long the container runs. */
export function afterProbe(
  before: HealthState,
  probe: { readonly exitCode: number; readonly ageMs: number },
  plan: HealthPlan,
): HealthState {
  if (probe.exitCode === 0) return { status: 'healthy', failingStreak: 0 };
  // Failures do not count until the container had its time to start.
  if (before.status === 'starting' && probe.ageMs < plan.startPeriodMs) return before;
  const failingStreak = before.failingStreak + 1;
  return { status: failingStreak >= plan.retries ? 'unhealthy' : before.status, failingStreak };
}

/** Milliseconds to the next probe. */
export function probeDelayMs(status: HealthStatus, ageMs: number, plan: HealthPlan): number {
  const isStarting = status === 'starting' && ageMs < plan.startPeriodMs;
  return isStarting ? Math.min(plan.startIntervalMs, plan.intervalMs) : plan.intervalMs;
}
