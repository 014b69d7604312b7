import { closeSync, constants, mkdirSync, openSync, writeSync } from 'node:fs';
import path from 'node:path';
import { type DiffId, type Digest, parseDiffId, parseDigest } from '../base/digest.ts';
import { dataLoss, errnoOf, isEngineError } from '../base/errors.ts';
import { asBuffer } from '../formats/byte-string.ts';
import { LayerHeadersWriter } from '../formats/layer-headers.ts';
import type { TarEntry } from '../formats/tar-entry.ts';
import { TarReader } from '../formats/tar-reader.ts';
import { FADV } from '../kernel/constants.ts';
import type { Compression } from '../kernel/sync-inflate.ts';
import type { Syscalls } from '../kernel/syscalls.ts';
import type { StagedLayer } from '../store/layer-store.ts';
import {
  type BlobCheckpoint,
  removeCheckpoint,
  writeCheckpoint,
} from '../store/layers/layer-checkpoint.ts';
import { BlobIntake } from './blob-intake.ts';
import type { EarlierFiles } from './earlier-files.ts';
import { type LayerSink, openSink } from './image-tree.ts';
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
   * beside it have are shared with them; and perhaps an image of the names instead of a tree.
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
  /** The caller compares the diffID, so that gzip's own check sums prove nothing more. */
  readonly isProved?: boolean;
  /** The same files for who brings the bytes up to the checkpoint by other ways. */
  readonly files?: EarlierFiles | undefined;
  /** For tests: what happens where no threads can unpack and make files. */
  readonly withoutThread?: boolean | undefined;
};

/** An extracted layer, with what is known of its bytes. */
export type ExtractedLayer = StagedLayer & {
  readonly digest: Digest;
  readonly sizeBytes: number;
  readonly compression: Compression;
};

/** The error of bytes that are not those that were asked for; its text is Docker's. */
export function verificationFailed(expected: ExpectedLayer, why: string, cause?: unknown): Error {
  return dataLoss(
    `filesystem layer verification failed for digest ${expected.digest ?? expected.diffId}`,
    { cause, detail: { why } },
  );
}

function openCheckpoints({
  checkpoints,
  expected,
  from,
}: ExtractionOptions): LayerCheckpoints | undefined {
  if (checkpoints === undefined || expected.digest === undefined) return undefined;
  return new LayerCheckpoints(expected.digest, checkpoints, from?.checkpoint.hashedBytes ?? 0);
}

/**
 * One layer being extracted, driven by pushes:
 *
 *   bytes → {@link BlobIntake} → tar → files
 *                                 └→ headers
 *
 * After a failure it only goes on hashing what comes in.
 */
export class LayerExtraction implements AsyncDisposable {
  readonly #options: ExtractionOptions;
  readonly #intake: BlobIntake;
  readonly #checkpoints: LayerCheckpoints | undefined;
  readonly #directoryFd: number;
  readonly #headersFd: number;
  readonly #writeback: Writeback;
  readonly #sharing: LayerSharing | undefined;
  readonly #tree: LayerSink;
  readonly #headers: LayerHeadersWriter;
  readonly #tar: TarReader;
  #entry: TarEntry | undefined;
  #headersBytes = 0;
  #failure: Error | undefined;
  #checkpointBytes = 0;

  constructor(options: ExtractionOptions) {
    mkdirSync(options.directory, { mode: 0o700 });
    this.#options = options;
    const { directory, sys, expected } = options;
    this.#checkpoints = openCheckpoints(options);
    this.#intake = new BlobIntake({
      checkpoints: this.#checkpoints,
      from: options.from?.checkpoint,
      isProved:
        options.isProved ?? (expected.digest !== undefined && expected.diffId !== undefined),
      onTar: (bytes) => this.#tar.push(bytes),
      withoutThread: options.withoutThread,
    });
    const { O_RDONLY, O_DIRECTORY, O_WRONLY, O_CREAT, O_EXCL } = constants;
    this.#directoryFd = openSync(directory, O_RDONLY | O_DIRECTORY);
    this.#headersFd = openSync(path.join(directory, 'headers'), O_WRONLY | O_CREAT | O_EXCL, 0o600);
    this.#headers = new LayerHeadersWriter((bytes) => {
      for (let at = 0; at < bytes.length; ) at += writeSync(this.#headersFd, bytes, at);
      this.#headersBytes += bytes.length;
    });
    this.#writeback = new Writeback(sys, this.#directoryFd);
    this.#sharing = LayerSharing.of(sys, directory);
    this.#tree = openSink({
      sys,
      directory,
      writeback: this.#writeback,
      sharing: this.#sharing,
      earlier: options.from?.files ?? options.files,
      onWarning: options.onWarning ?? (() => undefined),
      onMoved: (number, from) => this.#headers.moved(number, from),
      withoutThread: options.withoutThread,
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

  /** Bytes of the source so far. */
  get sizeBytes(): number {
    return this.#intake.sizeBytes;
  }

  /** Bytes of the tar that an earlier extraction has read already. */
  replay(bytes: Buffer): void {
    const umask = process.umask(0);
    try {
      this.#intake.replay(bytes);
    } finally {
      process.umask(umask);
    }
  }

  /** Says that `push` gets what this compression holds, while `received` gets the source's bytes. */
  inflatedElsewhere(compression: Compression): void {
    this.#intake.inflatedElsewhere(compression);
  }

  /**
   * The tar's bytes from here on, until the entry's end or until this is said again, are the content
   * of one entry and come out of this file.
   */
  copiesFrom(file: FileIdentity | undefined): void {
    if (this.#sharing !== undefined) this.#sharing.source = file;
  }

  /** Counts and hashes bytes of the source; {@link push} takes them then. */
  received(chunk: Uint8Array): void {
    this.#intake.received(chunk);
  }

  /** Extracts what a chunk holds. Failures are kept until the digest is known. */
  push(chunk: Uint8Array): void {
    if (this.#failure !== undefined) {
      this.#intake.onlyHash(chunk);
      return;
    }
    // mkdir, mknod and open obey the umask; nothing else runs before it is set back.
    const umask = process.umask(0);
    try {
      this.#intake.push(asBuffer(chunk));
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
  fail(cause: unknown): void {
    const error = this.#tree.firstOf(cause);
    const isTheirs = isEngineError(error) && errnoOf(error) === undefined;
    if (!isTheirs || this.#options.expected.digest === undefined) throw error;
    this.#failure = error;
  }

  #entryEnd(): void {
    const entry = this.#entry;
    const place = this.#tree.entryEnd();
    this.copiesFrom(undefined);
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
    try {
      if (this.#failure !== undefined) throw this.#failure;
      const umask = process.umask(0);
      try {
        this.#intake.end();
        this.#tar.end();
        this.#tree.finish();
      } finally {
        process.umask(umask);
      }
    } catch (cause) {
      const error = this.#tree.firstOf(cause);
      this.#checkBlob(this.#intake.digests().blob, error);
      throw error;
    }
    const { blob: received, plain: sum } = this.#intake.digests();
    const digest = this.#checkBlob(received);
    const diffId = parseDiffId(`sha256:${sum.toString('hex')}`);
    const { expected, directory, origin } = this.#options;
    if (expected.diffId !== undefined && diffId !== expected.diffId) {
      throw dataLoss("layers from manifest don't match image configuration", {
        detail: { expected: expected.diffId, got: diffId },
      });
    }
    this.#headers.end(this.#intake.tarBytes, sum);
    removeCheckpoint(directory);
    this.#sharing?.finish();
    await this.#writeback.finish();
    this.#options.sys.fadvise(this.#headersFd, 0, 0, FADV.DONTNEED);
    const blob =
      origin === undefined ? undefined : { ...origin, digest, sizeBytes: this.sizeBytes };
    return {
      directory,
      name: this.#sharing?.group,
      diffId,
      tarBytes: this.#intake.tarBytes,
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
      compression: this.#intake.compression,
    };
  }

  #checkBlob(sum: Buffer, cause?: unknown): Digest {
    const { expected } = this.#options;
    const digest = parseDigest(`sha256:${sum.toString('hex')}`);
    if (expected.digest !== undefined && digest !== expected.digest) {
      throw verificationFailed(expected, `its digest is ${digest}`, cause);
    }
    if (expected.sizeBytes !== undefined && this.sizeBytes !== expected.sizeBytes) {
      throw verificationFailed(expected, `${this.sizeBytes} bytes came`, cause);
    }
    return digest;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#intake[Symbol.dispose]();
    await this.#writeback[Symbol.asyncDispose]();
    this.#tree[Symbol.dispose]();
    this.#sharing?.[Symbol.dispose]();
    closeSync(this.#headersFd);
    closeSync(this.#directoryFd);
  }
}
