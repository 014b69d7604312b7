import { invalidArgument } from '../base/errors.ts';

/**
 * Docker's framing of a process's outputs on one connection. Source: Engine API, "Stream format"
 * of `POST /containers/{id}/attach`.
 *
 *   byte 0      stream: 0 stdin, 1 stdout, 2 stderr, 3 an error of the daemon
 *   bytes 1–3   0
 *   bytes 4–7   length of what follows, big-endian
 *   …           that many bytes
 */
export const STDCOPY_HEADER_BYTES = 8;

export type StdStream = 'stdin' | 'stdout' | 'stderr' | 'systemerr';

const STREAMS: readonly StdStream[] = ['stdin', 'stdout', 'stderr', 'systemerr'];

/** A piece of one stream; a frame may come in several pieces. */
export type StdPiece = { readonly stream: StdStream; readonly bytes: Buffer };

/** A whole frame. */
export function stdcopyFrame(stream: StdStream, bytes: Uint8Array): Buffer {
  const frame = Buffer.alloc(STDCOPY_HEADER_BYTES + bytes.length);
  frame[0] = STREAMS.indexOf(stream);
  frame.writeUInt32BE(bytes.length, 4);
  frame.set(bytes, STDCOPY_HEADER_BYTES);
  return frame;
}

/** Takes frames apart as they come; payloads are passed on at once and never gathered. */
export class StdcopyReader {
  readonly #header = Buffer.alloc(STDCOPY_HEADER_BYTES);
  #headerBytes = 0;
  #stream: StdStream = 'stdout';
  #left = 0;

  /** @throws invalidArgument for bytes that are no frame */
  push(chunk: Buffer): StdPiece[] {
    const pieces: StdPiece[] = [];
    let at = 0;
    while (at < chunk.length) {
      if (this.#left === 0) {
        const copied = chunk.copy(this.#header, this.#headerBytes, at);
        this.#headerBytes += copied;
        at += copied;
        if (this.#headerBytes === STDCOPY_HEADER_BYTES) this.#open();
        continue;
      }
      const bytes = chunk.subarray(at, at + this.#left);
      pieces.push({ stream: this.#stream, bytes });
      this.#left -= bytes.length;
      at += bytes.length;
    }
    return pieces;
  }

  /** True between frames: a stream that ends elsewhere was cut. */
  get atBoundary(): boolean {
    return this.#left === 0 && this.#headerBytes === 0;
  }

  #open(): void {
    const stream = STREAMS[this.#header[0] ?? 255];
    if (stream === undefined) {
      throw invalidArgument(`unrecognized stream: ${this.#header[0]}`);
    }
    this.#stream = stream;
    this.#left = this.#header.readUInt32BE(4);
    this.#headerBytes = 0;
  }
}
