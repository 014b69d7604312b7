import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import {
  existsSync,
  globSync,
  mkdirSync,
  readFileSync,
  renameSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import type { Socket } from 'node:net';
import path from 'node:path';
import { after } from 'node:test';
import { NO_LOG } from '../../src/engine/logs/shim-log.ts';
import type { LogRequest, ShimSpec, Shims } from '../../src/kernel/shim.ts';
import { openShims } from '../../src/kernel/shims.ts';
import { temporaryFolder } from './temp.ts';
import { CHECKOUT } from './tools.ts';

/** Each look at the wall clock finds it a year later: no clock is set as often as this one. */
const JUMPING_CLOCK = `
#include <time.h>
int __real_clock_gettime(clockid_t clock, struct timespec *time);
int __wrap_clock_gettime(clockid_t clock, struct timespec *time) {
  static int looks;
  int result = __real_clock_gettime(clock, time);
  if (clock == CLOCK_REALTIME) time->tv_sec += 31536000L * ++looks;
  return result;
}
`;

/** The shim on a host whose wall clock jumps. */
export function buildShimWithJumpingClock(folder: string): string {
  const program = path.join(folder, 'shim-jumping');
  const clock = path.join(folder, 'jumping-clock.c');
  writeFileSync(clock, JUMPING_CLOCK);
  const sources = globSync(path.join(CHECKOUT, 'native/shim/*.c'));
  const wrap = '-Wl,--wrap=clock_gettime';
  execFileSync('cc', ['-std=gnu11', '-O1', wrap, '-o', program, clock, ...sources]);
  return program;
}

/**
 * A stand-in for the OCI runtime: runs its first argument as a shell command for "the container",
 * without any isolation, in a millisecond. Not a shell script, because shells wait for children.
 */
const FAKE_RUNTIME = `
#include <stdio.h>
#include <string.h>
#include <unistd.h>
int main(int argc, char **argv) {
  pid_t pid = fork();
  if (pid == 0) execl("/bin/sh", "sh", "-c", argv[1], NULL);
  for (int i = 1; i + 1 < argc; i++) {
    if (strcmp(argv[i], "--pid-file") != 0) continue;
    FILE *file = fopen(argv[i + 1], "w");
    fprintf(file, "%d", pid);
    fclose(file);
  }
  return 0;
}
`;

const SANITIZERS = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all', '-g'];

/** Environment that makes sanitizers write what they find into `folder`. */
export function sanitizerEnv(folder: string): { PATH: string } & Record<string, string> {
  return {
    PATH: process.env['PATH'] ?? '',
    ASAN_OPTIONS: `log_path=${folder}/sanitizer:detect_leaks=0`,
    UBSAN_OPTIONS: `log_path=${folder}/sanitizer:print_stacktrace=1`,
  };
}

/** What sanitizers found, in their words. */
export function sanitizerFindings(folder: string): string {
  return globSync(path.join(folder, 'sanitizer.*'))
    .map((file) => readFileSync(file, 'utf8'))
    .join('\n');
}

/** Compiles `build/NAME` when it is older than its sources; several test files may want it at once. */
function compiled(name: string, flags: readonly string[], sources: readonly string[]): string {
  const program = path.join(CHECKOUT, 'build', name);
  const changedMs = Math.max(...sources.map((file) => statSync(file).mtimeMs));
  if (!existsSync(program) || statSync(program).mtimeMs < changedMs) {
    const own = `${program}.new.${process.pid}`;
    const inputs = sources.filter((file) => file.endsWith('.c'));
    const always = ['-std=gnu11', '-O1', '-Wall', '-Wextra', '-Werror'];
    execFileSync('cc', [...always, ...flags, '-o', own, ...inputs]);
    renameSync(own, program);
  }
  return program;
}

/** The shim under sanitizers, with a stand-in for the runtime. */
export type SanitizedShims = {
  /** Everything of this file's tests; programs in its folder `bin` are found before others. */
  readonly root: string;
  readonly program: string;
  readonly env: { readonly PATH: string } & Readonly<Record<string, string>>;
  readonly shims: Shims;
  /** Settings of a shim, in a folder of its own, that runs a shell command. */
  readonly running: (command: string, more?: Partial<ShimSpec>) => ShimSpec;
};

/** One for the tests of a file, which fails when a sanitizer found something. */
export function sanitizedShims(name: string): SanitizedShims {
  const folder = temporaryFolder(name);
  const root = folder.path;
  after(() => {
    const findings = sanitizerFindings(root);
    folder[Symbol.dispose]();
    assert.equal(findings, '');
  });
  const sources = globSync(path.join(CHECKOUT, 'native/shim/*.[ch]'));
  const program = compiled('shim-sanitized', SANITIZERS, sources);
  const source = path.join(root, 'fake-runtime.c');
  writeFileSync(source, FAKE_RUNTIME);
  const runtime = path.join(root, 'fake-runtime');
  execFileSync('cc', ['-O1', '-o', runtime, source]);
  const env = { ...sanitizerEnv(root), PATH: `${root}/bin:${process.env['PATH'] ?? ''}` };
  let count = 0;
  return {
    root,
    program,
    env,
    shims: openShims({ program, env }),
    running: (command, more) =>
      shimSpec(root, `c${++count}`, { path: runtime, args: [command] }, more),
  };
}

/** A request for all of a log, in Docker's frames. */
export function logRequest(
  log: Pick<LogRequest, 'driver' | 'path'>,
  more: Partial<LogRequest> = {},
): LogRequest {
  const { driver, path: file } = log;
  return {
    ...{ driver, path: file, containerId: '', filesMax: 1000, stdout: true, stderr: true },
    ...{ tail: undefined, sinceNs: undefined, untilNs: undefined, timestamps: false },
    ...{ details: false, raw: false, follow: false, ...more },
  };
}

/** A shim's settings with a folder of its own below `root`. */
export function shimSpec(
  root: string,
  name: string,
  runtime: ShimSpec['runtime'],
  more: Partial<ShimSpec> = {},
): ShimSpec {
  const directory = path.join(root, name);
  mkdirSync(directory, { recursive: true });
  return {
    directory,
    containerId: name,
    runtime,
    process: { kind: 'container', bundle: path.join(directory, 'bundle') },
    terminal: false,
    openStdin: false,
    stdinOnce: false,
    log: NO_LOG,
    ...more,
  };
}

/** Everything that comes over a connection until it ends. */
export async function readToEnd(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks);
}

/** True when a process has ended, whether or not its parent has noticed. */
export function hasEnded(pid: number): boolean {
  try {
    return / Z /.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return true;
  }
}

/** Payloads of Docker's frames by stream, joined. @throws for bytes that are no whole frames */
export function unframe(bytes: Buffer): { stdout: Buffer; stderr: Buffer } {
  const out: Record<number, Buffer[]> = { 1: [], 2: [] };
  let at = 0;
  while (at < bytes.length) {
    const stream = out[bytes[at] ?? 0];
    if (at + 8 > bytes.length || stream === undefined || bytes.readUIntBE(at + 1, 3) !== 0) {
      throw new Error(`no frame at ${at}`);
    }
    const size = bytes.readUInt32BE(at + 4);
    if (at + 8 + size > bytes.length) throw new Error(`half a frame at ${at}`);
    stream.push(bytes.subarray(at + 8, at + 8 + size));
    at += 8 + size;
  }
  return { stdout: Buffer.concat(out[1] ?? []), stderr: Buffer.concat(out[2] ?? []) };
}

/** One line of a json-file log. */
export type LogEntry = {
  readonly log: string;
  readonly stream: string;
  readonly time: string;
  readonly attrs?: Record<string, string>;
};

/** Entries of a json-file log with its rotated files, oldest first. */
export function logEntries(file: string): LogEntry[] {
  const rotated = globSync(`${file}.*`).sort(
    (a, b) => Number(path.extname(b).slice(1)) - Number(path.extname(a).slice(1)),
  );
  return [...rotated, file]
    .flatMap((each) => readFileSync(each, 'utf8').split('\n'))
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as LogEntry);
}
