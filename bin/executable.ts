import { accessSync, constants, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { getRawAsset, isSea } from 'node:sea';
import { fileURLToPath } from 'node:url';
import type { WorkerCommand } from '../src/worker/workers.ts';

/** How this program starts itself again, and where its native helpers are. */

/** The bundle's entry, for a Node that is told what to run; an executable needs none. */
function entry(): string[] {
  return isSea() ? [] : [fileURLToPath(new URL('main.cjs', import.meta.url))];
}

/**
 * A worker is the same program with JIT. Its young generation is small: it handles a few large
 * buffers, and garbage that waits is memory that a board does not have. Options that change the
 * code that V8 makes are set later (`worker/run.ts`): given here they void the code that Node brings
 * along for its own modules, which costs each start 16 ms. Node's own certificates (1.6 MB, 8 ms) are
 * never asked: who is at the other end is told by the machine's.
 */
const WORKER_OPTIONS = ['--max-semi-space-size=1', '--use-openssl-ca'];

/**
 * glibc keeps what is freed for the thread that freed it, and raises the size from which memory is
 * given back each time that a large buffer is freed. A worker uses large buffers all the time.
 */
const WORKER_MEMORY = {
  MALLOC_ARENA_MAX: '1',
  MALLOC_MMAP_THRESHOLD_: '131072',
  MALLOC_TRIM_THRESHOLD_: '131072',
};

export function workerCommand(env: NodeJS.ProcessEnv): WorkerCommand {
  const args = [...withOptions(WORKER_OPTIONS), 'worker'];
  return { command: process.execPath, args, env: { ...env, ...WORKER_MEMORY } };
}

/** Options for Node, and what it is to run. */
function withOptions(nodeOptions: readonly string[]): string[] {
  return isSea() ? [`--node-options=${nodeOptions.join(' ')}`] : [...nodeOptions, ...entry()];
}

/**
 * Replaces this process by the daemon proper, with options for Node, the same PID and the same
 * arguments. Does not return.
 */
export function execDaemon(
  nodeOptions: readonly string[],
  args: readonly string[],
  env: NodeJS.ProcessEnv,
): never {
  if (process.execve === undefined) throw new Error('this platform has no execve');
  return process.execve(process.execPath, ['coracled', ...withOptions(nodeOptions), ...args], env);
}

/** Absolute paths of the programs in `native/`. */
export type NativePrograms = {
  readonly shim: string;
  readonly init: string;
  readonly userns: string;
};

/**
 * The native programs: beside the bundle, or written out of the executable into the first of the
 * folders that lets programs run (`/run` often does not). What is there already is not written
 * again.
 */
export function nativePrograms(folders: readonly string[]): NativePrograms {
  if (!isSea()) {
    const at = (name: string): string => fileURLToPath(new URL(name, import.meta.url));
    return { shim: at('shim'), init: at('init'), userns: at('userns') };
  }
  const out = (name: string): string => writeOut(name, folders);
  return { shim: out('shim'), init: out('init'), userns: out('userns') };
}

function writeOut(name: string, folders: readonly string[]): string {
  const bytes = Buffer.from(getRawAsset(name));
  let failure: unknown;
  for (const folder of folders) {
    const file = path.join(folder, 'bin', name);
    try {
      if (!holds(file, bytes)) {
        mkdirSync(path.dirname(file), { recursive: true, mode: 0o755 });
        // A running shim keeps the old file open: a new one takes its name.
        writeFileSync(`${file}.new`, bytes, { mode: 0o755 });
        renameSync(`${file}.new`, file);
      }
      accessSync(file, constants.X_OK);
      return file;
    } catch (error) {
      failure = error;
    }
  }
  throw new Error(`cannot write the program ${name} to any of ${folders.join(', ')}`, {
    cause: failure,
  });
}

function holds(file: string, bytes: Buffer): boolean {
  try {
    return readFileSync(file).equals(bytes);
  } catch {
    return false; // not there yet
  }
}
