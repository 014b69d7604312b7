import type { EngineError } from '../base/errors.ts';
import { asBuffer } from '../formats/byte-string.ts';
import { addressOf, libraryFunctions } from './ffi-node.ts';
import type { InflatePoint } from './resumable-inflate.ts';
import { SHA256_STATE_BYTES } from './resumable-sha256.ts';
import { codecError, type Output, trailingBytes } from './sync-inflate.ts';

/**
 * Gunzips a layer and hashes it before and after on a thread of its own (`native/unpacker.so.c`),
 * while this one makes files of what comes out. Nothing of it needs the event loop: bytes are given
 * to a ring, and what is ready is taken out at the same time.
 *
 *   start: u64 hashedBytes, knownBytes, address of the slots; u32 isRaw, isChecked; plain state; point
 *   point: u64 inputBytes, outputBytes; u32 bits, lastByte, windowBytes; blob's state; window
 */
export type UnpackStart = {
  /** States of SHA-256 before the bytes to come, of the blob and of what it holds. */
  readonly blobState: Buffer;
  readonly plainState: Buffer;
  /** So many of the bytes to come are in the blob's state already. */
  readonly hashedBytes: number;
  /** So many of the bytes to come are unpacked already; `from` is behind them. */
  readonly knownBytes: number;
  readonly from?: InflatePoint;
  /** Gzip's own check sums are compared: for who knows no digest of what comes out. */
  readonly isChecked: boolean;
};

/** A place to go on from: the state of the blob's digest is that of just there. */
export type UnpackPlace = { readonly point: InflatePoint; readonly hashState: Buffer };

const POINT = { bits: 16, lastByte: 20, windowBytes: 24, blob: 28, window: 140, bytes: 32_912 };
const START = { slots: 16, isRaw: 24, isChecked: 28, plain: 32, point: 144 };
const SLOTS = 4;
const SLOT_BYTES = 128 << 10;
/** Room in the ring that is worth waking up for. */
const ROOM_BYTES = 64 << 10;
const NOTHING = Buffer.alloc(0);
const FAILED = -1;
const DONE = -2;
/** Why it failed. */
const CUT_OFF = 2;
const TRAILING = 3;

const library = (): ReturnType<typeof load> => {
  functions ??= { found: load() };
  return functions.found;
};
let functions: { readonly found: ReturnType<typeof load> } | undefined;

function load() {
  return libraryFunctions('unpacker.so', {
    open: 'uintptr_t unpacker_open(void *start)',
    give: 'uint32_t unpacker_give(uintptr_t unpacker, uintptr_t bytes, uint32_t length)',
    take: 'int32_t unpacker_take(uintptr_t unpacker, uint32_t room)',
    release: 'void unpacker_release(uintptr_t unpacker)',
    end: 'void unpacker_end(uintptr_t unpacker)',
    onlyHash: 'void unpacker_only_hash(uintptr_t unpacker, uintptr_t bytes, uint32_t length)',
    wantPoint: 'void unpacker_want_point(uintptr_t unpacker)',
    point: 'int unpacker_point(uintptr_t unpacker, void *to)',
    settle: 'void unpacker_settle(uintptr_t unpacker, void *blob, void *plain)',
    failure: 'int unpacker_failure(uintptr_t unpacker)',
    message: 'const char *unpacker_message(uintptr_t unpacker)',
    close: 'void unpacker_close(uintptr_t unpacker)',
  });
}

type Library = NonNullable<ReturnType<typeof load>>;

export class UnpackThread implements Disposable {
  readonly #native: Library;
  readonly #unpacker: number;
  readonly #onOutput: Output;
  readonly #slots: Buffer;
  #slot = 0;
  #point: Buffer | undefined;

  private constructor(native: Library, unpacker: number, slots: Buffer, onOutput: Output) {
    this.#native = native;
    this.#unpacker = unpacker;
    this.#slots = slots;
    this.#onOutput = onOutput;
  }

  /** Undefined where the library cannot be loaded, or no thread be made. */
  static open(start: UnpackStart, onOutput: Output): UnpackThread | undefined {
    const native = library();
    if (native === undefined) return undefined;
    const slots = Buffer.allocUnsafeSlow(SLOTS * SLOT_BYTES);
    const unpacker = native.open(encodeStart(start, slots));
    return unpacker === 0 ? undefined : new UnpackThread(native, unpacker, slots, onOutput);
  }

  /**
   * Takes the next bytes of the blob; hands out what is ready by now.
   * @throws dataLoss when what came before is damaged; what the output function throws
   */
  push(bytes: Uint8Array): void {
    const chunk = asBuffer(bytes);
    const address = addressOf(chunk);
    for (let at = 0; at < chunk.length; ) {
      const rest = chunk.length - at;
      at += this.#native.give(this.#unpacker, address + BigInt(at), rest);
      try {
        this.#take(Math.min(chunk.length - at, ROOM_BYTES));
      } catch (error) {
        this.onlyHash(chunk.subarray(at));
        throw error;
      }
    }
  }

  /** Hands out what is left. @throws the same, and dataLoss ("unexpected EOF") */
  end(): void {
    this.#native.end(this.#unpacker);
    try {
      this.#take(0);
    } catch (error) {
      this.onlyHash(NOTHING);
      throw error;
    }
  }

  /** The next bytes of the blob, where nothing of it is wanted any more but its digest. */
  onlyHash(bytes: Uint8Array): void {
    this.#native.onlyHash(this.#unpacker, bytes.length === 0 ? 0n : addressOf(bytes), bytes.length);
  }

  /** Asks for a {@link place} as soon as there can be one. */
  wantPlace(): void {
    this.#native.wantPoint(this.#unpacker);
  }

  /** The place that was asked for; undefined when there is none yet. */
  place(): UnpackPlace | undefined {
    this.#point ??= Buffer.allocUnsafeSlow(POINT.bytes);
    if (this.#native.point(this.#unpacker, this.#point) === 0) return undefined;
    return decodePoint(this.#point);
  }

  /** No more bytes come: the digests' states when all is hashed. */
  states(): { readonly blob: Buffer; readonly plain: Buffer } {
    const blob = Buffer.alloc(SHA256_STATE_BYTES);
    const plain = Buffer.alloc(SHA256_STATE_BYTES);
    this.#native.settle(this.#unpacker, blob, plain);
    return { blob, plain };
  }

  /** Hands out all that is ready; waits for some, or for so much room in the ring. */
  #take(room: number): void {
    for (;;) {
      const bytes = this.#native.take(this.#unpacker, room);
      if (bytes === FAILED) throw this.#failure();
      if (bytes === DONE || bytes === 0) return;
      const at = this.#slot * SLOT_BYTES;
      this.#slot = (this.#slot + 1) % SLOTS;
      try {
        this.#onOutput(this.#slots.subarray(at, at + bytes));
      } finally {
        this.#native.release(this.#unpacker);
      }
    }
  }
  #failure(): EngineError {
    const why = this.#native.failure(this.#unpacker);
    if (why === CUT_OFF) return codecError('gzip', 'unexpected end', 'Z_BUF_ERROR');
    if (why === TRAILING) return trailingBytes('gzip');
    const message: unknown = this.#native.message(this.#unpacker);
    return codecError('gzip', typeof message === 'string' ? message : 'invalid data', '');
  }

  [Symbol.dispose](): void {
    this.#native.close(this.#unpacker);
  }
}

function encodeStart(start: UnpackStart, slots: Buffer): Buffer {
  const { blobState, plainState, hashedBytes, knownBytes, from, isChecked } = start;
  const bytes = Buffer.alloc(START.point + POINT.bytes);
  bytes.writeBigUInt64LE(BigInt(hashedBytes), 0);
  bytes.writeBigUInt64LE(BigInt(knownBytes), 8);
  bytes.writeBigUInt64LE(addressOf(slots), START.slots);
  bytes.writeUInt32LE(from === undefined ? 0 : 1, START.isRaw);
  bytes.writeUInt32LE(isChecked ? 1 : 0, START.isChecked);
  bytes.set(plainState, START.plain);
  const point = bytes.subarray(START.point);
  point.set(blobState, POINT.blob);
  if (from === undefined) return bytes;
  point.writeBigUInt64LE(BigInt(from.inputBytes), 0);
  point.writeBigUInt64LE(BigInt(from.outputBytes), 8);
  point.writeUInt32LE(from.bits, POINT.bits);
  point.writeUInt32LE(from.lastByte, POINT.lastByte);
  point.writeUInt32LE(from.window.length, POINT.windowBytes);
  point.set(from.window, POINT.window);
  return bytes;
}

function decodePoint(bytes: Buffer): UnpackPlace {
  const windowBytes = bytes.readUInt32LE(POINT.windowBytes);
  return {
    point: {
      inputBytes: Number(bytes.readBigUInt64LE(0)),
      outputBytes: Number(bytes.readBigUInt64LE(8)),
      bits: bytes.readUInt32LE(POINT.bits),
      lastByte: bytes.readUInt32LE(POINT.lastByte),
      window: Buffer.from(bytes.subarray(POINT.window, POINT.window + windowBytes)),
    },
    hashState: Buffer.from(bytes.subarray(POINT.blob, POINT.blob + SHA256_STATE_BYTES)),
  };
}
