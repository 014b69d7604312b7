import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { unlessAborted } from '../../base/async.ts';
import {
  conflict,
  type EngineError,
  internal,
  invalidArgument,
  messageOf,
} from '../../base/errors.ts';
import { LIMITS } from '../../base/limits.ts';
import { openProcess } from '../../kernel/process-handle.ts';
import { readInRoot } from '../../kernel/rootfs-file.ts';
import type { Shim } from '../../kernel/shim.ts';
import { containerCapabilities } from '../../policy/capabilities.ts';
import { containerEnvironment, overrideEnvironment } from '../../policy/environment.ts';
import { explainStartFailure } from '../../policy/runtime-errors.ts';
import { processCapabilities } from '../../policy/runtime-spec.ts';
import { parseSecurityOptions } from '../../policy/security-options.ts';
import { rlimitsOf } from '../../policy/ulimits.ts';
import { rootOf } from '../../policy/user-remap.ts';
import { lookUpUser } from '../../policy/user-spec.ts';
import type { RuntimeProcess } from '../../spec/oci/runtime.ts';
import { KILLED_EXIT_CODE, UNKNOWN_EXIT_CODE } from '../containers/end.ts';
import { containerEvent } from '../containers/events.ts';
import { shownUsers } from '../containers/remap.ts';
import { hasProcess, killProcess, runtimeOf } from '../containers/runtime.ts';
import type { Engine } from '../engine.ts';
import { NO_LOG } from '../logs/shim-log.ts';
import type { Exec } from './exec.ts';
import { clearExec, execFolder, forgetExec, saveExec } from './exec-records.ts';

/** The runs of execs: a shim of its own for each, so that it too outlives the daemon. */

/** Starts the shim of an exec; clients can attach to it before {@link startExec}. */
export async function launchExec(
  engine: Engine,
  exec: Exec,
  consoleSize: readonly [rows: number, columns: number] | undefined,
): Promise<Shim> {
  const { container, config } = exec;
  const directory = execFolder(engine, container, exec.id);
  mkdirSync(directory, { recursive: true, mode: 0o700 });
  const processFile = path.join(directory, 'process.json');
  writeFileSync(processFile, JSON.stringify(processOf(engine, exec, consoleSize)), { mode: 0o600 });
  const users = shownUsers(container);
  const shim = await engine.shims.launch({
    directory,
    containerId: container.id,
    runtime: runtimeOf(engine, container),
    process: { kind: 'exec', processFile },
    terminal: config.Tty,
    openStdin: config.AttachStdin,
    stdinOnce: true,
    owner: users === undefined ? undefined : rootOf(users),
    log: NO_LOG,
    ...(consoleSize === undefined ? {} : { consoleSize }),
  });
  exec.shim = shim;
  return shim;
}

function processOf(
  engine: Engine,
  exec: Exec,
  consoleSize: readonly [rows: number, columns: number] | undefined,
): RuntimeProcess {
  const { config, container } = exec;
  const { config: own, hostConfig } = container.document;
  const rootfs = engine.layers.mountPointOf(container.id);
  const read = (file: string): string =>
    readInRoot(engine.sys, rootfs, file, LIMITS.accountFileBytesMax);
  const user = lookUpUser(config.User || own.User, hostConfig.GroupAdd ?? [], {
    passwd: read('/etc/passwd'),
    group: read('/etc/group'),
  });
  const capabilities = containerCapabilities({
    add: hostConfig.CapAdd ?? [],
    drop: hostConfig.CapDrop ?? [],
    privileged: hostConfig.Privileged || config.Privileged,
    available: engine.host.runtime.capabilities,
  });
  const environment = containerEnvironment({
    hostname: own.Hostname,
    home: user.home,
    tty: config.Tty,
    own: own.Env,
    idVariable: hostConfig.ContainerIDEnv,
    id: container.id,
  });
  const security = parseSecurityOptions(hostConfig.SecurityOpt ?? []);
  const [height, width] = consoleSize ?? [];
  const rlimits = rlimitsOf(hostConfig.Ulimits ?? [], engine.config().defaultUlimits);
  return {
    terminal: config.Tty,
    ...(height === undefined || width === undefined ? {} : { consoleSize: { height, width } }),
    user: { uid: user.uid, gid: user.gid, additionalGids: user.additionalGids },
    args: config.Cmd,
    env: overrideEnvironment(environment, config.Env ?? []),
    cwd: config.WorkingDir || own.WorkingDir || '/',
    capabilities: processCapabilities(capabilities, user.uid),
    ...(rlimits.length === 0 ? {} : { rlimits }),
    noNewPrivileges: security.noNewPrivileges ?? engine.config().noNewPrivileges,
  };
}

/** Runs the process. @throws in Docker's words; the exec has ended with 126, 127 or 128 then */
export async function startExec(engine: Engine, exec: Exec, shim: Shim): Promise<void> {
  await startProcess(engine, exec, shim);
  containerEvent(engine, exec.container, `exec_start: ${commandLine(exec)}`, { execID: exec.id });
  superviseExec(engine, exec, shim);
}

/** Waits for the end of an exec that runs, and tells of it. */
export function superviseExec(engine: Engine, exec: Exec, shim: Shim): void {
  engine.tasks.spawn(`supervise exec ${exec.id}`, async (signal) => {
    const exitCode = await unlessAborted(exitCodeOf(engine, exec, shim), signal);
    if (exitCode === undefined) return;
    endExec(engine, exec, exitCode);
    containerEvent(engine, exec.container, 'exec_die', {
      execID: exec.id,
      exitCode: String(exitCode),
    });
  });
}

/** Runs a process of the engine's own, which no event tells of; resolves with its exit code. */
export async function runQuietly(engine: Engine, exec: Exec, shim: Shim): Promise<number> {
  await startProcess(engine, exec, shim);
  const exitCode = await exitCodeOf(engine, exec, shim);
  endExec(engine, exec, exitCode);
  return exitCode;
}

async function startProcess(engine: Engine, exec: Exec, shim: Shim): Promise<void> {
  try {
    exec.pid = (await shim.start()).pid;
  } catch (cause) {
    throw endFailed(engine, exec, shim, cause);
  }
  exec.state = 'running';
}

async function exitCodeOf(engine: Engine, exec: Exec, shim: Shim): Promise<number> {
  try {
    return (await shim.exited).exitCode;
  } catch (error) {
    engine.log.error('a shim died', { exec: exec.id, error: messageOf(error) });
    return exitCodeWithoutShim(engine, exec);
  }
}

/** Kills what an exec's shim that died left running; gives the exit code that comes of it. */
export function exitCodeWithoutShim(engine: Engine, exec: Pick<Exec, 'container' | 'pid'>): number {
  const wasAlive = killProcess(engine, exec.container, exec.pid);
  return wasAlive ? KILLED_EXIT_CODE : UNKNOWN_EXIT_CODE;
}

/** Sends a signal to an exec's process, if it still runs. */
export function killExec(engine: Engine, exec: Exec, signal: number): void {
  if (exec.state !== 'running') return;
  const process = openProcess(engine.sys, exec.pid);
  // Asked when it is held: it may have ended unheard, and its number mean another process by now.
  if (hasProcess(engine, exec.container, exec.pid)) process.signal(signal);
  process.close();
}

function endFailed(engine: Engine, exec: Exec, shim: Shim, cause: unknown): EngineError {
  const command = exec.config.Cmd[0] ?? '';
  const { container } = exec;
  const { message, exitCode, isRefusal } = explainStartFailure(messageOf(cause), command);
  shim.detach();
  exec.shim = undefined;
  settle(engine, exec, exitCode);
  // Ended or paused between the question whether it runs and the runtime's look at it.
  if (container.run === undefined) return conflict(`container ${container.id} is not running`);
  if (container.run.paused) {
    return conflict(`Container ${container.id} is paused, unpause the container before exec`);
  }
  const text = `OCI runtime exec failed: exec failed: ${message}: unknown`;
  return isRefusal ? invalidArgument(text, { cause }) : internal(text, { cause });
}

/** Lets go of an exec that has ended, or will never run; its record stays while its container does. */
export function endExec(engine: Engine, exec: Exec, exitCode: number): void {
  exec.shim?.detach();
  exec.shim = undefined;
  settle(engine, exec, exitCode);
}

function settle(engine: Engine, exec: Exec, exitCode: number): void {
  exec.state = 'ended';
  exec.exitCode = exitCode;
  // Its container may have been removed meanwhile, and its folder with it.
  if (exec.isProbe || engine.containers.execs.find(exec.id) !== exec) {
    forgetExec(engine, exec);
    return;
  }
  saveExec(engine, exec);
  clearExec(engine, exec);
}

/** The command as events show it. */
export function commandLine(exec: Exec): string {
  return exec.config.Cmd.join(' ');
}
