import { createHash } from 'node:crypto';
import { closeSync, constants, mkdirSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { type DiffId, type Digest, parseDiffId, parseDigest } from '../base/digest.ts';
import { dataLoss, errnoOf, invalidArgument, isEngineError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { asBuffer } from '../formats/byte-string.ts';
import { LayerHeadersWriter } from '../formats/layer-headers.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { TarReader } from '../formats/tar-reader.ts';
import { FADV } from '../kernel/constants.ts';
import {
  type Compression,
  detectCompression,
  inflateStream,
  MAGIC_BYTES,
  openSyncInflater,
  type SyncInflater,
} from '../kernel/sync-inflate.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import type { StagedLayer } from '../store/layer-store.ts';
import { LayerTree } from './extract-tree.ts';
import { Writeback } from './writeback.ts';

/** What a layer must turn out to be; what is left out is not checked. */
export type ExpectedLayer = {
  /** Of the bytes as they come. */
  readonly digest?: Digest;
  readonly sizeBytes?: number;
  readonly diffId?: DiffId;
};

export type ExtractOptions = {
  readonly sys: Syscalls;
  /** Absolute; does not exist yet, on the data root's filesystem. Gets `diff/`, `headers`, `apart/`. */
  readonly directory: string;
  /** The layer as a registry or archive has it: gzip, zstd (found out by its first bytes) or plain. */
  readonly source: AsyncIterable<Uint8Array>;
  readonly expected: ExpectedLayer;
  /** Where it came from, to be remembered beside the layer; undefined remembers nothing. */
  readonly origin: { readonly repository: string; readonly mediaType: string } | undefined;
  readonly signal: AbortSignal;
  /** Bytes of the source that are dealt with. */
  readonly onProgress?: (bytes: number) => void;
  /** What could not be kept and does no harm, such as xattrs that the filesystem has not. */
  readonly onWarning?: (message: string) => void;
  /** For tests: what the platform's zlib is not able to do synchronously. */
  readonly withoutSyncInflate?: boolean;
};

/** An extracted layer, with what is known of its bytes. */
export type ExtractedLayer = StagedLayer & { readonly digest: Digest; readonly sizeBytes: number };

/**
 * Extracts one layer in one pass and without a temporary copy:
 *
 *   source → sha256 → inflate → sha256 → tar → files
 *                                          └→ headers
 *
 * Everything is on the disk when this resolves, but nothing is named yet: that is
 * `LayerStore.commit`. On failure the caller drops `directory`.
 *
 * @throws dataLoss for bytes that are not those expected ("filesystem layer verification failed for
 * digest …") or that are damaged; invalidArgument for tars that cannot or must not be extracted;
 * internal ("failed to register layer: …") when the disk is full or fails; what the source throws
 */
export async function extractLayer(options: ExtractOptions): Promise<ExtractedLayer> {
  mkdirSync(options.directory, { mode: 0o700 });
  await using extraction = new Extraction(options);
  for await (const chunk of meter(options, extraction)) {
    extraction.push(chunk);
    if (extraction.isBehind) await extraction.catchUp();
  }
  return await extraction.finish();
}

/** The source's chunks, or what an asynchronous codec makes of them where no synchronous one is. */
async function* meter(options: ExtractOptions, extraction: Extraction): AsyncGenerator<Uint8Array> {
  const { source, signal, expected } = options;
  const counted = async function* (): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      signal.throwIfAborted();
      extraction.received(chunk);
      if (expected.sizeBytes !== undefined && extraction.sizeBytes > expected.sizeBytes) {
        throw verificationFailed(expected, `more than ${expected.sizeBytes} bytes came`);
      }
      yield chunk;
      options.onProgress?.(extraction.sizeBytes);
    }
  };
  if (options.withoutSyncInflate !== true && syncInflateWorks()) {
    yield* counted();
    return;
  }
  const chunks = counted();
  const head = await firstBytes(chunks);
  extraction.isInflated = true;
  yield* inflateStream(prepend(head, chunks), detectCompression(Buffer.concat(head)));
}

let syncWorks: boolean | undefined;

function syncInflateWorks(): boolean {
  if (syncWorks === undefined) {
    using probe = openSyncInflater('gzip', () => undefined, 64);
    syncWorks = probe !== undefined;
  }
  return syncWorks;
}

async function firstBytes(chunks: AsyncGenerator<Uint8Array>): Promise<Uint8Array[]> {
  const head: Uint8Array[] = [];
  let bytes = 0;
  while (bytes < MAGIC_BYTES) {
    const { value, done } = await chunks.next();
    if (done === true) break;
    head.push(Buffer.from(value));
    bytes += value.length;
  }
  return head;
}

async function* prepend(
  head: readonly Uint8Array[],
  rest: AsyncIterable<Uint8Array>,
): AsyncGenerator<Uint8Array> {
  yield* head;
  yield* rest;
}

function verificationFailed(expected: ExpectedLayer, why: string, cause?: unknown): Error {
  return dataLoss(
    `filesystem layer verification failed for digest ${expected.digest ?? expected.diffId}`,
    { cause, detail: { why } },
  );
}

/** The state of one extraction. After a failure it only goes on hashing what comes in. */
class Extraction implements AsyncDisposable {
  readonly #options: ExtractOptions;
  readonly #compressed = createHash('sha256');
  readonly #plain = createHash('sha256');
  readonly #directoryFd: number;
  readonly #headersFd: number;
  readonly #writeback: Writeback;
  readonly #tree: LayerTree;
  readonly #headers: LayerHeadersWriter;
  readonly #tar: TarReader;
  #head: Buffer | undefined = Buffer.alloc(0);
  #inflater: SyncInflater | undefined;
  #entry: TarEntry | undefined;
  #tarBytes = 0;
  #headersBytes = 0;
  #failure: Error | undefined;
  sizeBytes = 0;
  /** The chunks pushed are inflated already. */
  isInflated = false;

  constructor(options: ExtractOptions) {
    this.#options = options;
    const { directory, sys } = options;
    const { O_RDONLY, O_DIRECTORY, O_WRONLY, O_CREAT, O_EXCL } = constants;
    this.#directoryFd = openSync(directory, O_RDONLY | O_DIRECTORY);
    this.#headersFd = openSync(path.join(directory, 'headers'), O_WRONLY | O_CREAT | O_EXCL, 0o600);
    this.#headers = new LayerHeadersWriter((bytes) => {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#headersFd, bytes, at);
      this.#headersBytes += bytes.length;
    });
    this.#writeback = new Writeback(sys, this.#directoryFd);
    this.#tree = new LayerTree({
      sys,
      directory,
      writeback: this.#writeback,
      onWarning: options.onWarning ?? (() => undefined),
      onMoved: (number, from) => this.#headers.moved(number, from),
    });
    this.#tar = new TarReader({
      entry: (entry) => {
        this.#entry = entry;
        this.#tree.entry(entry);
      },
      content: (bytes, offset) => this.#tree.content(bytes, offset),
      entryEnd: () => this.#entryEnd(),
      raw: (bytes) => this.#headers.raw(bytes),
    });
  }

  /** Counts and hashes bytes of the source. */
  received(chunk: Uint8Array): void {
    this.sizeBytes += chunk.length;
    this.#compressed.update(chunk);
  }

  /** Extracts what a chunk holds. Failures are kept until the digest is known. */
  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined) return;
    // mkdir, mknod and open obey the umask; nothing else runs before it is set back.
    const umask = process.umask(0);
    try {
      if (this.isInflated) this.#inflated(asBuffer(chunk));
      else this.#push(asBuffer(chunk));
    } catch (error) {
      this.#fail(error);
    } finally {
      process.umask(umask);
    }
  }

  /**
   * Damaged bytes and wrong bytes are told apart by the digest: so the rest is taken in, and only
   * when it matches is the damage the producer's. Without a digest, or when it is our disk that
   * fails, nothing is to be learned from the rest.
   */
  #fail(error: unknown): void {
    const isTheirs = isEngineError(error) && errnoOf(error) === undefined;
    if (!isTheirs || this.#options.expected.digest === undefined) throw error;
    this.#failure = error;
  }

  #push(chunk: Buffer): void {
    if (this.#head === undefined) {
      if (this.#inflater === undefined) this.#inflated(chunk);
      else this.#inflater.push(chunk);
      return;
    }
    this.#head = Buffer.concat([this.#head, chunk]);
    if (this.#head.length >= MAGIC_BYTES) this.#start();
  }

  /** Enough bytes are here to tell the compression, or no more will come. */
  #start(): void {
    const head = this.#head ?? Buffer.alloc(0);
    this.#head = undefined;
    const compression: Compression = detectCompression(head);
    if (compression !== 'none') {
      this.#inflater = openSyncInflater(compression, (bytes) => this.#inflated(bytes));
    }
    if (head.length > 0) this.#push(head);
  }

  #inflated(bytes: Buffer): void {
    this.#tarBytes += bytes.length;
    if (this.#tarBytes > LIMITS.layerBytesMax) {
      throw invalidArgument(`layer of more than ${LIMITS.layerBytesMax} bytes`);
    }
    this.#plain.update(bytes);
    this.#tar.push(bytes);
  }

  #entryEnd(): void {
    const entry = this.#entry;
    const place = this.#tree.entryEnd();
    if (place === undefined || entry === undefined) return;
    const whole = [{ offset: 0, bytes: entry.storedBytes }];
    this.#headers.contentsOf(place, entry.segments ?? whole);
  }

  get isBehind(): boolean {
    return this.#writeback.isFull;
  }

  async catchUp(): Promise<void> {
    await this.#writeback.turn();
  }

  async finish(): Promise<ExtractedLayer> {
    const digest = parseDigest(`sha256:${this.#compressed.digest('hex')}`);
    try {
      if (this.#failure !== undefined) throw this.#failure;
      const umask = process.umask(0);
      try {
        if (this.#head !== undefined && !this.isInflated) this.#start();
        this.#inflater?.end();
        this.#tar.end();
      } finally {
        process.umask(umask);
      }
    } catch (error) {
      this.#checkBlob(digest, error);
      throw error;
    }
    this.#checkBlob(digest);
    const sum = this.#plain.digest();
    const diffId = parseDiffId(`sha256:${sum.toString('hex')}`);
    const { expected, directory, origin } = this.#options;
    if (expected.diffId !== undefined && diffId !== expected.diffId) {
      throw dataLoss("layers from manifest don't match image configuration", {
        detail: { expected: expected.diffId, got: diffId },
      });
    }
    this.#headers.end(this.#tarBytes, sum);
    this.#tree.finish();
    await this.#writeback.finish();
    this.#options.sys.fadvise(this.#headersFd, 0, 0, FADV.DONTNEED);
    const blob =
      origin === undefined ? undefined : { ...origin, digest, sizeBytes: this.sizeBytes };
    return {
      directory,
      diffId,
      tarBytes: this.#tarBytes,
      diskBytes: this.#tree.fileBytes,
      writtenBytes: this.#tree.writtenBytes + this.#headersBytes,
      blob,
      digest,
      sizeBytes: this.sizeBytes,
    };
  }

  #checkBlob(digest: Digest, cause?: unknown): void {
    const { expected } = this.#options;
    if (expected.digest !== undefined && digest !== expected.digest) {
      throw verificationFailed(expected, `its digest is ${digest}`, cause);
    }
    if (expected.sizeBytes !== undefined && this.sizeBytes !== expected.sizeBytes) {
      throw verificationFailed(expected, `${this.sizeBytes} bytes came`, cause);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#inflater?.[Symbol.dispose]();
    await this.#writeback[Symbol.asyncDispose]();
    this.#tree[Symbol.dispose]();
    closeSync(this.#headersFd);
    closeSync(this.#directoryFd);
  }
}
