import { spawn } from 'node:child_process';
import type { Readable } from 'node:stream';
import { internal, messageOf } from '../base/errors.ts';
import type { LogReading, LogRequest } from './shim.ts';

/**
 * Reads a log by the shim's program in a process of its own: decoding in the daemon would take
 * it ten times the time, and the memory. native/shim/read.c is the other side.
 */
export function readLog(
  program: { readonly path: string; readonly env: Readonly<Record<string, string>> },
  request: LogRequest,
): LogReading {
  const child = spawn(program.path, ['logs', ...logArguments(request)], {
    env: program.env,
    stdio: [request.follow ? 'pipe' : 'ignore', 'pipe', 'inherit'],
  });
  const output = child.stdout as Readable;
  const input = child.stdin;
  input?.on('error', () => undefined); // the reader has ended by itself: so does its output
  child.once('error', (cause) => {
    output.destroy(internal(`cannot read the log: ${messageOf(cause)}`, { cause }));
  });
  child.once('exit', (code, signal) => {
    // Whoever destroys the output is told nothing by the reader's end.
    if (code !== 0) output.destroy(internal(`the reader of the log ended with ${code ?? signal}`));
  });
  return { output, end: () => input?.end() };
}

/** Settings of `shim logs`. */
export function logArguments(request: LogRequest): string[] {
  const flags = ['timestamps', 'details', 'raw', 'follow'] as const;
  return [
    `driver=${request.driver}`,
    `path=${request.path}`,
    `files=${request.filesMax}`,
    `streams=${request.stdout ? 'o' : ''}${request.stderr ? 'e' : ''}`,
    `tail=${request.tail ?? -1}`,
    ...(request.sinceNs === undefined ? [] : [`since=${request.sinceNs}`]),
    ...(request.untilNs === undefined ? [] : [`until=${request.untilNs}`]),
    ...flags.filter((each) => request[each]).map((each) => `${each}=1`),
  ];
}
