import type { Latch } from '../../base/async.ts';
import { invalidArgument, notImplemented } from '../../base/errors.ts';
import type { Shims } from '../../kernel/shim.ts';
import { planLog } from '../../policy/log-options.ts';
import type { LogConfig } from '../../spec/docker/container.ts';
import { atLeast, type ByteStream, type Call } from '../call.ts';
import { logPath } from './shim-log.ts';

/** What reading a container's log needs to know of it. */
export type LogSource = {
  readonly id: string;
  /** Its folder in the data root. */
  readonly folder: string;
  readonly config: LogConfig;
  readonly terminal: boolean;
  readonly isRunning: () => boolean;
  /** Opens when the run that is going on has ended and everything is in the log. */
  readonly ended: Pick<Latch<unknown>, 'subscribe'>;
};

/** Query of `GET /containers/{id}/logs`. Times are seconds since the epoch, with a fraction. */
export type LogQuery = {
  readonly follow: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
  readonly since: string;
  readonly until: string;
  readonly timestamps: boolean;
  readonly details: boolean;
  /** A number; anything else is all of it. */
  readonly tail: string;
};

/** Media types of streams; API v1.42 began to tell them apart. */
const RAW = 'application/vnd.docker.raw-stream';
const MULTIPLEXED = 'application/vnd.docker.multiplexed-stream';

/**
 * A container's log as a stream, framed (raw when it has a terminal). Following ends with the run.
 * @throws invalidArgument in Docker's words; notImplemented when the driver keeps nothing to read
 */
export async function openLogs(
  shims: Shims,
  source: LogSource,
  query: LogQuery,
  call: Call,
): Promise<ByteStream> {
  if (!query.stdout && !query.stderr) {
    throw invalidArgument('Bad parameters: you must choose at least one stream');
  }
  const sinceNs = parseLogTime('since', query.since);
  const untilNs = parseLogTime('until', query.until);
  const plan = planLog(source.config);
  if (plan.driver === 'syslog' || plan.driver === 'none') {
    throw notImplemented('configured logging driver does not support reading');
  }
  const follow = query.follow && source.isRunning();
  const reading = shims.readLog({
    driver: plan.driver,
    containerId: source.id,
    path: logPath(source.folder, source.id, plan.driver),
    filesMax: plan.filesMax,
    stdout: query.stdout,
    stderr: query.stderr,
    tail: parseTail(query.tail),
    sinceNs,
    untilNs: untilNs === 0n ? undefined : untilNs,
    timestamps: query.timestamps,
    details: query.details,
    raw: source.terminal,
    follow,
  });
  if (follow) {
    const subscription = source.ended.subscribe(reading.end);
    reading.output.once('close', () => subscription[Symbol.dispose]());
  }
  return {
    contentType: source.terminal || !atLeast(call, 1, 42) ? RAW : MULTIPLEXED,
    body: reading.output,
  };
}

/** Messages to begin with; all when it is not a number or negative. Source: moby daemon/logs.go. */
export function parseTail(text: string): number | undefined {
  return /^\+?\d{1,15}$/.test(text) ? Number(text) : undefined;
}

/**
 * Nanoseconds of `seconds[.fraction]`; undefined for ''. The fraction's digits count from the left,
 * as in a decimal number. Source: moby api/types/time, ParseTimestamps.
 * @throws invalidArgument
 */
export function parseLogTime(name: 'since' | 'until', text: string): bigint | undefined {
  if (text === '') return undefined;
  const parts = /^([+-]?\d{1,11})(?:\.(\d{1,9})\d*)?$/.exec(text);
  if (parts === null) {
    throw invalidArgument(
      `invalid value for "${name}": strconv.ParseInt: parsing ${JSON.stringify(text)}: invalid syntax`,
    );
  }
  const seconds = BigInt(parts[1] ?? '0') * 1_000_000_000n;
  return seconds + BigInt((parts[2] ?? '').padEnd(9, '0'));
}
