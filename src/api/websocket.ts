import type { IncomingMessage } from 'node:http';
import { Duplex } from 'node:stream';
import { invalidArgument } from '../base/errors.ts';
import { StdcopyReader } from '../formats/stdcopy.ts';
import {
  isWebsocketKey,
  OPCODE,
  WebsocketReader,
  websocketAccept,
  websocketClose,
  websocketHeader,
} from '../formats/websocket.ts';
import type { Exchange } from './hijack.ts';

/**
 * Attach over a websocket: each piece of output is a binary message, stdout and stderr as one
 * stream, and messages of either kind are the process's input.
 */

const PROTOCOL_ERROR = 1002;
const NORMAL_CLOSURE = 1000;
const INTERNAL_ERROR = 1011;

/** The 101 that takes a websocket handshake. @throws invalidArgument when it is none */
function handshake(request: IncomingMessage): string {
  const { headers } = request;
  const key = headers['sec-websocket-key'] ?? '';
  if (headers.upgrade?.toLowerCase() !== 'websocket' || !isWebsocketKey(key)) {
    throw invalidArgument('not websocket protocol');
  }
  if (headers['sec-websocket-version'] !== '13') {
    throw invalidArgument('websocket version 13 is the only one there is');
  }
  return `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${websocketAccept(key)}\r\n\r\n`;
}

/** The exchange of websocket frames that `request` asks for on `socket`. */
export function websocketExchange(request: IncomingMessage, socket: Duplex): Exchange {
  let taken: WebsocketDuplex | undefined;
  return {
    take: (_version, wish) => {
      socket.write(handshake(request));
      taken = new WebsocketDuplex(socket, wish);
      return taken;
    },
    taken: () => taken !== undefined,
    failTaken: () => void socket.end(websocketClose(INTERNAL_ERROR)),
  };
}

/**
 * The connection as the engine sees it. With `multiplexed` the engine writes frames of stdout and
 * stderr, of which only the contents go out.
 */
export class WebsocketDuplex extends Duplex {
  readonly #socket: Duplex;
  readonly #reader = new WebsocketReader();
  readonly #frames: StdcopyReader | undefined;
  #inputEnded = false;

  constructor(socket: Duplex, options: { multiplexed: boolean }) {
    super({ allowHalfOpen: true });
    this.#socket = socket;
    this.#frames = options.multiplexed ? new StdcopyReader() : undefined;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('end', () => this.#endInput());
    socket.on('close', () => this.destroy());
    socket.on('error', (error) => this.destroy(error));
  }

  override _read(): void {
    if (this.#socket.isPaused()) this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    let pieces: Buffer[];
    try {
      pieces = this.#frames?.push(chunk).map((piece) => piece.bytes) ?? [chunk];
    } catch (error) {
      done(error instanceof Error ? error : new Error(String(error)));
      return;
    }
    let flowing = true;
    for (const piece of pieces) {
      if (piece.length === 0) continue;
      this.#socket.write(websocketHeader(OPCODE.binary, piece.length));
      flowing = this.#socket.write(piece);
    }
    if (flowing) done();
    else this.#socket.once('drain', () => done());
  }

  override _final(done: (error?: Error | null) => void): void {
    if (!this.#socket.destroyed) this.#socket.end(websocketClose(NORMAL_CLOSURE));
    done();
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }

  #take(chunk: Buffer): void {
    if (this.#inputEnded) return;
    try {
      for (const event of this.#reader.push(chunk)) {
        if (event.kind === 'data') {
          if (!this.push(event.bytes)) this.#socket.pause();
        } else if (event.kind === 'ping') {
          // Who asks and does not read the answers gets those that it has room for (section 5.5.3).
          if (this.#socket.writableNeedDrain) continue;
          this.#socket.write(websocketHeader(OPCODE.pong, event.bytes.length));
          this.#socket.write(event.bytes);
        } else if (event.kind === 'close') {
          this.#endInput();
          if (!this.#socket.writableEnded) this.#socket.end(websocketClose(NORMAL_CLOSURE));
          return;
        }
      }
    } catch {
      // A client that breaks the protocol is told so by its code and let go of (section 7.1.7).
      this.#endInput();
      this.#socket.end(websocketClose(PROTOCOL_ERROR));
    }
  }

  #endInput(): void {
    if (this.#inputEnded) return;
    this.#inputEnded = true;
    this.push(null);
  }
}
