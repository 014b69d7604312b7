import os from 'node:os';
import path from 'node:path';
import process from 'node:process';
import { COMMIT, VERSION } from '../src/base/version.ts';
import type { CliContext, CliSignals } from '../src/cli/context.ts';
import { runCli } from '../src/cli/main.ts';

const GO_ARCH: Readonly<Record<string, string>> = { x64: 'amd64', ia32: '386', arm64: 'arm64' };

const signals: CliSignals = {
  listen: (names, listener) => {
    const handlers = names.map((name) => ({ name, handler: () => listener(name) }));
    for (const { name, handler } of handlers) process.on(name, handler);
    return () => {
      for (const { name, handler } of handlers) process.off(name, handler);
    };
  },
  raise: (name) => {
    process.kill(process.pid, name);
  },
};

/** The streams are opened when they are asked for: most commands never read stdin. */
function contextOf(program: string): CliContext {
  return {
    program,
    env: process.env,
    cwd: process.cwd(),
    homeDirectory: os.homedir(),
    get stdin() {
      return process.stdin;
    },
    get stdout() {
      return process.stdout;
    },
    get stderr() {
      return process.stderr;
    },
    signals,
    makeDeltas: async (input, onProgress) => {
      const { makeLayoutDeltas } = await import('./delta-layout.ts');
      await makeLayoutDeltas(input, onProgress);
    },
    nowMs: Date.now,
    version: VERSION,
    commit: COMMIT,
    os: process.platform,
    arch: GO_ARCH[process.arch] ?? process.arch,
  };
}

/** A reader that goes away (`coracle logs x | head`) ends the client as it ends other programs. */
function exitOnBrokenPipe(): void {
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => {
      process.exit(error.code === 'EPIPE' ? 141 : 1);
    });
  }
}

/** Waits until what was written is out: a pipe is written in the background. */
async function flush(stream: NodeJS.WriteStream): Promise<void> {
  if (stream.writableLength > 0) await new Promise((resolve) => stream.write('', resolve));
}

/** Runs the client; `program` is the name it was called by. */
export function main(args: string[], program = 'coracle'): void {
  exitOnBrokenPipe();
  const name = path.basename(program);
  void runCli(args, contextOf(name === 'docker' ? name : 'coracle')).then(async (code) => {
    await Promise.all([flush(process.stdout), flush(process.stderr)]);
    process.exit(code);
  });
}
