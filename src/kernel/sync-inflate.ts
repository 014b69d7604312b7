import { pipeline, Readable } from 'node:stream';
import * as zlib from 'node:zlib';
import {
  dataLoss,
  EngineError,
  invalidArgument,
  messageOf,
  toEngineError,
} from '../base/errors.ts';
import { asBuffer } from '../formats/byte-string.ts';

/**
 * Decompression of layers. The streams of node:zlib cost a thread switch and a few allocations for
 * every buffer and take twice as long, so the codec's handle is driven synchronously here, through
 * `_handle.writeSync`, which is what Node's own `…Sync` functions use. This is the only file that
 * knows of it (`resumable-inflate.ts` calls zlib itself). Where it is missing, {@link inflateStream} does the same with the public API.
 */
export type Compression = 'none' | 'gzip' | 'zstd';

/** Bytes that {@link detectCompression} wants to see. */
export const MAGIC_BYTES = 6;

/**
 * What the first bytes of a stream say about its compression; `none` for all that is not known.
 * @throws invalidArgument for bzip2 and xz, which cannot be read
 */
export function detectCompression(head: Uint8Array): Compression {
  const hex = Buffer.from(head.subarray(0, MAGIC_BYTES)).toString('hex');
  if (hex.startsWith('1f8b')) return 'gzip';
  // A zstd frame, or a skippable one, with which pzstd begins.
  if (hex.startsWith('28b52ffd') || /^5.2a4d18/.test(hex)) return 'zstd';
  for (const [magic, name] of [
    ['425a68', 'bzip2'],
    ['fd377a585a00', 'xz'],
  ] as const) {
    if (hex.startsWith(magic)) {
      throw invalidArgument(`unsupported compression ${name}: use gzip, zstd or none`);
    }
  }
  return 'none';
}

/** Takes compressed chunks and hands out what they hold, before `push` returns. */
export type SyncInflater = Disposable & {
  /** @throws dataLoss when the input is damaged; what the output function throws */
  readonly push: (chunk: Uint8Array) => void;
  /** @throws dataLoss ("unexpected EOF") when the stream is incomplete */
  readonly end: () => void;
};

/** The same for who has to wait between the pieces: each is valid until the next is asked for. */
export type PieceInflater = SyncInflater & {
  readonly pieces: (chunk: Uint8Array) => Generator<Buffer>;
};

/** One buffer is used again and again: output is only valid during the call. */
export type Output = (bytes: Buffer) => void;

type Handle = {
  writeSync: (
    flush: number,
    input: Uint8Array,
    inputAt: number,
    inputBytes: number,
    output: Uint8Array,
    outputAt: number,
    outputBytes: number,
  ) => void;
  onerror: (message: string, errno: number, code: string) => void;
};

type Internals = { readonly _handle: Handle; readonly _writeState: Uint32Array };

function hasInternals(stream: object): stream is Internals {
  const { _handle: handle, _writeState: state } = stream as Partial<Internals>;
  return typeof handle?.writeSync === 'function' && state instanceof Uint32Array;
}

const EMPTY = Buffer.alloc(0);
export const OUTPUT_BYTES = 256 << 10;

/** What an inflater may take. */
export type InflateLimits = {
  /** Bounds the memory that a zstd frame may ask for; 27: 128 MiB. */
  readonly zstdWindowLogMax?: number;
  /** Longest piece of output. */
  readonly outputBytes?: number;
};

function openCodec(
  compression: Exclude<Compression, 'none'>,
  { zstdWindowLogMax = 27, outputBytes = OUTPUT_BYTES }: InflateLimits,
) {
  if (compression === 'gzip') return zlib.createGunzip({ chunkSize: outputBytes });
  const params = { [zlib.constants.ZSTD_d_windowLogMax]: zstdWindowLogMax };
  return zlib.createZstdDecompress({ chunkSize: outputBytes, params });
}

/** A synchronous inflater, or undefined where this Node has no way to drive one. */
export function openSyncInflater(
  compression: Exclude<Compression, 'none'>,
  onOutput: Output,
  limits: InflateLimits = {},
): PieceInflater | undefined {
  const { outputBytes = OUTPUT_BYTES } = limits;
  const stream = openCodec(compression, limits);
  if (!hasInternals(stream)) {
    stream.destroy();
    return undefined;
  }
  const { _handle: handle, _writeState: state } = stream;
  const output = Buffer.allocUnsafeSlow(outputBytes);
  const { constants } = zlib;
  const isGzip = compression === 'gzip';
  const run = isGzip ? constants.Z_NO_FLUSH : constants.ZSTD_e_continue;
  const finish = isGzip ? constants.Z_FINISH : constants.ZSTD_e_end;
  const failures: EngineError[] = [];
  const check = (): void => {
    const [first] = failures;
    if (first !== undefined) throw first;
  };
  handle.onerror = (message, _errno, code) => {
    failures.push(codecError(compression, message, code));
  };

  const write = function* (chunk: Uint8Array, flush: number): Generator<Buffer> {
    let at = 0;
    for (;;) {
      check();
      handle.writeSync(flush, chunk, at, chunk.length - at, output, 0, output.length);
      check();
      const [outputLeft = 0, inputLeft = 0] = state;
      const made = output.length - outputLeft;
      const taken = chunk.length - at - inputLeft;
      at = chunk.length - inputLeft;
      if (made > 0) yield output.subarray(0, made);
      if (outputLeft === 0) continue;
      if (inputLeft === 0) return;
      // The codec stops before bytes that are no further member: padding is zeros.
      if (made === 0 && taken === 0) break;
    }
    checkPadding(compression, chunk.subarray(at));
  };
  return {
    push: (chunk) => {
      if (chunk.length === 0) return;
      for (const bytes of write(chunk, run)) onOutput(bytes);
    },
    pieces: function* (chunk) {
      if (chunk.length > 0) yield* write(chunk, run);
    },
    end: () => {
      for (const bytes of write(EMPTY, finish)) onOutput(bytes);
    },
    [Symbol.dispose]: () => stream.destroy(),
  };
}

/** What follows a codec's end is nothing, or zeros. @throws dataLoss */
export function checkPadding(compression: Compression, rest: Uint8Array): void {
  if (rest.some((byte) => byte !== 0)) {
    throw trailingBytes(compression);
  }
}

/** The error of a stream that is followed by something else. */
export function trailingBytes(compression: Compression): EngineError {
  return dataLoss(`${compression}: bytes that do not belong to it after its end`, {
    detail: { codec: 'trailing bytes' },
  });
}

/** True for what a codec says of its input. */
export function isCodecError(error: unknown): error is EngineError {
  return error instanceof EngineError && error.detail['codec'] !== undefined;
}

/** Errors of the codecs, in the words of Go's packages, which Docker's users know. */
export function codecError(compression: Compression, message: string, code: string): EngineError {
  const detail = { codec: message, code };
  if (code === 'Z_BUF_ERROR' || /unexpected end/i.test(message)) {
    return dataLoss('unexpected EOF', { detail });
  }
  if (compression === 'zstd') return dataLoss(`zstd: corrupt input (${message})`, { detail });
  if (/header|compression method|window size/.test(message)) {
    return dataLoss('gzip: invalid header', { detail });
  }
  if (/data check|length check/.test(message))
    return dataLoss('gzip: invalid checksum', { detail });
  return dataLoss(`flate: corrupt input (${message})`, { detail });
}

/**
 * Chunks in, what they hold out, through one buffer: each piece is valid until the next is asked
 * for.
 * @throws dataLoss when the input is damaged or incomplete
 */
export async function* inflatePieces(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  limits: InflateLimits = {},
): AsyncGenerator<Buffer> {
  const last: Buffer[] = [];
  using inflater =
    compression === 'none'
      ? undefined
      : openSyncInflater(compression, (bytes) => void last.push(Buffer.from(bytes)), limits);
  if (inflater === undefined) {
    yield* inflateStream(source, compression, limits);
    return;
  }
  for await (const chunk of source) yield* inflater.pieces(chunk);
  // All that came has been handed out: there is no more than what the codec held back.
  inflater.end();
  yield* last;
}

/** The same with the public streams of node:zlib: chunks in, chunks out. */
export async function* inflateStream(
  source: AsyncIterable<Uint8Array>,
  compression: Compression,
  limits: InflateLimits = {},
): AsyncGenerator<Buffer> {
  if (compression === 'none') {
    for await (const chunk of source) yield asBuffer(chunk);
    return;
  }
  const codec = openCodec(compression, limits);
  const sourceErrors: Error[] = [];
  const watched = async function* (): AsyncGenerator<Uint8Array> {
    try {
      // The codec reads ahead, and a chunk may be valid only until the next is asked for.
      for await (const chunk of source) yield Buffer.from(chunk);
    } catch (error) {
      sourceErrors.push(toEngineError(error));
      throw error;
    }
  };
  // Errors reach the loop below through the codec.
  pipeline(Readable.from(watched(), { objectMode: false }), codec, () => undefined);
  try {
    for await (const chunk of codec) yield chunk as Buffer;
  } catch (error) {
    const [sourceError] = sourceErrors;
    if (sourceError !== undefined) throw sourceError;
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    throw codecError(compression, messageOf(error), code);
  }
}
