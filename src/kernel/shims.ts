import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, openSync, readFileSync, writeFileSync } from 'node:fs';
import { createConnection, type Socket } from 'node:net';
import path from 'node:path';
import { type Deferred, deferred } from '../base/async.ts';
import {
  assert,
  dataLoss,
  EngineError,
  errnoOf,
  internal,
  messageOf,
  unavailable,
} from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { readLog } from './log-reader.ts';
import { SEALED_ENVIRONMENT } from './sealed-binary.ts';
import type { ExitStatus, Shim, ShimSpec, ShimStreams, Shims } from './shim.ts';
import {
  attachLine,
  decodeExit,
  decodeShimEvent,
  encodeShimSpec,
  lastRuntimeError,
  type ShimEvent,
} from './shim-protocol.ts';

const SOCKET = 'shim.sock';
/** struct sockaddr_un's sun_path, with its final NUL. */
const SOCKET_PATH_BYTES_MAX = 107;

export type ShimsOptions = {
  /** Path of the shim program. */
  readonly program: string;
  /** Environment of shims and, through them, of the runtime. */
  readonly env: Readonly<Record<string, string>>;
};

/** Shims as processes of `native/shim`. */
export function openShims(options: ShimsOptions): Shims {
  return {
    launch: (spec) => launch(options, spec),
    reconnect,
    readLog: (request) => readLog({ path: options.program, env: options.env }, request),
  };
}

type Hello = Extract<ShimEvent, { type: 'hello' }>;
type Started = { readonly pid: number; readonly startedAtNs: bigint };

/** One control connection and what came over it. */
class ShimConnection implements Shim {
  readonly hello: Deferred<Hello> = deferred<Hello>();
  readonly started: Deferred<Started> = deferred<Started>();
  readonly #exited: Deferred<ExitStatus> = deferred<ExitStatus>();
  readonly #directory: string;
  readonly #socket: Socket;
  /** Orders that were sent and not answered, oldest first. */
  readonly #orders: Deferred<void>[] = [];
  #startSent = false;
  #pid = 0;
  #text = '';

  constructor(directory: string, socket: Socket) {
    this.#directory = directory;
    this.#socket = socket;
    // Not everybody who holds a shim asks for each of these.
    for (const each of [this.hello, this.started, this.#exited]) {
      each.promise.catch(() => undefined);
    }
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#receive(text));
    socket.on('error', () => undefined); // 'close' follows, and says all there is to say
    socket.once('close', () => this.#lost());
  }

  get pid(): number {
    return this.#pid;
  }

  get exited(): Promise<ExitStatus> {
    return this.#exited.promise;
  }

  start(): Promise<Started> {
    if (!this.#startSent) this.#socket.write('start\n');
    this.#startSent = true;
    return this.started.promise;
  }

  async attach(streams: ShimStreams): Promise<Socket> {
    const socket = await connect(this.#directory).catch((cause: unknown) => {
      throw unavailable('cannot attach: the process has ended', { cause });
    });
    socket.on('error', () => undefined); // the process has ended; 'close' follows
    socket.write(attachLine(streams));
    // One byte says that output is sent from now on.
    const attached = await new Promise<boolean>((resolve) => {
      socket.once('readable', () => resolve(socket.read(1) !== null));
      socket.once('close', () => resolve(false));
    });
    if (!attached) throw unavailable('cannot attach: the process has ended');
    return socket;
  }

  async resize({ rows, columns }: { rows: number; columns: number }): Promise<void> {
    const order = deferred();
    this.#orders.push(order);
    this.#socket.write(`resize ${rows} ${columns}\n`);
    if (this.#socket.destroyed) this.#refuse('the process has ended');
    await order.promise;
  }

  detach(): void {
    this.#socket.removeAllListeners('close');
    this.#socket.destroy();
    this.#refuse('the daemon let go of the shim');
  }

  #receive(text: string): void {
    const lines = (this.#text + text).split('\n');
    this.#text = lines.pop() ?? '';
    try {
      for (const line of lines) this.#take(decodeShimEvent(line));
    } catch (cause) {
      this.#fail(dataLoss(`cannot understand the shim: ${messageOf(cause)}`, { cause }));
      this.#socket.destroy();
    }
  }

  #take(event: ShimEvent): void {
    switch (event.type) {
      case 'hello':
        this.#pid = event.shim;
        if (event.state === 'running') this.started.resolve(event);
        this.hello.resolve(event);
        break;
      case 'started':
        this.started.resolve(event);
        break;
      case 'failed':
        this.#fail(this.#startError(event.status, event.reason));
        break;
      case 'exited':
        this.#exited.resolve(event.status);
        break;
      case 'resized':
        this.#orders.shift()?.resolve();
        break;
      case 'refused':
        this.#orders.shift()?.reject(internal(`cannot resize: ${event.reason}`));
        break;
    }
  }

  /** In the runtime's own words. */
  #startError(status: number, reason: string): EngineError {
    const log = readIfThere(path.join(this.#directory, 'runtime.log')) ?? '';
    const message = lastRuntimeError(log) ?? reason.trim();
    return internal(message === '' ? `the runtime exited with ${status}` : message, {
      detail: { exitStatus: status },
    });
  }

  #fail(error: EngineError): void {
    this.hello.reject(error);
    this.started.reject(error);
    this.#exited.reject(error);
    this.#refuse(error.message);
  }

  #refuse(why: string): void {
    for (const order of this.#orders.splice(0)) order.reject(unavailable(`cannot resize: ${why}`));
  }

  /** The shim has closed the connection, or is gone. */
  #lost(): void {
    // Promises that are settled stay as they are.
    try {
      const status = findExit(this.#directory);
      if (status !== undefined) this.#exited.resolve(status);
      this.#fail(dataLoss('the shim ended without leaving the exit status of its process'));
    } catch (cause) {
      this.#fail(dataLoss(`cannot read the exit status: ${messageOf(cause)}`, { cause }));
    }
  }
}

async function launch(options: ShimsOptions, spec: ShimSpec): Promise<Shim> {
  writeFileSync(path.join(spec.directory, 'spec'), encodeShimSpec(spec), { mode: 0o600 });
  const child = spawn(options.program, ['run', spec.directory], {
    env: { ...options.env, ...SEALED_ENVIRONMENT },
    stdio: ['ignore', 'ignore', 'ignore', 'pipe'],
  });
  const socket = child.stdio[3] as Socket | null | undefined;
  const failure = deferred<never>();
  child.once('error', (cause) => {
    failure.reject(internal(`cannot start the shim: ${messageOf(cause)}`, { cause }));
  });
  if (child.pid === undefined || socket === undefined || socket === null) {
    return await failure.promise;
  }
  // The child goes into the background at once; what it leaves is reaped, nobody waits for it.
  child.unref();
  const shim = new ShimConnection(spec.directory, socket);
  await shim.hello.promise;
  return shim;
}

async function reconnect(directory: string): ReturnType<Shims['reconnect']> {
  let socket: Socket;
  try {
    socket = await connect(directory);
  } catch (error) {
    if (!['ENOENT', 'ECONNREFUSED'].includes(errnoOf(error) ?? '')) throw error;
    return withoutShim(directory);
  }
  const shim = new ShimConnection(directory, socket);
  try {
    socket.write('control\n');
    const { state, ranNs } = await shim.hello.promise;
    // Whoever asked for this start is gone.
    if (state === 'starting') socket.write(`hurry ${LIMITS.runtimeRejoinMs}\n`);
    if (state === 'starting' || state === 'running') {
      const { pid } = await shim.started.promise;
      return { state: 'running', shim, pid, ranNs };
    }
  } catch (error) {
    assert(error instanceof EngineError, messageOf(error));
  }
  // Nobody gives an order to one that was never started: without us it goes away. One whose
  // launcher gave the order before it died has read it by now, and does not say `created`.
  shim.detach();
  return withoutShim(directory);
}

/** The runtime writes the pid before the process runs, so there is none without that file. */
function withoutShim(directory: string): Awaited<ReturnType<Shims['reconnect']>> {
  const status = findExit(directory);
  if (status !== undefined) return { state: 'exited', status };
  const pid = readIfThere(path.join(directory, 'pid'));
  return pid === undefined ? { state: 'unstarted' } : { state: 'lost', pid: Number(pid) };
}

function readIfThere(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    if (errnoOf(error) === 'ENOENT') return undefined;
    throw error;
  }
}

function findExit(directory: string): ExitStatus | undefined {
  const text = readIfThere(path.join(directory, 'exit'));
  return text === undefined ? undefined : decodeExit(text);
}

/** A connection to the shim's socket, whatever the length of its path. */
async function connect(directory: string): Promise<Socket> {
  const direct = path.join(directory, SOCKET);
  if (Buffer.byteLength(direct) <= SOCKET_PATH_BYTES_MAX) return await connectTo(direct);
  const fd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
  try {
    return await connectTo(`/proc/self/fd/${fd}/${SOCKET}`);
  } finally {
    closeSync(fd);
  }
}

async function connectTo(address: string): Promise<Socket> {
  const socket = createConnection(address);
  await once(socket, 'connect');
  return socket;
}
