import type { Socket } from 'node:net';
import { messageOf } from '../../base/errors.ts';
import { type ExecId, newId } from '../../base/id.ts';
import { LIMITS } from '../../base/limits.ts';
import { StdcopyReader } from '../../formats/stdcopy.ts';
import {
  afterProbe,
  type HealthPlan,
  healthPlan,
  probeDelayMs,
  RESTART_UNHEALTHY_LABEL,
} from '../../policy/health.ts';
import { SIGKILL } from '../../policy/signals.ts';
import { execConfig } from '../../spec/docker/container.ts';
import type { Engine } from '../engine.ts';
import type { Exec } from '../execs/exec.ts';
import { killExec, launchExec, runQuietly } from '../execs/run-exec.ts';
import type { Container, HealthResult, Run } from './container.ts';
import { containerEvent } from './events.ts';

/** Results that are kept for inspect. */
const RESULTS_KEPT = 5;
/** Docker's code of a probe that took too long or could not run. */
const NO_EXIT_CODE = -1;

/**
 * Probes a container's health while it runs. All of it lives in memory: a probe writes nothing to
 * flash.
 * @param restart what is done when it becomes unhealthy and its label asks for it
 */
export function watchHealth(
  engine: Engine,
  container: Container,
  run: Run,
  restart: () => Promise<void>,
): void {
  const plan = healthPlan(container.document.config);
  if (plan === undefined) return;
  container.health = { status: 'starting', failingStreak: 0, log: [] };
  const control = new AbortController();
  void run.over.promise.then(() => control.abort());
  const { ageMs } = run;
  engine.tasks.spawn(`health of ${container.id}`, async (stopping) => {
    const signal = AbortSignal.any([stopping, control.signal]);
    while (await nextProbe(engine, container, run, { plan, ageMs, signal })) {
      if (run.paused) continue;
      const result = await probe(engine, container, plan);
      if (container.run === run) take(engine, container, { plan, ageMs, result, restart });
    }
  });
}

/** Waits until it is time; false when there is nothing to probe any more. */
async function nextProbe(
  engine: Engine,
  container: Container,
  run: Run,
  how: { readonly plan: HealthPlan; readonly ageMs: () => number; readonly signal: AbortSignal },
): Promise<boolean> {
  const { plan, ageMs, signal } = how;
  const { health } = container;
  if (health === undefined || container.run !== run) return false;
  const delay = probeDelayMs(health.status, ageMs(), plan);
  try {
    await engine.clock.sleep(delay, { signal, unref: true });
  } catch (error) {
    if (signal.aborted) return false;
    throw error;
  }
  return container.run === run;
}

/** Records a result, and tells of a change. */
function take(
  engine: Engine,
  container: Container,
  probed: {
    readonly plan: HealthPlan;
    readonly ageMs: () => number;
    readonly result: HealthResult;
    readonly restart: () => Promise<void>;
  },
): void {
  const { plan, ageMs, result, restart } = probed;
  const { health } = container;
  if (health === undefined) return;
  health.log.push(result);
  if (health.log.length > RESULTS_KEPT) health.log.shift();
  const before = health.status;
  const after = afterProbe(health, { exitCode: result.exitCode, ageMs: ageMs() }, plan);
  health.status = after.status;
  health.failingStreak = after.failingStreak;
  if (after.status === before) return;
  containerEvent(engine, container, `health_status: ${after.status}`);
  const { Labels } = container.document.config;
  if (after.status !== 'unhealthy' || Labels[RESTART_UNHEALTHY_LABEL] !== 'true') return;
  engine.log.warn('restarting a container that became unhealthy', { container: container.id });
  engine.tasks.spawn(`restart unhealthy ${container.id}`, restart);
}

async function probe(
  engine: Engine,
  container: Container,
  plan: HealthPlan,
): Promise<HealthResult> {
  const startNs = engine.clock.nowNs();
  const exec: Exec = {
    id: newId(engine.random) as ExecId,
    container,
    isProbe: true,
    config: {
      ...execConfig.zero(),
      AttachStdout: true,
      AttachStderr: true,
      Cmd: [...plan.command],
    },
    state: 'starting',
    shim: undefined,
    pid: 0,
    exitCode: undefined,
  };
  try {
    const { exitCode, output } = await runProbe(engine, exec, plan.timeoutMs);
    return { startNs, endNs: engine.clock.nowNs(), exitCode, output };
  } catch (error) {
    const output = messageOf(error);
    return { startNs, endNs: engine.clock.nowNs(), exitCode: NO_EXIT_CODE, output };
  }
}

async function runProbe(
  engine: Engine,
  exec: Exec,
  timeoutMs: number,
): Promise<{ exitCode: number; output: string }> {
  const shim = await launchExec(engine, exec, undefined);
  const socket = await shim
    .attach({ stdin: false, stdout: true, stderr: true })
    .catch((error: unknown) => {
      // The container went, and the shim's folder with it. Without us the shim goes as well.
      shim.detach();
      throw error;
    });
  const output = collect(socket);
  const exited = runQuietly(engine, exec, shim);
  const control = new AbortController();
  const late = engine.clock.sleep(timeoutMs, { signal: control.signal, unref: true }).then(
    () => 'late' as const,
    () => 'aborted' as const,
  );
  const first = await Promise.race([exited, late]);
  control.abort();
  if (typeof first === 'number') return { exitCode: first, output: await output };
  killExec(engine, exec, SIGKILL);
  await exited;
  socket.destroy();
  return {
    exitCode: NO_EXIT_CODE,
    output: `Health check exceeded timeout (${timeoutMs / 1000}s)`,
  };
}

/** The first bytes of both streams, without their framing; the rest is read and dropped. */
async function collect(socket: Socket): Promise<string> {
  const reader = new StdcopyReader();
  let output = Buffer.alloc(0);
  socket.on('data', (chunk: Buffer) => {
    for (const { bytes } of reader.push(chunk)) {
      const room = LIMITS.healthOutputBytesMax - output.length;
      if (room > 0) output = Buffer.concat([output, bytes.subarray(0, room)]);
    }
  });
  await new Promise<void>((resolve) => socket.once('close', () => resolve()));
  return output.toString('utf8');
}
