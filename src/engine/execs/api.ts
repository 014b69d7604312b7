import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { Latch } from '../../base/async.ts';
import { conflict, invalidArgument, notFound } from '../../base/errors.ts';
import { type ExecId, newId } from '../../base/id.ts';
import type { Shim } from '../../kernel/shim.ts';
import { parseDetachKeys } from '../../policy/detach-keys.ts';
import type { ExecConfig, ExecStart } from '../../spec/docker/container.ts';
import type { ExecInspect, IdResult } from '../../spec/docker/container-view.ts';
import type { Call, HijackCall } from '../call.ts';
import { resizeTerminal, terminalSize } from '../containers/attach.ts';
import { bridge } from '../containers/bridge.ts';
import type { Container } from '../containers/container.ts';
import { containerEvent } from '../containers/events.ts';
import type { Engine } from '../engine.ts';
import type { Exec } from './exec.ts';
import { forgetExec, saveExec } from './exec-records.ts';
import { commandLine, endExec, launchExec, startExec } from './run-exec.ts';

/** The exec calls of the API. Texts are Docker's. */

function getExec(engine: Engine, id: string): Exec {
  const exec = engine.containers.execs.find(id);
  if (exec === undefined) throw notFound(`No such exec instance: ${id}`);
  return exec;
}

function checkRunning(container: Container): void {
  const { id, status, run } = container;
  if (run === undefined) {
    throw conflict(
      status === 'restarting'
        ? `Container ${id} is restarting, wait until the container is running`
        : `container ${id} is not running`,
    );
  }
  if (run.paused) throw conflict(`Container ${id} is paused, unpause the container before exec`);
}

/** @throws notFound, conflict when the container does not run, invalidArgument */
export async function execCreate(
  engine: Engine,
  args: { readonly params: { readonly id: string }; readonly body: ExecConfig },
): Promise<IdResult> {
  const container = engine.containers.get(args.params.id);
  const config = args.body;
  if (config.Cmd.length === 0) throw invalidArgument('No exec command specified');
  parseDetachKeys(config.DetachKeys);
  checkRunning(container);
  const exec: Exec = {
    id: newId(engine.random) as ExecId,
    container,
    isProbe: false,
    config,
    state: 'created',
    shim: undefined,
    pid: 0,
    exitCode: undefined,
  };
  saveExec(engine, exec);
  for (const old of engine.containers.execs.add(exec)) forgetExec(engine, old);
  containerEvent(engine, container, `exec_create: ${commandLine(exec)}`, { execID: exec.id });
  return { Id: exec.id };
}

/**
 * Runs an exec, its streams on the client's connection or detached. A failure after the connection
 * was taken is written into it, as Docker does; the exit code tells it apart.
 * @throws notFound, conflict
 */
export async function execStart(
  engine: Engine,
  args: { readonly params: { readonly id: string }; readonly body: ExecStart },
  call: HijackCall,
): Promise<void> {
  const exec = getExec(engine, args.params.id);
  const { Detach, ConsoleSize } = args.body;
  checkRunning(exec.container);
  if (exec.state !== 'created') {
    throw conflict(
      exec.state === 'ended'
        ? `exec command ${exec.id} has already run`
        : `exec command ${exec.id} is already running`,
    );
  }
  exec.state = 'starting';
  const begun = new Latch<void>();
  exec.begun = begun;
  const joined = await begin(engine, exec, { detach: Detach, size: ConsoleSize }, call).finally(
    () => begun.open(),
  );
  if (joined === undefined) return;
  const { AttachStdin, DetachKeys, Tty } = exec.config;
  const keys = Tty && AttachStdin ? parseDetachKeys(DetachKeys) : undefined;
  const why = await bridge(joined.client, joined.socket, keys);
  if (why === 'detached') {
    containerEvent(engine, exec.container, 'exec_detach', { execID: exec.id });
  }
}

/** The process runs, and its streams and the client's are to be joined unless it is detached. */
async function begin(
  engine: Engine,
  exec: Exec,
  how: { readonly detach: boolean; readonly size: readonly number[] | null },
  call: HijackCall,
): Promise<{ readonly client: Duplex; readonly socket: Socket } | undefined> {
  const [rows, columns] = how.size ?? exec.config.ConsoleSize ?? [];
  const size = rows === undefined || columns === undefined ? undefined : ([rows, columns] as const);
  if (how.detach) {
    const { shim } = await launch(engine, exec, size);
    await startExec(engine, exec, shim);
    return undefined;
  }
  const client = await call.hijack({ multiplexed: !exec.config.Tty }).catch((error: unknown) => {
    exec.state = 'created';
    throw error;
  });
  client.on('error', () => undefined); // 'close' follows
  const { AttachStdin, AttachStdout, AttachStderr } = exec.config;
  const streams = { stdin: AttachStdin, stdout: AttachStdout, stderr: AttachStderr };
  const { shim, socket } = await launch(engine, exec, size, (made) => made.attach(streams));
  try {
    await startExec(engine, exec, shim);
  } catch (error) {
    socket.destroy();
    throw error;
  }
  return { client, socket };
}

/** Exit code of an exec that could not be run. */
const CANNOT_RUN = 126;

/** Starts the shim, and connects with it before its process can say a word. */
async function launch<T = undefined>(
  engine: Engine,
  exec: Exec,
  size: readonly [number, number] | undefined,
  connect: (shim: Shim) => Promise<T> = async () => undefined as T,
): Promise<{ readonly shim: Shim; readonly socket: T }> {
  try {
    const shim = await launchExec(engine, exec, size);
    return { shim, socket: await connect(shim) };
  } catch (error) {
    // Without us a shim that was not started goes as well.
    endExec(engine, exec, CANNOT_RUN);
    throw error;
  }
}

/** Clients that were told that a start goes on send the size before the process is there. */
const START_WAIT_MS = 10_000;

/**
 * Sets the size of an exec's terminal, of one that is about to run when it runs.
 * @throws notFound, conflict, invalidArgument
 */
export async function execResize(
  engine: Engine,
  args: {
    readonly params: { readonly id: string };
    readonly query: { readonly h: number | undefined; readonly w: number | undefined };
  },
  call: Call,
): Promise<void> {
  const exec = getExec(engine, args.params.id);
  const size = terminalSize(args.query);
  if (exec.state === 'starting') {
    const enough = AbortSignal.any([call.signal, AbortSignal.timeout(START_WAIT_MS)]);
    await exec.begun?.wait(enough).catch(() => undefined); // it is looked at next
  }
  const over = `exec command ${exec.id} is not running`;
  if (exec.shim === undefined) throw conflict(over);
  if (exec.config.Tty) await resizeTerminal(exec.shim, size, over);
}

/** @throws notFound */
export async function execInspect(
  engine: Engine,
  args: { readonly params: { readonly id: string } },
): Promise<ExecInspect> {
  const exec = getExec(engine, args.params.id);
  const { config } = exec;
  const [entrypoint = '', ...rest] = config.Cmd;
  return {
    ID: exec.id,
    Running: exec.state === 'running',
    ExitCode: exec.exitCode ?? null,
    ProcessConfig: {
      tty: config.Tty,
      entrypoint,
      arguments: rest,
      privileged: config.Privileged,
      ...(config.User === '' ? {} : { user: config.User }),
    },
    OpenStdin: config.AttachStdin,
    OpenStderr: config.AttachStderr,
    OpenStdout: config.AttachStdout,
    CanRemove: exec.state === 'ended',
    ContainerID: exec.container.id,
    DetachKeys:
      config.DetachKeys === '' ? '' : parseDetachKeys(config.DetachKeys).toString('base64'),
    Pid: exec.pid,
  };
}
