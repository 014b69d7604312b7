import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { PassThrough, pipeline } from 'node:stream';
import { callbackify } from 'node:util';
import { deferred } from '../base/async.ts';
import { internal, messageOf, notImplemented } from '../base/errors.ts';
import type { LogReading, LogRequest } from './shim.ts';

/**
 * Reads a log by the shim's program in a process of its own (journald's by journalctl): decoding in the daemon would take
 * it ten times the time, and the memory. native/shim/read.c is the other side. The output fails
 * when the reader does, so that half a log is not taken for a whole one.
 * @throws notImplemented for a journal on a host without journalctl
 */
export function readLog(
  program: { readonly path: string; readonly env: Readonly<Record<string, string>> },
  request: LogRequest,
): LogReading {
  const child = spawn(
    program.path,
    ['logs', ...journalArguments(program.env, request), ...logArguments(request)],
    {
      env: program.env,
      stdio: ['pipe', 'pipe', 'inherit'],
    },
  );
  const ended = deferred();
  ended.promise.catch(() => undefined); // told to whoever reads the output
  child.once('error', (cause) => {
    ended.reject(internal(`cannot read the log: ${messageOf(cause)}`, { cause }));
  });
  child.once('exit', (code, signal) => {
    if (code === 0) ended.resolve();
    else ended.reject(internal(`the reader of the log ended with ${code ?? signal}`));
  });
  const output = new PassThrough({ flush: callbackify(() => ended.promise) });
  // Who destroys the output destroys the pipe, which ends the reader.
  pipeline(child.stdout, output, () => undefined);
  child.stdin.on('error', () => undefined); // the reader has ended by itself: so does its output
  if (!request.follow) child.stdin.end();
  return { output, end: () => child.stdin.end() };
}

/** @throws notImplemented */
function journalArguments(env: Readonly<Record<string, string>>, request: LogRequest): string[] {
  if (request.driver !== 'journald') return [];
  const folders = (env['PATH'] ?? '').split(':').filter(Boolean);
  const journalctl = folders.map((each) => path.join(each, 'journalctl')).find(existsSync);
  if (journalctl === undefined) {
    throw notImplemented(
      'configured logging driver does not support reading: journalctl is not installed on this host',
    );
  }
  return [`journalctl=${journalctl}`, `id=${request.containerId}`];
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
