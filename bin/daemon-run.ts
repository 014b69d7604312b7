import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { HANDLERS } from '../src/api/handlers.ts';
import { createApiServer } from '../src/api/server.ts';
import { messageOf } from '../src/base/errors.ts';
import type { Logger } from '../src/base/log.ts';
import { COMMIT, VERSION } from '../src/base/version.ts';
import { openEngine } from '../src/engine/open-engine.ts';
import { tellReload } from '../src/engine/system/reload.ts';
import { systemClock } from '../src/kernel/clock.ts';
import { lockFolder, lockPidFile, makeRoot } from '../src/kernel/daemon-lock.ts';
import { openSyscalls } from '../src/kernel/ffi.ts';
import { forgetMountNamespace } from '../src/kernel/mount-namespace.ts';
import { type ServiceManager, serviceManager } from '../src/kernel/sd-notify.ts';
import type { Syscalls } from '../src/kernel/syscalls.ts';
import type { DaemonConfig } from '../src/policy/daemon-config.ts';
import { reloadDaemonConfig } from '../src/policy/daemon-reload.ts';
import type { EngineConfig } from '../src/spec/engine-config.ts';
import { serveApi } from './daemon-listen.ts';
import { stderrLogger } from './daemon-log.ts';
import { nativePrograms, workerCommand } from './executable.ts';
import { pageOutWhenIdle } from './idle.ts';

/** What the daemon is started with. */
export type DaemonStart = {
  readonly config: DaemonConfig;
  /** Reads flags and file again. @throws invalidArgument */
  readonly reload: () => DaemonConfig;
  /** When the daemon has one of its own: a descriptor of the host's, and whether ours is new. */
  readonly mountNamespace: { readonly host: number; readonly isNew: boolean } | undefined;
  readonly env: NodeJS.ProcessEnv;
};

/** How long ordinary calls may go on after a signal to stop. */
const GRACE_MS = 5_000;
const UMASK = 0o022;
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** The daemon's life, from its locks to an orderly stop; resolves with the exit code. */
export async function runDaemon(start: DaemonStart): Promise<number> {
  let { config } = start;
  const log = stderrLogger(() => config.logLevel, config.logFormat);
  crashLoudly(log);
  process.umask(UMASK);
  const sys = openSyscalls();
  const stopped = signalToStop(log);
  await using held = new AsyncDisposableStack();
  // What runs from before is in the namespace that it was started in.
  let isEmpty = (): boolean => start.mountNamespace?.isNew === true;
  held.defer(() => {
    if (start.mountNamespace === undefined || !isEmpty()) return;
    forgetMountNamespace(sys, config.engine.execRoot, start.mountNamespace.host);
  });
  takeFolders(sys, config, held);
  for (const sentence of config.ignored) log.debug(sentence);
  adjustOomScore(config, log);
  const manager = serviceManager(sys, start.env, process.pid, (error) =>
    log.warn('cannot reach the service manager', { error: messageOf(error) }),
  );

  const { dataRoot, execRoot } = config.engine;
  const programs = nativePrograms([execRoot, dataRoot]);
  const engineConfig = (): EngineConfig =>
    config.engine.initPath === '' ? { ...config.engine, initPath: programs.init } : config.engine;
  const opened = await openEngine({
    config: engineConfig,
    clock: systemClock,
    random: { bytes: (n) => randomBytes(n) },
    log,
    sys,
    shim: { program: programs.shim, env: childEnvironment(start.env) },
    worker: workerCommand(start.env),
    usernsProgram: programs.userns,
  });
  // What was started on a restart policy may not be running yet when a start fails.
  isEmpty = () => start.mountNamespace?.isNew === true && !opened.hasContainers();
  const api = createApiServer(opened.engine, HANDLERS, { version: VERSION });
  const activity = await serveOrClose(api, { config, env: start.env, log });

  process.on('SIGHUP', () => {
    const next = reload(config, start, manager, log);
    if (next !== undefined) {
      config = next;
      tellReload(opened.engine);
    }
  });
  using _beat = beat(manager);
  using _idle = pageOutWhenIdle(sys, activity, log);
  manager.notify('READY=1', `STATUS=Version ${VERSION}`);
  log.info('Daemon has completed initialization', { version: VERSION, commit: COMMIT });

  await stopped;
  manager.notify('STOPPING=1');
  await api.close(GRACE_MS);
  await opened.close();
  isEmpty = () => !opened.hasRunning();
  return 0;
}

/** Serves every socket, or none: a start that fails leaves no socket behind. */
async function serveOrClose(...args: Parameters<typeof serveApi>): Promise<() => number> {
  try {
    return await serveApi(...args);
  } catch (error) {
    await args[0].close(0);
    throw error;
  }
}

/** What shims, and through them the runtime, are started with: nothing that changes how they work. */
function childEnvironment(env: NodeJS.ProcessEnv): Readonly<Record<string, string>> {
  const kept = ['PATH', 'LANG', 'TZ', 'DBUS_SESSION_BUS_ADDRESS', 'XDG_RUNTIME_DIR'];
  const entries = kept.map((name) => [name, env[name] ?? '']).filter(([, value]) => value !== '');
  return { PATH: DEFAULT_PATH, ...Object.fromEntries(entries) };
}

/** A defect is told with its stack, once, and ends the daemon: containers run on without it. */
function crashLoudly(log: Logger): void {
  const crash = (error: unknown): void => {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error);
    log.error('the daemon has crashed; this is a defect', { stack });
    process.exit(1);
  };
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', crash);
  process.on('unhandledRejection', crash);
}

/** Makes the folders and takes their locks and the PID file, in `held`. @throws conflict */
function takeFolders(sys: Syscalls, config: DaemonConfig, held: AsyncDisposableStack): void {
  for (const [folder, what] of [
    [config.engine.dataRoot, 'data root'],
    [config.engine.execRoot, 'exec root'],
  ] as const) {
    makeRoot(folder, what);
    held.use(lockFolder(sys, folder, what));
  }
  if (config.pidfile !== '') held.use(lockPidFile(sys, config.pidfile));
}

function adjustOomScore(config: DaemonConfig, log: Logger): void {
  if (config.oomScoreAdjust === undefined) return;
  try {
    writeFileSync('/proc/self/oom_score_adj', String(config.oomScoreAdjust));
  } catch (error) {
    log.warn('cannot set oom_score_adj', { error: messageOf(error) });
  }
}

/** Resolves at the first signal to stop; the second ends the process at once. */
function signalToStop(log: Logger): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  let count = 0;
  const onSignal = (name: NodeJS.Signals): void => {
    count += 1;
    log.info(`Processing signal '${name}'`);
    if (count === 1) resolve();
    else process.exit(1);
  };
  for (const name of ['SIGTERM', 'SIGINT', 'SIGQUIT'] as const) process.on(name, onSignal);
  return promise;
}

/** Tells the watchdog, as often as it wants, that the event loop turns. */
function beat(manager: ServiceManager): Disposable {
  if (manager.watchdogMs === undefined) return { [Symbol.dispose]: () => undefined };
  const timer = setInterval(() => manager.notify('WATCHDOG=1'), manager.watchdogMs).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

/** SIGHUP: reads the file again. Undefined for a bad one, which changes nothing. */
function reload(
  config: DaemonConfig,
  start: DaemonStart,
  manager: ServiceManager,
  log: Logger,
): DaemonConfig | undefined {
  const microseconds = process.hrtime.bigint() / 1000n;
  manager.notify('RELOADING=1', `MONOTONIC_USEC=${microseconds}`);
  try {
    const { config: next, changed, waiting } = reloadDaemonConfig(config, start.reload());
    log.info('Reloaded the configuration', { changed: changed.join(' ') });
    if (waiting.length > 0) {
      log.warn('These wait for a restart of the daemon', { options: waiting.join(' ') });
    }
    return next;
  } catch (error) {
    log.error('cannot reload the configuration', { error: messageOf(error) });
    return undefined;
  } finally {
    manager.notify('READY=1');
  }
}
