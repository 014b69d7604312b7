import { execFileSync } from 'node:child_process';
import { globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import path from 'node:path';
import type { ShimLog, ShimSpec } from '../../src/kernel/shim.ts';
import { CHECKOUT } from './tools.ts';

/** The shim with AddressSanitizer and UndefinedBehaviorSanitizer. */
export function buildSanitizedShim(folder: string): string {
  const program = path.join(folder, 'shim-sanitized');
  const sources = globSync(path.join(CHECKOUT, 'native/shim/*.c'));
  const flags = ['-std=gnu11', '-O1', '-g', '-Wall', '-Wextra', '-Werror'];
  const sanitizers = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
  execFileSync('cc', [...flags, ...sanitizers, '-o', program, ...sources]);
  return program;
}

/** Environment that makes sanitizers write what they find into `folder`. */
export function sanitizerEnv(folder: string): Record<string, string> {
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

export function buildFakeRuntime(folder: string): string {
  const program = path.join(folder, 'fake-runtime');
  writeFileSync(`${program}.c`, FAKE_RUNTIME);
  execFileSync('cc', ['-O1', '-o', program, `${program}.c`]);
  return program;
}

export const NO_LOG: ShimLog = {
  driver: 'none',
  path: '',
  maxSizeBytes: 0,
  filesMax: 1,
  compress: false,
  attrs: '',
  options: [],
  nonBlocking: false,
  bufferBytes: 0,
};

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
