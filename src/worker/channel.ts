import type { Socket } from 'node:net';
import { EngineError, internal } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { json, map, string, struct } from '../spec/decode.ts';

/**
 * The channel between the daemon and a worker: a socket pair on descriptor 3 that carries one JSON
 * object a line, in both directions.
 *
 *   daemon → worker   {"job":NAME,"input":…}            once, first; also "cachedText":BASE64, of
 *                                                       what is in the page cache
 *                     {"answer":N,"value":…}            to question N
 *                     {"answer":N,"error":ERROR}
 *   worker → daemon   {"report":…}                      any number
 *                     {"question":N,"value":…}
 *                     {"result":…} | {"error":ERROR}    once, last
 *
 * ERROR is `{ kind, message, detail }`. A line has a limit; the end of the socket means that the
 * other side is gone. (Not Node's own IPC: that has no limits, and a plain descriptor does the same
 * in a single executable.)
 */
export const CHANNEL_FD = 3;

/** A message, decoded as far as the channel goes. */
export type ChannelMessage = Readonly<Record<string, unknown>>;

/** One end of a channel. */
export type Channel = {
  /** Sends a message. @throws internal when it is longer than the limit */
  readonly send: (message: ChannelMessage) => void;
  /** Ends this side, when all that was sent has been taken by the kernel. */
  readonly end: () => Promise<void>;
};

/**
 * Speaks the channel's protocol over `socket`. `onEnd` is called once: without an error when the
 * other side ended, with one when it broke the protocol or the connection failed.
 */
export function openChannel(
  socket: Socket,
  handlers: {
    onMessage: (message: ChannelMessage) => void;
    onEnd: (error: Error | undefined) => void;
  },
): Channel {
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  let ended = false;
  const finish = (error: Error | undefined): void => {
    if (ended) return;
    ended = true;
    handlers.onEnd(error);
  };
  const line = (bytes: Buffer): void => {
    try {
      const message: unknown = JSON.parse(bytes.toString('utf8'));
      if (typeof message !== 'object' || message === null) throw new Error('not an object');
      handlers.onMessage(message as ChannelMessage);
    } catch (cause) {
      finish(internal('cannot read a message of a worker process', { cause }));
      socket.destroy();
    }
  };
  socket.on('data', (chunk: Buffer) => {
    let from = 0;
    for (let at = chunk.indexOf(10); at >= 0 && !ended; at = chunk.indexOf(10, from)) {
      pending.push(chunk.subarray(from, at));
      from = at + 1;
      const whole = pending.length === 1 ? (pending[0] ?? chunk) : Buffer.concat(pending);
      pending = [];
      pendingBytes = 0;
      line(whole);
    }
    if (from < chunk.length) {
      pending.push(chunk.subarray(from));
      pendingBytes += chunk.length - from;
    }
    if (pendingBytes > LIMITS.workerMessageBytesMax) {
      finish(internal('a message of a worker process is longer than its limit'));
      socket.destroy();
    }
  });
  socket.on('end', () => finish(undefined));
  socket.on('error', (error) => finish(error));
  socket.on('close', () => finish(undefined));
  return {
    send: (message) => {
      const text = `${JSON.stringify(message)}\n`;
      if (text.length > LIMITS.workerMessageBytesMax) {
        throw internal(`cannot send ${text.length} bytes to or from a worker process: too long`);
      }
      if (!socket.destroyed && socket.writable) socket.write(text);
    },
    end: () =>
      new Promise((resolve) => {
        if (socket.destroyed) resolve();
        else socket.end(resolve);
      }),
  };
}

const errorMessage = struct('WorkerError', { kind: string, message: string, detail: map(json) });

/** An error as the channel carries it. */
export function encodeError(error: EngineError): ChannelMessage {
  return { kind: error.kind, message: error.message, detail: error.detail };
}

/** The error that {@link encodeError} wrote. */
export function decodeError(value: unknown): EngineError {
  const { kind, message, detail } = errorMessage.decode(value, '');
  return new EngineError(kind as EngineError['kind'], message, {
    detail: detail as EngineError['detail'],
  });
}
