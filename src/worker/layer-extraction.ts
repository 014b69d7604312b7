import { createHash } from 'node:crypto';
import { closeSync, constants, mkdirSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { type DiffId, type Digest, parseDiffId, parseDigest } from '../base/digest.ts';
import { assert, dataLoss, errnoOf, invalidArgument, isEngineError } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { asBuffer } from '../formats/byte-string.ts';
import { LayerHeadersWriter } from '../formats/layer-headers.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { TarReader } from '../formats/tar-reader.ts';
import { FADV } from '../kernel/constants.ts';
import { RestartableZstd, type ZstdRestart } from '../kernel/restartable-zstd.ts';
import { type InflatePoint, ResumableInflater } from '../kernel/resumable-inflate.ts';
import { ResumableSha256 } from '../kernel/resumable-sha256.ts';
import {
  type Compression,
  detectCompression,
  MAGIC_BYTES,
  openSyncInflater,
  type SyncInflater,
} from '../kernel/sync-inflate.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import type { StagedLayer } from '../store/layer-store.ts';
import {
  type BlobCheckpoint,
  removeCheckpoint,
  writeCheckpoint,
} from '../store/layers/layer-checkpoint.ts';
import type { EarlierFiles } from './earlier-files.ts';
import { LayerTree } from './extract-tree.ts';
import { type CheckpointPace, type DueCheckpoint, LayerCheckpoints } from './layer-checkpoints.ts';
import { LayerSharing } from './layer-sharing.ts';
import type { FileIdentity } from './local-contents.ts';
import { Writeback } from './writeback.ts';

/** What a layer must turn out to be; what is left out is not checked. */
export type ExpectedLayer = {
  /** Of the bytes as they come. */
  readonly digest?: Digest;
  readonly sizeBytes?: number;
  readonly diffId?: DiffId;
};

/** How and where a layer is extracted. */
export type ExtractionOptions = {
  readonly sys: Syscalls;
  /**
   * Absolute; does not exist yet, on the data root's filesystem. Gets `diff/`, `headers`, `apart/`;
   * below the data root's `staging/` also `objects/` and `contents`, and contents that layers
   * beside it have are shared with them.
   */
  readonly directory: string;
  readonly expected: ExpectedLayer;
  /** Where it came from, to be remembered beside the layer; undefined remembers nothing. */
  readonly origin: { readonly repository: string; readonly mediaType: string } | undefined;
  /** What could not be kept and does no harm, such as xattrs that the filesystem has not. */
  readonly onWarning?: (message: string) => void;
  /** Notes how far it has come, to be gone on from after a cut; needs an expected digest. */
  readonly checkpoints?: CheckpointPace;
  /** Goes on from a checkpoint; `replay` must get the tar's bytes up to it first. */
  readonly from?: {
    readonly checkpoint: BlobCheckpoint;
    readonly files: EarlierFiles;
  };
  /** The same files for who brings the bytes up to the checkpoint by other ways. */
  readonly files?: EarlierFiles | undefined;
};

/** An extracted layer, with what is known of its bytes. */
export type ExtractedLayer = StagedLayer & {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly compression: Compression;
};

/** The state of the blob's digest at a place. */
type HashedPlace = { readonly hashedBytes: number; readonly hashState: Buffer };

/** The error of bytes that are not those that were asked for; its text is Docker's. */
export function verificationFailed(expected: ExpectedLayer, why: string, cause?: unknown): Error {
  return dataLoss(
    `filesystem layer verification failed for digest ${expected.digest ?? expected.diffId}`,
    { cause, detail: { why } },
  );
}

/**
 * One layer being extracted, driven by pushes:
 *
 *   bytes → sha256 → inflate → sha256 → tar → files
 *                                         └→ headers
 *
 * After a failure it only goes on hashing what comes in.
 */
export class LayerExtraction implements AsyncDisposable {
  readonly #options: ExtractionOptions;
  readonly #compressed: Pick<ResumableSha256, 'update' | 'digest'>;
  readonly #checkpoints: LayerCheckpoints | undefined;
  readonly #plain = createHash('sha256');
  readonly #directoryFd: number;
  readonly #headersFd: number;
  readonly #writeback: Writeback;
  readonly #sharing: LayerSharing | undefined;
  readonly #tree: LayerTree;
  readonly #headers: LayerHeadersWriter;
  readonly #tar: TarReader;
  #head: Buffer | undefined = Buffer.alloc(0);
  #compression: Compression = 'none';
  #inflater: SyncInflater | undefined;
  #entry: TarEntry | undefined;
  #tarBytes = 0;
  #headersBytes = 0;
  #failure: Error | undefined;
  #isInflated = false;
  #checkpointBytes = 0;
  /** Bytes of the source that are hashed again, but were inflated before. */
  #skip = 0;
  /** zstd: the digest's state before the piece that is taken in, and where inflating can begin. */
  #piece: HashedPlace | undefined;
  #restart: (HashedPlace & ZstdRestart) | undefined;
  /** Bytes of the source so far. */
  sizeBytes = 0;

  constructor(options: ExtractionOptions) {
    mkdirSync(options.directory, { mode: 0o700 });
    this.#options = options;
    const { directory, sys } = options;
    const hash = this.#openHash();
    this.#compressed = hash ?? createHash('sha256');
    this.#checkpoints = this.#openCheckpoints(hash);
    if (hash !== undefined) this.#piece = { hashedBytes: 0, hashState: hash.state() };
    const { O_RDONLY, O_DIRECTORY, O_WRONLY, O_CREAT, O_EXCL } = constants;
    this.#directoryFd = openSync(directory, O_RDONLY | O_DIRECTORY);
    this.#headersFd = openSync(path.join(directory, 'headers'), O_WRONLY | O_CREAT | O_EXCL, 0o600);
    this.#headers = new LayerHeadersWriter((bytes) => {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#headersFd, bytes, at);
      this.#headersBytes += bytes.length;
    });
    this.#writeback = new Writeback(sys, this.#directoryFd);
    this.#sharing = LayerSharing.of(sys, directory);
    this.#tree = new LayerTree({
      sys,
      directory,
      writeback: this.#writeback,
      sharing: this.#sharing,
      earlier: options.from?.files ?? options.files,
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
    if (options.from !== undefined) this.#goOn(options.from.checkpoint);
  }

  /** Undefined where nothing asks for one that can be kept, or there is none. */
  #openHash(): ResumableSha256 | undefined {
    const { checkpoints, from } = this.#options;
    if (checkpoints === undefined && from === undefined) return undefined;
    const hash = ResumableSha256.open(from?.checkpoint.hashState);
    assert(from === undefined || hash !== undefined, 'a checkpoint without its codec');
    return hash;
  }

  #openCheckpoints(hash: ResumableSha256 | undefined): LayerCheckpoints | undefined {
    const { checkpoints, expected, from } = this.#options;
    if (checkpoints === undefined || hash === undefined || expected.digest === undefined) {
      return undefined;
    }
    const fromByte = from?.checkpoint.hashedBytes ?? 0;
    return new LayerCheckpoints(expected.digest, checkpoints, fromByte);
  }

  #goOn(checkpoint: BlobCheckpoint): void {
    const { compression, hashedBytes, hashState, point, dropBytes } = checkpoint;
    this.#head = undefined;
    this.#compression = compression;
    this.sizeBytes = hashedBytes;
    this.#skip = point.inputBytes - hashedBytes;
    if (compression === 'none') return;
    if (compression === 'zstd') {
      const { inputBytes, outputBytes } = point;
      const from = { inputBytes, outputBytes: outputBytes - dropBytes };
      this.#restart = { ...from, hashedBytes, hashState };
      this.#inflater = this.#openZstd(from, dropBytes);
    } else this.#inflater = this.#openResumable(point);
    assert(this.#inflater !== undefined, 'a checkpoint without its codec');
  }

  #openZstd(from: ZstdRestart, dropBytes: number): RestartableZstd | undefined {
    return RestartableZstd.open({
      onOutput: (bytes) => this.#inflated(bytes),
      onFrame: (restart) => {
        if (this.#piece !== undefined) this.#restart = { ...this.#piece, ...restart };
      },
      from,
      dropBytes,
    });
  }

  #openResumable(from?: InflatePoint): ResumableInflater | undefined {
    const inflater = ResumableInflater.open({
      onOutput: (bytes) => this.#inflated(bytes),
      onBlock: () => {
        if (inflater !== undefined) this.#checkpoints?.block('gzip', () => inflater.point());
      },
      ...(from === undefined ? {} : { from }),
    });
    return inflater;
  }

  /** Bytes of the tar that an earlier extraction has read already. */
  replay(bytes: Buffer): void {
    const umask = process.umask(0);
    try {
      this.#inflated(bytes);
    } finally {
      process.umask(umask);
    }
  }

  /** Says that `push` gets what this compression holds, while `received` gets the source's bytes. */
  inflatedElsewhere(compression: Compression): void {
    this.#isInflated = true;
    this.#compression = compression;
  }

  /**
   * The tar's bytes from here on, until this is said again, are the content of one entry and come
   * out of this file.
   */
  copiesFrom(file: FileIdentity | undefined): void {
    if (this.#sharing !== undefined) this.#sharing.source = file;
  }

  /** Counts and hashes bytes of the source; {@link push} takes them then. */
  received(chunk: Uint8Array): void {
    const hash = this.#compressed;
    if (hash instanceof ResumableSha256) {
      this.#checkpoints?.piece(this.sizeBytes, () => hash.state());
      if (this.#compression === 'none' && this.#head === undefined) {
        const [inputBytes, outputBytes] = [this.sizeBytes, this.#tarBytes];
        const point = { inputBytes, outputBytes, bits: 0, lastByte: 0, window: Buffer.alloc(0) };
        this.#checkpoints?.block('none', () => point);
      }
      if (this.#compression === 'zstd' && this.#checkpoints !== undefined) this.#zstdPiece(hash);
    }
    this.sizeBytes += chunk.length;
    this.#compressed.update(chunk);
  }

  /** A piece comes: before it everything up to here can be kept, and inflating begin at a frame. */
  #zstdPiece(hash: ResumableSha256): void {
    const outputBytes = this.#tarBytes;
    const restart = this.#restart;
    if (restart !== undefined) {
      const { inputBytes, hashedBytes, hashState } = restart;
      const none = { bits: 0, lastByte: 0, window: Buffer.alloc(0) };
      this.#checkpoints?.restart(() => ({
        compression: 'zstd',
        ...{ hashedBytes, hashState },
        point: { ...none, inputBytes, outputBytes },
        dropBytes: outputBytes - restart.outputBytes,
      }));
    }
    this.#piece = { hashedBytes: this.sizeBytes, hashState: hash.state() };
  }

  /** Extracts what a chunk holds. Failures are kept until the digest is known. */
  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined) return;
    // mkdir, mknod and open obey the umask; nothing else runs before it is set back.
    const umask = process.umask(0);
    try {
      if (this.#isInflated) this.#inflated(asBuffer(chunk));
      else this.#push(asBuffer(chunk));
    } catch (error) {
      this.fail(error);
    } finally {
      process.umask(umask);
    }
  }

  /**
   * Takes note that the bytes cannot be extracted; throws when that is all there is to know.
   * Damaged bytes and wrong bytes are told apart by the digest: so the rest is taken in, and only
   * when it matches is the damage the producer's. Without a digest, or when it is our disk that
   * fails, nothing is to be learned from the rest.
   */
  fail(error: unknown): void {
    const isTheirs = isEngineError(error) && errnoOf(error) === undefined;
    if (!isTheirs || this.#options.expected.digest === undefined) throw error;
    this.#failure = error;
  }

  #push(whole: Buffer): void {
    const chunk = whole.subarray(this.#skip);
    this.#skip -= whole.length - chunk.length;
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
    this.#compression = detectCompression(head);
    if (this.#compression === 'gzip' && this.#checkpoints !== undefined) {
      this.#inflater = this.#openResumable();
    }
    if (this.#compression === 'zstd' && this.#checkpoints !== undefined) {
      const start = { inputBytes: 0, outputBytes: 0 };
      if (this.#piece !== undefined) this.#restart = { ...this.#piece, ...start };
      this.#inflater = this.#openZstd(start, 0);
    }
    if (this.#compression !== 'none') {
      this.#inflater ??= openSyncInflater(this.#compression, (bytes) => this.#inflated(bytes));
    }
    if (head.length > 0) this.#push(head);
  }

  #inflated(bytes: Buffer): void {
    this.#tarBytes += bytes.length;
    if (this.#tarBytes > LIMITS.layerBytesMax) {
      throw invalidArgument(`layer of more than ${LIMITS.layerBytesMax} bytes`);
    }
    if (this.#hasPlainSum) this.#plain.update(bytes);
    this.#tar.push(bytes);
  }

  /**
   * Without compression both digests are one; but where an earlier extraction is gone on with, the
   * blob's does not go over the files that are here.
   */
  get #hasPlainSum(): boolean {
    return this.#compression !== 'none' || this.#options.from !== undefined;
  }

  #entryEnd(): void {
    const entry = this.#entry;
    const place = this.#tree.entryEnd();
    if (place === undefined || entry === undefined) return;
    const whole = [{ offset: 0, bytes: entry.storedBytes }];
    this.#headers.contentsOf(place, entry.segments ?? whole);
  }

  /** True when {@link catchUp} is due, so that dirty pages stay few. */
  get isBehind(): boolean {
    return this.#writeback.isFull || this.#isAtCheckpoint;
  }

  /** Headers and files stand for all that the tar says up to a point to go on from. */
  get #isAtCheckpoint(): boolean {
    const tarBytes = this.#headers.tarBytes + (this.#tree.unfinished?.bytes ?? 0);
    return this.#checkpoints?.isDue(tarBytes) === true;
  }

  /** Waits for the disk. */
  async catchUp(): Promise<void> {
    if (this.#isAtCheckpoint) await this.#note();
    else await this.#writeback.turn();
  }

  async #note(): Promise<void> {
    const due = this.#checkpoints?.take();
    if (due !== undefined) await this.note(due);
  }

  /**
   * Notes how far it has come, when all up to here is on the disk. Nothing is noted where what has
   * come is in memory alone, or cannot be read again.
   */
  async note(due: DueCheckpoint): Promise<void> {
    const tailBytes = Math.max(0, due.point.outputBytes - this.#headers.tarBytes);
    const unfinished = tailBytes === 0 ? undefined : this.#tree.unfinished;
    const isHere = tailBytes <= (unfinished?.bytes ?? 0);
    if (!isHere || this.#failure !== undefined || this.#tree.hasApart) return;
    const tail = unfinished && { ...unfinished, bytes: tailBytes };
    this.#headers.flush();
    const headersBytes = this.#headersBytes;
    await this.#writeback.finish();
    await this.#options.sys.syncfsAsync(this.#directoryFd);
    const checkpoint = { ...due, headersBytes, tail };
    this.#checkpointBytes += writeCheckpoint(this.#options.directory, checkpoint);
  }

  /** All bytes have come. Contents are written when this resolves; the commit makes them durable. */
  async finish(): Promise<ExtractedLayer> {
    const received = this.#compressed.digest();
    const digest = parseDigest(`sha256:${received.toString('hex')}`);
    try {
      if (this.#failure !== undefined) throw this.#failure;
      const umask = process.umask(0);
      try {
        if (this.#head !== undefined && !this.#isInflated) this.#start();
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
    const sum = this.#hasPlainSum ? this.#plain.digest() : received;
    const diffId = parseDiffId(`sha256:${sum.toString('hex')}`);
    const { expected, directory, origin } = this.#options;
    if (expected.diffId !== undefined && diffId !== expected.diffId) {
      throw dataLoss("layers from manifest don't match image configuration", {
        detail: { expected: expected.diffId, got: diffId },
      });
    }
    this.#headers.end(this.#tarBytes, sum);
    removeCheckpoint(directory);
    this.#tree.finish();
    this.#sharing?.finish();
    await this.#writeback.finish();
    this.#options.sys.fadvise(this.#headersFd, 0, 0, FADV.DONTNEED);
    const blob =
      origin === undefined ? undefined : { ...origin, digest, sizeBytes: this.sizeBytes };
    return {
      directory,
      diffId,
      tarBytes: this.#tarBytes,
      diskBytes: this.#tree.fileBytes,
      writtenBytes:
        this.#tree.writtenBytes +
        this.#headersBytes +
        this.#checkpointBytes +
        (this.#sharing?.listBytes ?? 0),
      sharedBytes: this.#sharing?.sharedBytes ?? 0,
      blob,
      digest,
      sizeBytes: this.sizeBytes,
      compression: this.#compression,
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
    this.#sharing?.[Symbol.dispose]();
    closeSync(this.#headersFd);
    closeSync(this.#directoryFd);
  }
}
