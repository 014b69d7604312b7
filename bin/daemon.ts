import { forbidden } from '../src/base/errors.ts';
import { VERSION_TEXT } from '../src/base/version.ts';
import { makeRoot } from '../src/kernel/daemon-lock.ts';
import { openSyscalls } from '../src/kernel/ffi.ts';
import { enterMountNamespace, hasHybridCgroups } from '../src/kernel/mount-namespace.ts';
import { activatedSockets } from '../src/kernel/socket-activation.ts';
import type { DaemonConfig } from '../src/policy/daemon-config.ts';
import { failStart } from './daemon-failure.ts';
import { readWish } from './daemon-settings.ts';
import { execDaemon } from './executable.ts';
import { STAGE } from './parts.ts';

/**
 * The daemon's start. It happens twice: here as any program, to settle what only a fresh process
 * image can have (options of V8, the mount namespace of all threads), then, replaced by the part
 * `engine`, for good. This part is small, because both starts count for who waits.
 */

/**
 * Lite mode has no JIT and no WebAssembly, and the young generation is small: the daemon idles in
 * half the anonymous memory. Heavy work is done by workers, which have neither option.
 */
const NODE_OPTIONS = [
  '--lite-mode',
  '--max-semi-space-size=1',
  '--disable-sigusr1',
  '--disable-warning=ExperimentalWarning',
];

/** The ioctl that clears close-on-exec. */
const FIONCLEX = 0x5450;

export function main(args: string[]): void {
  process.once('uncaughtException', failStart);
  const wish = readWish(args, process.env);
  switch (wish.kind) {
    case 'help':
      process.stdout.write(wish.text);
      return;
    case 'version':
      process.stdout.write(`${VERSION_TEXT}\n`);
      return;
    case 'validate':
      wish.load();
      process.stdout.write('configuration OK\n');
      return;
    case 'run':
      startAgain(wish.load(), args);
  }
}

/** Node has made every descriptor it was started with close-on-exec; those of systemd must stay. */
function keepActivatedSockets(): void {
  const sockets = activatedSockets(process.env, process.pid);
  if (sockets.length === 0) return;
  const sys = openSyscalls();
  for (const { fd } of sockets) sys.ioctl(fd, FIONCLEX, 0);
}

function startAgain(config: DaemonConfig, args: readonly string[]): never {
  if (process.getuid?.() !== 0) {
    throw forbidden('the daemon needs to be started with root privileges: run it with sudo');
  }
  const env: NodeJS.ProcessEnv = { ...process.env, [STAGE]: '' };
  keepActivatedSockets();
  if (hasHybridCgroups() && config.engine.runtimes['crun'] !== undefined) {
    const { execRoot } = config.engine;
    makeRoot(execRoot, 'exec root');
    const sys = openSyscalls();
    const { host, isNew } = enterMountNamespace(sys, execRoot);
    sys.ioctl(host, FIONCLEX, 0);
    env[STAGE] = isNew ? `${host} new` : String(host);
  }
  return execDaemon(NODE_OPTIONS, args, env);
}
