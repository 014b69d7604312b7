import { humanDuration } from '../base/duration.ts';

/** What a container's status line is made of. */
export type StatusFacts = {
  readonly status: 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';
  readonly exitCode: number;
  /** How long it has run by now. */
  readonly upMs: number;
  /** How long ago it ended; NaN when it never did. */
  readonly endedMs: number;
  readonly health: 'starting' | 'healthy' | 'unhealthy' | undefined;
};

/** `Up 2 minutes (healthy)`, `Exited (0) 3 hours ago`: the STATUS column. Texts: moby `container/state.go`. */
export function statusText(facts: StatusFacts): string {
  const up = `Up ${humanDuration(facts.upMs)}`;
  const ended = `(${facts.exitCode}) ${humanDuration(facts.endedMs)} ago`;
  switch (facts.status) {
    case 'paused':
      return `${up} (Paused)`;
    case 'restarting':
      return `Restarting ${ended}`;
    case 'running': {
      if (facts.health === undefined) return up;
      return `${up} (${facts.health === 'starting' ? 'health: starting' : facts.health})`;
    }
    case 'removing':
      return 'Removal In Progress';
    case 'dead':
      return 'Dead';
    case 'created':
      return 'Created';
    case 'exited':
      return Number.isNaN(facts.endedMs) ? '' : `Exited ${ended}`;
  }
}
