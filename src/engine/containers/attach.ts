import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { deferred } from '../../base/async.ts';
import { conflict, invalidArgument, isEngineError } from '../../base/errors.ts';
import type { Shim } from '../../kernel/shim.ts';
import { parseDetachKeys } from '../../policy/detach-keys.ts';
import type { HijackCall } from '../call.ts';
import type { Engine } from '../engine.ts';
import { openLogs } from '../logs/logs.ts';
import { bridge, endClient } from './bridge.ts';
import type { Container, EarlyClient } from './container.ts';
import { containerEvent } from './events.ts';
import { logSourceOf } from './logs.ts';

export type ContainerAttachArgs = {
  readonly params: { readonly id: string };
  readonly query: {
    readonly detachKeys: string;
    readonly logs: boolean;
    readonly stream: boolean;
    readonly stdin: boolean;
    readonly stdout: boolean;
    readonly stderr: boolean;
  };
};

/**
 * Connects a client with a container's streams: what is in its log already, what it writes from now
 * on, or both. A client of a container that does not run yet is connected before it starts.
 * @throws notFound; conflict for a paused or restarting container; invalidArgument
 */
export async function containerAttach(
  engine: Engine,
  args: ContainerAttachArgs,
  call: HijackCall,
): Promise<void> {
  const { query } = args;
  const container = engine.containers.get(args.params.id);
  const { config } = container.document;
  const keys = parseDetachKeys(query.detachKeys);
  checkAttachable(container);
  if (query.logs && !query.stream && !query.stdout && !query.stderr) {
    throw invalidArgument('either the stream or the logs parameter must be true');
  }
  const streams = {
    stdin: query.stdin && config.OpenStdin,
    stdout: query.stdout,
    stderr: query.stderr,
  };
  // Registered before the answer: a client that starts the container upon it misses nothing.
  const pending = query.stream ? connection(container, streams) : undefined;
  try {
    const client = await call.hijack({ multiplexed: !config.Tty });
    containerEvent(engine, container, 'attach');
    if (pending === undefined) {
      if (query.logs) await sendLog(engine, container, query, client, call);
      endClient(client);
      return;
    }
    client.on('error', () => undefined); // 'close' follows
    client.once('close', pending.cancel);
    if (client.destroyed) pending.cancel(); // and there will be no 'close'
    const shim = await pending.socket;
    if (shim === undefined) {
      endClient(client);
      return;
    }
    if (query.logs) await sendLog(engine, container, query, client, call);
    if (client.destroyed) {
      shim.destroy();
      return;
    }
    const usesKeys = config.Tty && streams.stdin;
    const why = await bridge(client, shim, usesKeys ? keys : undefined);
    if (why === 'detached') containerEvent(engine, container, 'detach');
  } catch (error) {
    // The client has gone before its connection was joined with the shim's.
    pending?.cancel();
    const shim = await pending?.socket.catch(() => undefined);
    shim?.destroy();
    throw error;
  }
}

/**
 * What the container wrote so far. Its connection to the shim is there by now, so that nothing is
 * missed between the two; a line that was written meanwhile may come twice.
 */
async function sendLog(
  engine: Engine,
  container: Container,
  query: ContainerAttachArgs['query'],
  client: Duplex,
  call: HijackCall,
): Promise<void> {
  const all = { since: '', until: '', tail: '', follow: false, timestamps: false, details: false };
  const { stdout, stderr } = query;
  const source = logSourceOf(engine, container);
  const { body } = await openLogs(engine.shims, source, { ...all, stdout, stderr }, call);
  await pipeline(body, client, { end: false });
}

function checkAttachable(container: Container): void {
  const { id, status } = container;
  if (status === 'paused') {
    throw conflict(`Container ${id} is paused, unpause the container before attach`);
  }
  if (status === 'restarting') {
    throw conflict(`Container ${id} is restarting, wait until the container is running`);
  }
}

/** A connection to the shim: at once when the container runs, else when it starts. */
function connection(
  container: Container,
  streams: EarlyClient['streams'],
): { readonly socket: Promise<Socket | undefined>; readonly cancel: () => void } {
  if (container.run !== undefined) {
    const socket = container.run.shim.attach(streams);
    // Looked at only after the answer to the client.
    socket.catch(() => undefined);
    return { socket, cancel: () => undefined };
  }
  const { promise, resolve } = deferred<Socket | undefined>();
  const early: EarlyClient = {
    streams,
    connect: resolve,
    cancel: () => resolve(undefined),
  };
  container.earlyClients.add(early);
  const cancel = (): void => {
    if (container.earlyClients.delete(early)) resolve(undefined);
  };
  return { socket: promise, cancel };
}

/** Sets the size of a running container's terminal. @throws conflict when it does not run */
export async function containerResize(
  engine: Engine,
  args: {
    readonly params: { readonly id: string };
    readonly query: { readonly h: number | undefined; readonly w: number | undefined };
  },
): Promise<void> {
  const container = engine.containers.get(args.params.id);
  const size = terminalSize(args.query);
  const { run } = container;
  const over = `Container ${container.id} is not running`;
  if (run === undefined) throw conflict(over);
  // Docker takes it of a container without a terminal too, and does nothing.
  if (container.document.config.Tty) await resizeTerminal(run.shim, size, over);
  const attributes = { height: String(size.rows), width: String(size.columns) };
  containerEvent(engine, container, 'resize', attributes);
}

/** @throws conflict with `over` when the process that had the terminal has ended meanwhile */
export async function resizeTerminal(
  shim: Shim,
  size: ReturnType<typeof terminalSize>,
  over: string,
): Promise<void> {
  try {
    await shim.resize(size);
  } catch (error) {
    if (isEngineError(error, 'unavailable')) throw conflict(over, { cause: error });
    throw error;
  }
}

const SIZE_MAX = 65_535;

/** @throws invalidArgument when a side is missing or no 16-bit number */
export function terminalSize(query: {
  readonly h: number | undefined;
  readonly w: number | undefined;
}): {
  rows: number;
  columns: number;
} {
  const [rows, columns] = [query.h ?? -1, query.w ?? -1];
  if ([rows, columns].some((side) => side < 0 || side > SIZE_MAX)) {
    const given = `height ${query.h ?? 'missing'}, width ${query.w ?? 'missing'}`;
    throw invalidArgument(`invalid size of a terminal: ${given}; want numbers up to ${SIZE_MAX}`);
  }
  return { rows, columns };
}
