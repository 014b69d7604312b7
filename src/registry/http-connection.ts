import type { Socket } from 'node:net';
import net from 'node:net';
import tls from 'node:tls';
import { httpError, ResponseParser } from './http-parser.ts';

/**
 * A connection that is read on demand into one buffer: no byte is read before it is asked for, so
 * a slow consumer slows the sender down and memory stays flat.
 */
export type Connection = {
  /**
   * The next bytes, valid until the next call; undefined at the end.
   * @throws what the socket failed with, or a timeout when nothing came for `timeoutMs`
   */
  readonly read: (timeoutMs: number) => Promise<Buffer | undefined>;
  /** Resolves when the kernel has taken the bytes. */
  readonly write: (bytes: Uint8Array | string) => Promise<void>;
  readonly destroy: (error?: Error) => void;
  /** False once the other side has closed it or it has failed. */
  readonly isOpen: () => boolean;
};

/** What to connect to. `tls` undefined means plain TCP. */
export type ConnectTarget = {
  readonly host: string;
  readonly port: number;
  readonly tls: { readonly secureContext: tls.SecureContext; readonly verify: boolean } | undefined;
  readonly timeoutMs: number;
};

const READ_BUFFER_BYTES = 64 << 10;

/** Thrown by reads and connects that took too long; `code` is ETIMEDOUT. */
function timeoutError(what: string): Error {
  return Object.assign(new Error(what), { code: 'ETIMEDOUT' });
}

/**
 * What has arrived, and the reader that waits for more. TCP stops reading after each delivery, so
 * its buffer is handed on as it is. TLS delivers every record that one read held, into the same
 * buffer: those are copied into buffers that are used again, as new ones would pile up.
 */
class Inbox {
  readonly #copies: boolean;
  readonly #queue: Buffer[] = [];
  readonly #spare: Buffer[] = [];
  #lent: Buffer | undefined;
  #waiting:
    | { resolve: (bytes: Buffer | undefined) => void; reject: (e: Error) => void }
    | undefined;
  #ended = false;
  #error: Error | undefined;

  constructor(copies: boolean) {
    this.#copies = copies;
  }

  get isOver(): boolean {
    return this.#ended || this.#error !== undefined;
  }

  get isWaiting(): boolean {
    return this.#waiting !== undefined;
  }

  deliver(view: Buffer): void {
    this.#queue.push(this.#copies ? this.#copy(view) : view);
    const waiting = this.#waiting;
    this.#waiting = undefined;
    waiting?.resolve(this.#lend());
  }

  end(error?: Error): void {
    if (this.isOver) return;
    this.#ended = error === undefined;
    this.#error = error;
    const waiting = this.#waiting;
    this.#waiting = undefined;
    if (error === undefined) waiting?.resolve(undefined);
    else waiting?.reject(error);
  }

  /** Takes the lent buffer back and gives the next; undefined: nothing is here yet. */
  take(): { bytes: Buffer | undefined } | undefined {
    if (this.#lent !== undefined && this.#copies) this.#spare.push(this.#lent);
    this.#lent = undefined;
    if (this.#queue.length > 0) return { bytes: this.#lend() };
    if (this.#error !== undefined) throw this.#error;
    return this.#ended ? { bytes: undefined } : undefined;
  }

  wait(timeoutMs: number): Promise<Buffer | undefined> {
    const { promise, resolve, reject } = Promise.withResolvers<Buffer | undefined>();
    const timer = setTimeout(() => {
      this.#waiting = undefined;
      reject(timeoutError('timed out waiting for the server'));
    }, timeoutMs);
    this.#waiting = { resolve, reject };
    return promise.finally(() => clearTimeout(timer));
  }

  #lend(): Buffer | undefined {
    this.#lent = this.#queue.shift();
    return this.#lent;
  }

  #copy(view: Buffer): Buffer {
    const whole = this.#spare.pop()?.buffer ?? new ArrayBuffer(READ_BUFFER_BYTES);
    const copy = Buffer.from(whole, 0, view.length);
    view.copy(copy);
    return copy;
  }
}

function wrap(socket: Socket, inbox: Inbox, isPulled: boolean): Connection {
  let firstError: Error | undefined;
  socket.on('error', (error) => {
    firstError ??= error;
  });
  // A TLS alert is an error before it is an end.
  socket.on('end', () => inbox.end(firstError));
  socket.on('close', () => inbox.end(firstError));
  return {
    read: async (timeoutMs) => {
      const ready = inbox.take();
      if (ready !== undefined) return ready.bytes;
      const bytes = inbox.wait(timeoutMs);
      if (isPulled) {
        const chunk = socket.read() as Buffer | null;
        if (chunk !== null) inbox.deliver(chunk);
      } else socket.resume();
      return await bytes;
    },
    write: (bytes) =>
      new Promise((resolve, reject) => {
        socket.write(bytes, (error) => {
          if (error === undefined || error === null) resolve();
          else reject(firstError ?? error);
        });
      }),
    destroy: (error) => {
      if (error !== undefined) firstError ??= error;
      socket.destroy();
    },
    isOpen: () => !inbox.isOver && !socket.destroyed && socket.writable,
  };
}

/** Where Node puts received bytes: one buffer, and reading stops until the next read. */
function onread(inbox: Inbox): net.OnReadOpts {
  return {
    buffer: Buffer.allocUnsafeSlow(READ_BUFFER_BYTES),
    callback: (bytes, buffer) => {
      inbox.deliver(Buffer.from(buffer.buffer, buffer.byteOffset, bytes));
      return false;
    },
  };
}

async function connected(socket: Socket, event: string, timeoutMs: number): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    const timer = setTimeout(() => socket.destroy(timeoutError('i/o timeout')), timeoutMs);
    const settle = (error?: Error): void => {
      clearTimeout(timer);
      socket.off('error', settle);
      socket.off('close', closed);
      if (error === undefined) resolve();
      else reject(error);
    };
    const closed = (): void => settle(httpError('EOF', 'truncated'));
    socket.once(event, () => settle());
    socket.once('error', settle);
    socket.once('close', closed);
  });
}

/**
 * Connects; `signal` destroys the connection at any time.
 * @throws the socket's error: ECONNREFUSED, ENOTFOUND, a TLS alert …
 */
export async function connect(target: ConnectTarget, signal: AbortSignal): Promise<Connection> {
  signal.throwIfAborted();
  const inbox = new Inbox(target.tls !== undefined);
  const { host, port } = target;
  const socket =
    target.tls === undefined
      ? net.connect({ host, port, noDelay: true, onread: onread(inbox) })
      : tls.connect({
          ...tlsOptions(target, host),
          port,
          onread: onread(inbox),
        } as tls.ConnectionOptions);
  const stop = (): void => void socket.destroy(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', stop));
  const connection = wrap(socket, inbox, false);
  await connected(socket, target.tls === undefined ? 'connect' : 'secureConnect', target.timeoutMs);
  return connection;
}

function tlsOptions(target: ConnectTarget, host: string): tls.ConnectionOptions {
  return {
    ...(target.tls === undefined ? {} : { secureContext: target.tls.secureContext }),
    rejectUnauthorized: target.tls?.verify ?? true,
    // Whom the certificate must name, also inside a tunnel.
    host,
    // A server name is not sent for an address (RFC 6066, 3).
    ...(net.isIP(host) === 0 ? { servername: host } : {}),
    ALPNProtocols: ['http/1.1'],
  };
}

/**
 * Connects through an HTTP proxy with CONNECT (RFC 9110, 9.3.6), then TLS to the target inside.
 * @throws unavailable when the proxy refuses
 */
export async function connectThrough(
  proxy: {
    readonly host: string;
    readonly port: number;
    readonly authorization: string | undefined;
  },
  target: ConnectTarget,
  signal: AbortSignal,
): Promise<Connection> {
  signal.throwIfAborted();
  const socket = net.connect({ host: proxy.host, port: proxy.port, noDelay: true });
  const stop = (): void => void socket.destroy(signal.reason as Error);
  signal.addEventListener('abort', stop, { once: true });
  socket.once('close', () => signal.removeEventListener('abort', stop));
  await connected(socket, 'connect', target.timeoutMs);
  await tunnel(socket, proxy.authorization, target);
  const secure = tls.connect({ ...tlsOptions(target, target.host), socket });
  secure.pause();
  const inbox = new Inbox(false);
  const connection = wrap(secure, inbox, true);
  await connected(secure, 'secureConnect', target.timeoutMs);
  secure.on('readable', () => {
    // Only a reader that waits takes bytes; else they stay in the stream's buffer.
    if (!inbox.isWaiting) return;
    const chunk = secure.read() as Buffer | null;
    if (chunk !== null) inbox.deliver(chunk);
  });
  return connection;
}

async function tunnel(
  socket: Socket,
  authorization: string | undefined,
  target: ConnectTarget,
): Promise<void> {
  const authority = `${target.host.includes(':') ? `[${target.host}]` : target.host}:${target.port}`;
  let head = `CONNECT ${authority} HTTP/1.1\r\nHost: ${authority}\r\n`;
  if (authorization !== undefined) head += `Proxy-Authorization: ${authorization}\r\n`;
  socket.write(`${head}\r\n`);
  const parser = new ResponseParser('HEAD');
  const timer = setTimeout(() => socket.destroy(timeoutError('i/o timeout')), target.timeoutMs);
  try {
    for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
      parser.push(chunk as Buffer);
      const part = parser.next();
      if (part.kind === 'need') continue;
      if (part.kind === 'head' && part.head.status >= 200 && part.head.status < 300) return;
      const reason = part.kind === 'head' ? `${part.head.status} ${part.head.reason}` : 'no answer';
      throw httpError(`proxyconnect: the proxy answered ${reason}`, 'malformed');
    }
    throw httpError('proxyconnect: EOF', 'truncated');
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    clearTimeout(timer);
  }
}
