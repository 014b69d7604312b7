import { invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { bool, type Decoder, decodeJson, int, string, struct } from '../spec/decode.ts';
import type { ExitStatus, ShimSpec, ShimStreams } from './shim.ts';

/**
 * What daemon and shim say to each other: the settings file, the orders, the events, the exit file.
 * docs/shim.md describes them; native/shim/main.c is the other side.
 */

/** A line that the shim writes to a control connection. */
export type ShimEvent =
  | {
      readonly type: 'hello';
      readonly shim: number;
      readonly state: 'created' | 'starting' | 'running' | 'exited' | 'failed';
      /** -1 before the start. */
      readonly pid: number;
      readonly startedAtNs: bigint;
      /** How long its process has run by now. */
      readonly ranNs: bigint;
    }
  | { readonly type: 'started'; readonly pid: number; readonly startedAtNs: bigint }
  | { readonly type: 'failed'; readonly status: number; readonly reason: string }
  | { readonly type: 'exited'; readonly status: ExitStatus }
  | { readonly type: 'resized' }
  | { readonly type: 'refused'; readonly reason: string };

const eventType = struct('Event', { type: string });

/** Nanoseconds do not fit a JSON number, so they are sent as a decimal string. */
const nanoseconds: Decoder<bigint> = {
  zero: () => 0n,
  decode: (value, path) => {
    const text = string.decode(value, path);
    if (!/^-?\d{1,20}$/.test(text)) throw invalidArgument(`${path} is not a time: ${text}`);
    return BigInt(text);
  },
};

const hello = struct('Hello', {
  shim: int,
  state: string,
  pid: int,
  startedAt: nanoseconds,
  ran: nanoseconds,
});
const started = struct('Started', { pid: int, startedAt: nanoseconds });
const failed = struct('Failed', { status: int, reason: string });
const exited = struct('Exited', {
  exitCode: int,
  oomKilled: bool,
  exitedAt: nanoseconds,
  ran: nanoseconds,
});

const STATES = ['created', 'starting', 'running', 'exited', 'failed'] as const;

/** @throws invalidArgument for a line that no shim writes */
export function decodeShimEvent(line: string): ShimEvent {
  const { type } = decodeJson(eventType, line);
  switch (type) {
    case 'hello': {
      const { shim, state, pid, startedAt, ran } = decodeJson(hello, line);
      const known = STATES.find((each) => each === state);
      if (known === undefined) throw invalidArgument(`a shim cannot be ${state}`);
      return { type, shim, state: known, pid, startedAtNs: startedAt, ranNs: ran };
    }
    case 'started': {
      const { pid, startedAt } = decodeJson(started, line);
      return { type, pid, startedAtNs: startedAt };
    }
    case 'failed':
      return { type, ...decodeJson(failed, line) };
    case 'exited':
      return { type, status: decodeExit(line) };
    case 'resized':
      return { type };
    case 'refused':
      return { type, reason: decodeJson(failed, line).reason };
    default:
      throw invalidArgument(`a shim says no ${JSON.stringify(type)}`);
  }
}

/** The exit file, and the event that tells of it. @throws invalidArgument */
export function decodeExit(text: string): ExitStatus {
  const { exitCode, oomKilled, exitedAt, ran } = decodeJson(exited, text);
  return { exitCode, oomKilled, exitedAtNs: exitedAt, ranNs: ran };
}

/** The first line of a connection that carries streams. */
export function attachLine(streams: ShimStreams): string {
  const letters = [streams.stdin && 'i', streams.stdout && 'o', streams.stderr && 'e'];
  return `attach ${letters.filter((each) => each !== false).join('')}\n`;
}

/**
 * The shim's settings file: records `key=value`, each ended by a NUL.
 * @throws invalidArgument for a value with a NUL
 */
export function encodeShimSpec(spec: ShimSpec): string {
  const { log, runtime, process } = spec;
  const flag = (value: boolean): string => (value ? '1' : '0');
  const [rows, columns] = spec.consoleSize ?? [0, 0];
  const records: readonly (readonly [key: string, value: string])[] = [
    ['id', spec.containerId],
    ['runtime', runtime.path],
    ...runtime.args.map((each) => ['runtime-arg', each] as const),
    process.kind === 'container'
      ? (['bundle', process.bundle] as const)
      : (['process', process.processFile] as const),
    ['terminal', flag(spec.terminal)],
    ['open-stdin', flag(spec.openStdin)],
    ['stdin-once', flag(spec.stdinOnce)],
    ['uid', String(spec.owner?.uid ?? 0)],
    ['gid', String(spec.owner?.gid ?? 0)],
    ['rows', String(rows)],
    ['columns', String(columns)],
    ['oom-file', spec.oomFile ?? ''],
    ['start-ms', String(spec.startMs ?? LIMITS.runtimeStartMs)],
    ...(spec.stallMs === undefined ? [] : [['stall-ms', String(spec.stallMs)] as const]),
    ['log-driver', log.driver],
    ['log-path', log.path],
    ['log-max-size', String(log.maxSizeBytes)],
    ['log-max-files', String(log.filesMax)],
    ['log-compress', flag(log.compress)],
    ['log-attrs', log.attrs],
    ['log-non-blocking', flag(log.nonBlocking)],
    ['log-buffer', String(log.bufferBytes)],
    ...log.options.map((each) => ['log-option', each] as const),
  ];
  return records.map(([key, value]) => record(key, value)).join('');
}

function record(key: string, value: string): string {
  if (value.includes('\0')) throw invalidArgument(`${key} cannot hold a NUL character`);
  return `${key}=${value}\0`;
}

/**
 * The last error of a runtime's log (`--log-format json`): one object a line with `level` and
 * `msg`. Undefined when it tells of none.
 */
export function lastRuntimeError(log: string): string | undefined {
  const line = struct('LogLine', { level: string, msg: string });
  let last: string | undefined;
  for (const each of log.split('\n')) {
    if (!each.startsWith('{')) continue;
    try {
      const { level, msg } = decodeJson(line, each);
      if (level === 'error' || level === 'fatal') last = msg;
    } catch {
      // a line that was cut by a full disk
    }
  }
  return last;
}
