import { execFile } from 'node:child_process';
import { rmSync } from 'node:fs';
import path from 'node:path';
import { promisify } from 'node:util';
import { invalidArgument } from '../../base/errors.ts';
import { cgroupPids, isFrozen, removeCgroup, setFrozen } from '../../kernel/cgroup.ts';
import { type CgroupPlace, cgroupPlace } from '../../policy/cgroup-path.ts';
import { BARE_RUNTIME } from '../../policy/host-config.ts';
import type { Engine } from '../engine.ts';
import type { Container } from './container.ts';
import { cgroupDriver } from './host-config-facts.ts';
import { runtimeRoot } from './paths.ts';

/** A runtime as it is called for one container. */
export type RuntimeCommand = {
  readonly path: string;
  /** Before the subcommand. */
  readonly args: readonly string[];
  /** Where it keeps its state. */
  readonly root: string;
};

/** @throws invalidArgument when the daemon's configuration has lost the runtime */
export function runtimeOf(engine: Engine, container: Container): RuntimeCommand {
  const config = engine.config();
  const { Runtime } = container.document.hostConfig;
  const name = Runtime === BARE_RUNTIME || Runtime === '' ? config.defaultRuntime : Runtime;
  const runtime = config.runtimes[name];
  if (runtime === undefined) throw invalidArgument(`unknown or invalid runtime name: ${name}`);
  const root = runtimeRoot(engine.execRoot, name);
  const systemd = cgroupDriver(engine) === 'systemd' ? ['--systemd-cgroup'] : [];
  const executable = engine.runtimeCache.executable(runtime.path);
  return { path: executable, args: [...runtime.args, '--root', root, ...systemd], root };
}

/** The container's cgroup. */
export function cgroupOf(engine: Engine, container: Container): CgroupPlace {
  return cgroupPlace({
    driver: cgroupDriver(engine),
    parent: container.document.hostConfig.CgroupParent || engine.config().cgroupParent,
    id: container.id,
  });
}

/** For calls that a runtime answers at once: one that hangs must not hold its container for ever. */
export const RUNTIME_LIMITS = { timeout: 30_000, killSignal: 'SIGKILL' } as const;

const CGROUP_POLL_MS = 5;
const CGROUP_WAIT_MS = 5_000;

/**
 * Takes away what the runtime made for a run whose first process has ended: processes that outlived
 * it (they can when the PID namespace is shared), the cgroup, the runtime's state. Without a
 * process of its own, except for runtimes that keep more than a folder.
 */
export async function removeRuntimeState(engine: Engine, container: Container): Promise<void> {
  const { cgroups } = engine.host;
  const { folder } = cgroupOf(engine, container);
  const endMs = engine.clock.monotonicMs() + CGROUP_WAIT_MS;
  while (!removeCgroup(cgroups, folder)) {
    if (engine.clock.monotonicMs() > endMs) {
      engine.log.warn('processes do not end, their cgroup stays', { cgroup: folder });
      break;
    }
    for (const pid of cgroupPids(cgroups, folder)) killIfThere(pid);
    await engine.clock.sleep(CGROUP_POLL_MS);
  }
  const runtime = runtimeOf(engine, container);
  if (/^(?:crun|runc|youki)$/.test(path.basename(runtime.path))) {
    rmSync(path.join(runtime.root, container.id), { recursive: true, force: true });
    return;
  }
  await promisify(execFile)(
    runtime.path,
    [...runtime.args, 'delete', '--force', container.id],
    RUNTIME_LIMITS,
  );
}

/** True when a process is one of a container's now. */
export function hasProcess(engine: Engine, container: Container, pid: number): boolean {
  return cgroupPids(engine.host.cgroups, cgroupOf(engine, container).folder).includes(pid);
}

/** Kills one process of a container. False when the container has no such process any more. */
export function killProcess(engine: Engine, container: Container, pid: number): boolean {
  // The number may have come to mean another process.
  if (!hasProcess(engine, container, pid)) return false;
  killIfThere(pid);
  return true;
}

/**
 * Kills every process of a container, frozen ones too, and waits until they are gone. False when
 * there was none.
 */
export async function killProcesses(engine: Engine, container: Container): Promise<boolean> {
  const { cgroups } = engine.host;
  const { folder } = cgroupOf(engine, container);
  const sleep = (ms: number): Promise<void> => engine.clock.sleep(ms);
  let pids = cgroupPids(cgroups, folder);
  const hadSome = pids.length > 0;
  for (let i = 0; i < CGROUP_WAIT_MS / CGROUP_POLL_MS && pids.length > 0; i += 1) {
    for (const pid of pids) killIfThere(pid);
    // A frozen process dies when it is thawed.
    if (isFrozen(cgroups, folder)) await setFrozen(cgroups, folder, false, sleep);
    await sleep(CGROUP_POLL_MS);
    pids = cgroupPids(cgroups, folder);
  }
  return hadSome;
}

function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error;
  }
}
