import { createHash } from 'node:crypto';
import { invalidArgument } from '../base/errors.ts';

/**
 * The server's side of RFC 6455. A frame (section 5.2):
 *
 *   byte 0   FIN 0x80, reserved 0x70 (must be 0), opcode 0x0f
 *   byte 1   MASK 0x80, length 0x7f; 126: 2 more bytes, 127: 8 more bytes, big-endian
 *   4 bytes  masking key, always there from a client
 *   …        payload, each byte xor key[i % 4]
 *
 * Payloads of data frames are passed on as they come and never gathered, so a frame's length needs
 * no limit. Control frames hold at most 125 bytes.
 */
export const OPCODE = { continuation: 0, text: 1, binary: 2, close: 8, ping: 9, pong: 10 } as const;

const CONTROL_BYTES_MAX = 125;
const HANDSHAKE_GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

/** What a client sent. `data` may be a part of a message. */
export type WebsocketEvent =
  | { readonly kind: 'data'; readonly bytes: Buffer }
  | { readonly kind: 'ping' | 'pong'; readonly bytes: Buffer }
  | { readonly kind: 'close'; readonly code: number };

/** `Sec-WebSocket-Accept` for a client's key (section 4.2.2). */
export function websocketAccept(key: string): string {
  return createHash('sha1')
    .update(key + HANDSHAKE_GUID)
    .digest('base64');
}

/** True for a base64 key of 16 bytes. */
export function isWebsocketKey(key: string): boolean {
  return /^[A-Za-z0-9+/]{22}==$/.test(key);
}

/** The header of a frame that holds a whole message of `length` bytes. */
export function websocketHeader(opcode: number, length: number): Buffer {
  if (length < 126) return Buffer.from([0x80 | opcode, length]);
  if (length < 65_536) return Buffer.from([0x80 | opcode, 126, length >> 8, length & 255]);
  const header = Buffer.alloc(10);
  header[0] = 0x80 | opcode;
  header[1] = 127;
  header.writeBigUInt64BE(BigInt(length), 2);
  return header;
}

/** A close frame with a status code (section 7.4). */
export function websocketClose(code: number): Buffer {
  return Buffer.from([0x80 | OPCODE.close, 2, code >> 8, code & 255]);
}

/** Takes a client's frames apart. */
export class WebsocketReader {
  /** Header bytes seen so far; at most 14. */
  #header = Buffer.alloc(0);
  #opcode = 0;
  #key = Buffer.alloc(4);
  #keyAt = 0;
  #left = 0;
  #control: Buffer[] = [];
  #inMessage = false;

  /** @throws invalidArgument for what RFC 6455 forbids; close with 1002 then */
  push(chunk: Buffer): WebsocketEvent[] {
    const events: WebsocketEvent[] = [];
    let rest = chunk;
    while (rest.length > 0) {
      if (this.#left === 0) {
        rest = this.#readHeader(rest);
        if (this.#left === 0 && this.#header.length === 0 && this.#opcode >= OPCODE.close) {
          events.push(this.#endControl());
        }
        continue;
      }
      const bytes = this.#unmask(rest.subarray(0, this.#left));
      rest = rest.subarray(bytes.length);
      this.#left -= bytes.length;
      if (this.#opcode < OPCODE.close) events.push({ kind: 'data', bytes });
      else {
        this.#control.push(bytes);
        if (this.#left === 0) events.push(this.#endControl());
      }
    }
    return events;
  }

  /** Takes header bytes off `chunk`; the header is complete when `#header` is empty again. */
  #readHeader(chunk: Buffer): Buffer {
    const known = this.#header.length;
    const header = Buffer.concat([this.#header, chunk.subarray(0, 14 - known)]);
    const length = (header[1] ?? 0) & 0x7f;
    const extra = length === 126 ? 2 : length === 127 ? 8 : 0;
    const size = 2 + extra + 4;
    if (header.length < size) {
      this.#header = header;
      return chunk.subarray(chunk.length);
    }
    this.#header = Buffer.alloc(0);
    this.#open(header, length, extra);
    return chunk.subarray(size - known);
  }

  #open(header: Buffer, length: number, extra: number): void {
    const first = header[0] ?? 0;
    const fin = (first & 0x80) !== 0;
    const opcode = first & 0x0f;
    if ((first & 0x70) !== 0) throw invalidArgument('websocket: reserved bits are set');
    if (((header[1] ?? 0) & 0x80) === 0) {
      throw invalidArgument('websocket: a frame of a client must be masked');
    }
    if (opcode >= OPCODE.close) {
      if (opcode > OPCODE.pong || !fin || length > CONTROL_BYTES_MAX) {
        throw invalidArgument('websocket: malformed control frame');
      }
      this.#control = [];
    } else {
      const starts = opcode !== OPCODE.continuation;
      if (opcode > OPCODE.binary || starts === this.#inMessage) {
        throw invalidArgument('websocket: unexpected opcode');
      }
      this.#inMessage = !fin;
    }
    const left =
      extra === 0
        ? length
        : extra === 2
          ? header.readUInt16BE(2)
          : Number(header.readBigUInt64BE(2));
    if (!Number.isSafeInteger(left)) throw invalidArgument('websocket: a frame is too long');
    this.#opcode = opcode;
    this.#left = left;
    this.#key = Buffer.from(header.subarray(2 + extra, 6 + extra));
    this.#keyAt = 0;
  }

  #unmask(masked: Buffer): Buffer {
    const bytes = Buffer.allocUnsafe(masked.length);
    for (let i = 0; i < masked.length; i++) {
      bytes[i] = (masked[i] ?? 0) ^ (this.#key[(this.#keyAt + i) & 3] ?? 0);
    }
    this.#keyAt = (this.#keyAt + masked.length) & 3;
    return bytes;
  }

  #endControl(): WebsocketEvent {
    const bytes = Buffer.concat(this.#control);
    this.#control = [];
    const opcode = this.#opcode;
    this.#opcode = 0;
    if (opcode === OPCODE.ping) return { kind: 'ping', bytes };
    if (opcode === OPCODE.pong) return { kind: 'pong', bytes };
    return { kind: 'close', code: bytes.length >= 2 ? bytes.readUInt16BE(0) : 1005 };
  }
}
