import { mkdtemp, rm } from 'node:fs/promises';
import type { Server } from 'node:http';
import { createConnection, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import type { Readable } from 'node:stream';
import { silentLogger } from '../base/log.ts';
import { type Client, type ConnectOptions, connect } from '../client/client.ts';
import type { Engine } from '../engine/engine.ts';
import type { OperationName } from './contract/contract.ts';
import type { Handlers } from './handler.ts';
import { type ApiServer, createApiServer } from './server.ts';

/** An API server on a socket of its own, for tests of what lies between HTTP and the engine. */
export type ApiFixture = AsyncDisposable & {
  readonly api: ApiServer;
  readonly server: Server;
  readonly socketPath: string;
  readonly client: (options?: Partial<ConnectOptions>) => Promise<Client>;
  /** A raw connection. */
  readonly dial: () => Promise<Socket>;
  /** Sends bytes on a new connection and reads until the server ends it. */
  readonly exchange: (request: string) => Promise<string>;
};

/** Serves `handlers` with an engine that has nothing but a log (unless one is given). */
export async function serveApi(
  handlers: Partial<Handlers<OperationName>>,
  engine: Partial<Engine> = {},
): Promise<ApiFixture> {
  const directory = await mkdtemp(path.join(tmpdir(), 'coracle-api-'));
  const socketPath = path.join(directory, 'api.sock');
  const api = createApiServer({ log: silentLogger, ...engine } as Engine, handlers, {
    version: '0.0.0',
  });
  const server = await api.createListener();
  await new Promise<void>((resolve) => server.listen(socketPath, resolve));
  const dial = (): Promise<Socket> =>
    new Promise((resolve, reject) => {
      const socket = createConnection({ path: socketPath, allowHalfOpen: true });
      socket.once('connect', () => resolve(socket)).once('error', reject);
    });
  const clients: Client[] = [];
  return {
    api,
    server,
    socketPath,
    dial,
    client: async (options) => {
      const client = await connect({ host: `unix://${socketPath}`, ...options });
      clients.push(client);
      return client;
    },
    exchange: async (request) => {
      const socket = await dial();
      socket.write(request);
      return await readToEnd(socket);
    },
    [Symbol.asyncDispose]: async () => {
      for (const client of clients) client.close();
      await api.close(0);
      await rm(directory, { recursive: true, force: true });
    },
  };
}

/** Everything that comes in until the other side ends. */
export async function readToEnd(socket: Readable): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString('latin1');
}

/** Reads until what came in ends with `end`. */
export function readUntil(socket: Socket, end: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const onData = (chunk: Buffer): void => {
      text += chunk.toString('latin1');
      if (!text.endsWith(end)) return;
      socket.off('data', onData).off('end', onEnd);
      socket.pause();
      resolve(text);
    };
    const onEnd = (): void => reject(new Error(`ended before ${JSON.stringify(end)}: ${text}`));
    socket.on('data', onData).on('end', onEnd);
    socket.resume();
  });
}
