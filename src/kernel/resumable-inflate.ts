import { dataLoss } from '../base/errors.ts';
import { asBuffer } from '../formats/byte-string.ts';
import { addressOf, processFunctions, putWord, textAt, WORD } from './ffi-node.ts';
import {
  checkPadding,
  codecError,
  OUTPUT_BYTES,
  type Output,
  type SyncInflater,
} from './sync-inflate.ts';
import { Z_STREAM } from './zlib-stream.ts';

/**
 * Gunzip that can stop between two blocks of deflate and be gone on with from there later, in
 * another process: zlib's `inflate` with Z_BLOCK, as its example zran.c does. Node's own binding
 * of zlib cannot do that.
 */
export type InflatePoint = {
  /** Bytes of the source before it, the last of which may be used in part. */
  readonly inputBytes: number;
  /** Bytes that came out before it. */
  readonly outputBytes: number;
  /** Bits of the last byte, its high ones, that are not used yet: 0 … 7. */
  readonly bits: number;
  readonly lastByte: number;
  /** The last bytes that came out, at most 32 KiB: what later ones refer to. */
  readonly window: Buffer;
};

const Z = { BLOCK: 5, OK: 0, STREAM_END: 1, BUF_ERROR: -5 } as const;
const GZIP_BITS = 15 + 16;
const RAW_BITS = -15;
/** CRC-32 and length behind each member of a gzip file (RFC 1952). */
const TRAILER_BYTES = 8;
const WINDOW_BYTES = 32 << 10;
const AT_BLOCK = 128;
const IN_LAST_BLOCK = 64;

const zlib = (): ReturnType<typeof load> => {
  functions ??= { found: load() };
  return functions.found;
};
let functions: { readonly found: ReturnType<typeof load> } | undefined;

function load() {
  return processFunctions({
    init: 'int inflateInit2_(void *stream, int bits, const char *version, int bytes)',
    inflate: 'int inflate(void *stream, int flush)',
    reset: 'int inflateReset2(void *stream, int bits)',
    prime: 'int inflatePrime(void *stream, int bits, int value)',
    setWindow: 'int inflateSetDictionary(void *stream, void *bytes, unsigned int length)',
    window: 'int inflateGetDictionary(void *stream, void *bytes, void *length)',
    end: 'int inflateEnd(void *stream)',
  });
}

type Zlib = NonNullable<ReturnType<typeof load>>;

export type ResumableInflateOptions = {
  readonly onOutput: Output;
  /** Called between blocks; {@link ResumableInflater.point} may be asked for now. */
  readonly onBlock: () => void;
  /** Where to go on; the first byte pushed is the one behind `inputBytes`. */
  readonly from?: InflatePoint;
};

export class ResumableInflater implements SyncInflater {
  readonly #zlib: Zlib;
  readonly #options: ResumableInflateOptions;
  readonly #stream = Buffer.alloc(Z_STREAM.size);
  readonly #output = Buffer.allocUnsafeSlow(OUTPUT_BYTES);
  #inputBytes: number;
  #outputBytes: number;
  #lastByte: number;
  /** Began in the middle of a member: zlib does not see its trailer. */
  #isRaw: boolean;
  #skip = 0;
  #state: 'member' | 'between' | 'padding' = 'member';

  private constructor(native: Zlib, options: ResumableInflateOptions) {
    const { from } = options;
    this.#zlib = native;
    this.#options = options;
    this.#inputBytes = from?.inputBytes ?? 0;
    this.#outputBytes = from?.outputBytes ?? 0;
    this.#lastByte = from?.lastByte ?? 0;
    this.#isRaw = from !== undefined;
    this.#check(
      native.init(this.#stream, from === undefined ? GZIP_BITS : RAW_BITS, '1', Z_STREAM.size),
    );
    if (from === undefined) return;
    if (from.bits > 0) {
      this.#check(native.prime(this.#stream, from.bits, from.lastByte >> (8 - from.bits)));
    }
    if (from.window.length > 0) {
      this.#check(native.setWindow(this.#stream, from.window, from.window.length));
    }
  }

  /** Undefined where zlib's functions cannot be reached. */
  static open(options: ResumableInflateOptions): ResumableInflater | undefined {
    const native = zlib();
    return native === undefined ? undefined : new ResumableInflater(native, options);
  }

  /** Where it stands; only during `onBlock`. */
  point(): InflatePoint {
    const window = Buffer.alloc(WINDOW_BYTES);
    const length = Buffer.alloc(4);
    this.#check(this.#zlib.window(this.#stream, window, length));
    return {
      inputBytes: this.#inputBytes,
      outputBytes: this.#outputBytes,
      bits: this.#stream.readInt32LE(Z_STREAM.dataType) & 7,
      lastByte: this.#lastByte,
      window: window.subarray(0, length.readUInt32LE()),
    };
  }

  push(bytes: Uint8Array): void {
    const chunk = asBuffer(bytes);
    for (let at = 0; at < chunk.length; ) {
      if (this.#skip > 0) {
        const skipped = Math.min(this.#skip, chunk.length - at);
        this.#skip -= skipped;
        this.#inputBytes += skipped;
        at += skipped;
        continue;
      }
      if (this.#state === 'between') this.#next(chunk, at);
      if (this.#state === 'padding') {
        checkPadding('gzip', chunk.subarray(at));
        return;
      }
      at += this.#member(chunk, at);
    }
  }

  /** Another member, or padding? */
  #next(chunk: Buffer, at: number): void {
    if (chunk[at] !== 0x1f) {
      this.#state = 'padding';
      return;
    }
    this.#isRaw = false;
    this.#state = 'member';
    this.#check(this.#zlib.reset(this.#stream, GZIP_BITS));
  }

  /** Inflates until the member or the chunk ends; returns the bytes taken. */
  #member(chunk: Buffer, from: number): number {
    const stream = this.#stream;
    const base = addressOf(chunk);
    for (let at = from; ; ) {
      putWord(stream, base + BigInt(at), Z_STREAM.nextIn);
      stream.writeUInt32LE(chunk.length - at, Z_STREAM.availIn);
      putWord(stream, addressOf(this.#output), Z_STREAM.nextOut);
      stream.writeUInt32LE(this.#output.length, Z_STREAM.availOut);
      const result = this.#zlib.inflate(stream, Z.BLOCK);
      const taken = chunk.length - at - stream.readUInt32LE(Z_STREAM.availIn);
      const made = this.#output.length - stream.readUInt32LE(Z_STREAM.availOut);
      at += taken;
      this.#inputBytes += taken;
      this.#outputBytes += made;
      if (at > from) this.#lastByte = chunk[at - 1] ?? 0;
      if (made > 0) this.#options.onOutput(this.#output.subarray(0, made));
      if (result === Z.STREAM_END) {
        this.#state = 'between';
        if (this.#isRaw) this.#skip = TRAILER_BYTES;
        return at - from;
      }
      if (result === Z.BUF_ERROR) return at - from;
      this.#check(result);
      const where = stream.readInt32LE(Z_STREAM.dataType);
      // A block's end, not of the last one, and not the end of the header.
      if ((where & AT_BLOCK) !== 0 && (where & IN_LAST_BLOCK) === 0 && this.#outputBytes > 0) {
        this.#options.onBlock();
      }
      if (at === chunk.length && made < this.#output.length) return at - from;
    }
  }

  end(): void {
    if (this.#state === 'member' || this.#skip > 0) {
      throw dataLoss('unexpected EOF', {
        detail: { codec: 'unexpected end', code: 'Z_BUF_ERROR' },
      });
    }
  }

  #check(result: number): void {
    if (result === Z.OK) return;
    throw codecError('gzip', this.#message(), String(result));
  }

  /** zlib's own words for what is wrong. */
  #message(): string {
    const at =
      WORD === 8
        ? this.#stream.readBigUInt64LE(Z_STREAM.msg)
        : this.#stream.readUInt32LE(Z_STREAM.msg);
    return textAt(BigInt(at), 64) || 'invalid data';
  }

  [Symbol.dispose](): void {
    this.#zlib.end(this.#stream);
  }
}
