import { type IncomingMessage, type ServerResponse, STATUS_CODES } from 'node:http';
import { type Duplex, Readable } from 'node:stream';
import { invalidArgument, messageOf, toEngineError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { stdcopyFrame } from '../formats/stdcopy.ts';
import { errorBody } from './answer.ts';
import { compareApiVersions } from './contract/versions.ts';
import { announcedBytes } from './request.ts';

/**
 * Connections that stop being HTTP. A client asks with `Connection: Upgrade, Upgrade: tcp` and gets
 * 101; one that does not ask gets 200 and the bytes of the connection all the same. Either way the
 * socket is handed over raw: what the process writes goes out, what comes in is its input, and each
 * direction ends by itself. Source: Engine API, "Hijacking" of `POST /containers/{id}/attach`.
 */

const RAW_TYPE = 'application/vnd.docker.raw-stream';
const MULTIPLEXED_TYPE = 'application/vnd.docker.multiplexed-stream';

/** The first version whose clients know the multiplexed media type. */
const MULTIPLEXED_SINCE = [1, 42] as const;

function rawHead(
  status: number,
  reason: string,
  headers: Readonly<Record<string, string | number>>,
): string {
  let head = `HTTP/1.1 ${status} ${reason}\r\n`;
  for (const [name, value] of Object.entries(headers)) head += `${name}: ${value}\r\n`;
  return `${head}\r\n`;
}

/** A connection on which a call may take over, as plain bytes or as websocket frames. */
export type Exchange = {
  /** Answers the upgrade; from then on the connection is the engine's. */
  readonly take: (version: readonly [number, number], wish: { multiplexed: boolean }) => Duplex;
  readonly taken: () => boolean;
  /** A failure after the connection was taken: its words, then the end. */
  readonly failTaken: (thrown: unknown) => void;
};

/**
 * The exchange of plain bytes on `socket`. `asked` says that the client asked for an upgrade;
 * `release` takes the socket away from the HTTP parser.
 */
export function rawExchange(options: {
  socket: Duplex;
  asked: boolean;
  headers: Readonly<Record<string, string>>;
  release: () => void;
}): Exchange {
  const { socket, asked, headers } = options;
  let wished: { multiplexed: boolean } | undefined;
  return {
    take: (version, wish) => {
      wished = wish;
      options.release();
      const known = asked && compareApiVersions(version, MULTIPLEXED_SINCE) >= 0;
      const type = { 'Content-Type': known && wish.multiplexed ? MULTIPLEXED_TYPE : RAW_TYPE };
      const upgrade = { Connection: 'Upgrade', Upgrade: 'tcp' };
      socket.write(
        asked
          ? rawHead(101, 'UPGRADED', { ...type, ...upgrade, ...headers })
          : rawHead(200, 'OK', { ...type, ...headers }),
      );
      return socket;
    },
    taken: () => wished !== undefined,
    failTaken: (thrown) => {
      const text = Buffer.from(`${messageOf(thrown)}\r\n`);
      socket.end(wished?.multiplexed === true ? stdcopyFrame('stdout', text) : text);
    },
  };
}

/** An ordinary answer on a connection that came with an upgrade and was not taken. */
export function answerUpgrade(
  request: IncomingMessage,
  headers: Readonly<Record<string, string>>,
  thrown?: unknown,
): void {
  const { status, body } =
    thrown === undefined
      ? { status: 200, body: Buffer.alloc(0) }
      : errorBody(toEngineError(thrown));
  const head = rawHead(status, STATUS_CODES[status] ?? 'Error', {
    ...headers,
    ...(body.length === 0 ? {} : { 'Content-Type': 'application/json' }),
    'Content-Length': body.length,
    Connection: 'close',
  });
  // Not through Node's stand-in for the socket, which waits for the request's body.
  request.socket.write(Buffer.concat([Buffer.from(head), body]));
  request.socket.destroySoon();
}

/**
 * Takes a socket away from the HTTP server in the middle of an exchange (there was no upgrade, so
 * Node goes on parsing what comes in). Adding a listener makes Node give up its own reading of the
 * descriptor; then its listeners go.
 */
export function releaseSocket(response: ServerResponse): void {
  const socket = response.socket;
  if (socket === null) throw new Error('the response has no socket');
  socket.on('data', () => undefined);
  for (const event of ['data', 'end', 'timeout', 'drain'] as const)
    socket.removeAllListeners(event);
  socket.pause();
  socket.setTimeout(0);
  response.detachSocket(socket);
}

/** From v24.13 on Node reads the body of an upgrade request itself; before, it is in the socket. */
const NODE_READS_BODIES = Number(process.versions.node.split('.', 1)[0]) >= 26;

/**
 * The body of an upgrade request. What follows it stays in the socket.
 * @throws invalidArgument for a body that is too long or does not come
 */
export async function upgradeBody(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  hasTaker: boolean,
): Promise<Readable> {
  if (head.length > 0) socket.unshift(head);
  const announced = announcedBytes(request);
  if (announced === 0) return Readable.from([]);
  // A client that ends before its body does is gone; Node does not say so here.
  request.socket.once('end', () => {
    if (!request.complete) request.destroy();
  });
  // Without a taker (dockerode sends its options along to attach) the body must not stand in the way.
  if (NODE_READS_BODIES && !hasTaker) request.resume();
  return NODE_READS_BODIES ? request : Readable.from([await bodyInSocket(socket, announced)]);
}

/** A body of `announced` bytes (infinite: in chunks) off the front of a paused socket. */
export async function bodyInSocket(socket: Duplex, announced: number): Promise<Buffer> {
  if (announced === Number.POSITIVE_INFINITY) return await readChunked(socket);
  if (announced > LIMITS.jsonBodyBytesMax) throw invalidArgument('the request body is too long');
  return await readExactly(socket, announced);
}

/** The next `bytes` bytes of a paused socket. */
async function readExactly(socket: Duplex, bytes: number): Promise<Buffer> {
  const found = takeFrom(socket, bytes);
  if (found !== undefined) return found;
  return await new Promise<Buffer>((resolve, reject) => {
    const settle = (error?: Error, result?: Buffer): void => {
      clearTimeout(timer);
      socket.off('readable', onReadable).off('end', onEnd).off('close', onEnd);
      if (result === undefined) reject(error ?? new Error('no result'));
      else resolve(result);
    };
    const onReadable = (): void => {
      const result = takeFrom(socket, bytes);
      if (result !== undefined) settle(undefined, result);
    };
    const onEnd = (): void => settle(invalidArgument('the request body ended too early'));
    const timer = setTimeout(
      () => settle(invalidArgument('the request body took too long to arrive')),
      LIMITS.requestBodyMs,
    );
    socket.on('readable', onReadable).on('end', onEnd).on('close', onEnd);
  });
}

function takeFrom(socket: Duplex, bytes: number): Buffer | undefined {
  const chunk = socket.read(bytes) as Buffer | null;
  if (chunk === null) return undefined;
  if (chunk.length === bytes) return chunk;
  // The stream ended with less than was asked for.
  throw invalidArgument('the request body ended too early');
}

/** A body in chunks (RFC 9112, section 7.1), trailers refused. */
async function readChunked(socket: Duplex): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for (;;) {
    const size = Number.parseInt(await readLine(socket), 16);
    if (!Number.isInteger(size) || size < 0) throw invalidArgument('malformed chunk');
    bytes += size;
    if (bytes > LIMITS.jsonBodyBytesMax) throw invalidArgument('the request body is too long');
    if (size > 0) chunks.push(await readExactly(socket, size));
    if ((await readLine(socket)) !== '') throw invalidArgument('malformed chunk');
    if (size === 0) return Buffer.concat(chunks);
  }
}

const CHUNK_LINE_BYTES_MAX = 64;

async function readLine(socket: Duplex): Promise<string> {
  let line = '';
  while (!line.endsWith('\r\n')) {
    if (line.length > CHUNK_LINE_BYTES_MAX) throw invalidArgument('malformed chunk');
    line += (await readExactly(socket, 1)).toString('latin1');
  }
  return line.slice(0, -2);
}
