import { createHash } from 'node:crypto';
import { assert, invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
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
import { UnpackThread } from '../kernel/unpack-thread.ts';
import type { BlobCheckpoint } from '../store/layers/layer-checkpoint.ts';
import type { LayerCheckpoints } from './layer-checkpoints.ts';

/** How a layer's blob is taken in. */
export type BlobIntakeOptions = {
  /** Told where the blob could be gone on with. */
  readonly checkpoints: LayerCheckpoints | undefined;
  /** Goes on from there; `replay` must get the tar's bytes up to it first. */
  readonly from: BlobCheckpoint | undefined;
  /** Both digests are known beforehand: gzip's own check sums prove nothing more. */
  readonly isProved: boolean;
  /** Bytes of the tar, in order; only valid during the call. */
  readonly onTar: (bytes: Buffer) => void;
  /** For tests: everything on one thread. */
  readonly withoutThread?: boolean | undefined;
};

/** The state of the blob's digest at a place. */
type HashedPlace = { readonly hashedBytes: number; readonly hashState: Buffer };

type Hash = Pick<ResumableSha256, 'update' | 'digest'>;
const NOTHING = Buffer.alloc(0);

/**
 * What comes before a layer's tar:
 *
 *   bytes → sha256 → inflate → sha256 → tar
 *
 * Of gzip all three happen on a thread of their own ({@link UnpackThread}) where there is one.
 */
export class BlobIntake implements Disposable {
  readonly #options: BlobIntakeOptions;
  #blobHash: Hash;
  #plainHash: Hash;
  #head: Buffer | undefined = NOTHING;
  #compression: Compression = 'none';
  #inflater: SyncInflater | undefined;
  #thread: UnpackThread | undefined;
  /** Begins at the first bytes, as what is replayed before them is hashed here. */
  #resumesAt: InflatePoint | undefined;
  #isInflated = false;
  #tarBytes = 0;
  /** Bytes of the source that are hashed again, but were inflated before. */
  #skip = 0;
  /** zstd: the digest's state before the piece that is taken in, and where inflating can begin. */
  #piece: HashedPlace | undefined;
  #restart: (HashedPlace & ZstdRestart) | undefined;
  /** Bytes of the source so far. */
  sizeBytes = 0;

  constructor(options: BlobIntakeOptions) {
    this.#options = options;
    const { from } = options;
    const hash = ResumableSha256.open(from?.hashState);
    assert(from === undefined || hash !== undefined, 'a checkpoint without its codec');
    this.#blobHash = hash ?? createHash('sha256');
    this.#plainHash = ResumableSha256.open() ?? createHash('sha256');
    if (hash !== undefined) this.#piece = { hashedBytes: 0, hashState: hash.state() };
    if (from !== undefined) this.#goOn(from);
  }

  /** Bytes of the tar so far. */
  get tarBytes(): number {
    return this.#tarBytes;
  }

  get compression(): Compression {
    return this.#compression;
  }

  #goOn({ compression, hashedBytes, hashState, point, dropBytes }: BlobCheckpoint): void {
    this.#head = undefined;
    this.#compression = compression;
    this.sizeBytes = hashedBytes;
    this.#skip = point.inputBytes - hashedBytes;
    if (compression === 'gzip') this.#resumesAt = point;
    if (compression !== 'zstd') return;
    const { inputBytes, outputBytes } = point;
    const from = { inputBytes, outputBytes: outputBytes - dropBytes };
    this.#restart = { ...from, hashedBytes, hashState };
    this.#inflater = this.#openZstd(from, dropBytes);
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

  /** `hashedBytes` of those to come are hashed already, `#skip` of them unpacked. */
  #openGzip(hashedBytes: number): void {
    const from = this.#resumesAt;
    this.#resumesAt = undefined;
    this.#thread = this.#openThread(hashedBytes, from);
    if (this.#thread !== undefined) return;
    const inflater = ResumableInflater.open({
      onOutput: (bytes) => this.#inflated(bytes),
      onBlock: () => {
        if (inflater !== undefined)
          this.#options.checkpoints?.block('gzip', () => inflater.point());
      },
      ...(from === undefined ? {} : { from }),
    });
    assert(from === undefined || inflater !== undefined, 'a checkpoint without its codec');
    this.#inflater = inflater ?? openSyncInflater('gzip', (bytes) => this.#inflated(bytes));
  }

  #openThread(hashedBytes: number, from: InflatePoint | undefined): UnpackThread | undefined {
    const [blob, plain] = [this.#blobHash, this.#plainHash];
    const canMove = blob instanceof ResumableSha256 && plain instanceof ResumableSha256;
    if (!canMove || this.#options.withoutThread === true) return undefined;
    const start = {
      ...{ blobState: blob.state(), plainState: plain.state() },
      ...{ hashedBytes, knownBytes: this.#skip },
      isChecked: !this.#options.isProved,
      ...(from === undefined ? {} : { from }),
    };
    return UnpackThread.open(start, (bytes) => this.#tar(bytes));
  }

  /** Bytes of the tar that an earlier extraction has read already. */
  replay(bytes: Buffer): void {
    this.#inflated(bytes);
  }

  /** Says that `push` gets what this compression holds, while `received` gets the source's bytes. */
  inflatedElsewhere(compression: Compression): void {
    this.#isInflated = true;
    this.#compression = compression;
  }

  /** Counts and hashes bytes of the source; {@link push} takes them then. */
  received(chunk: Uint8Array): void {
    const { checkpoints } = this.#options;
    const hash = this.#blobHash;
    const { sizeBytes } = this;
    this.sizeBytes += chunk.length;
    if (this.#thread !== undefined) {
      if (checkpoints?.wantsPlace(sizeBytes) === true) this.#thread.wantPlace();
      return;
    }
    if (hash instanceof ResumableSha256 && checkpoints !== undefined) {
      checkpoints.piece(sizeBytes, () => hash.state());
      if (this.#compression === 'none' && this.#head === undefined) {
        const [inputBytes, outputBytes] = [sizeBytes, this.#tarBytes];
        const point = { inputBytes, outputBytes, bits: 0, lastByte: 0, window: NOTHING };
        checkpoints.block('none', () => point);
      }
      if (this.#compression === 'zstd') this.#zstdPiece(sizeBytes, hash, checkpoints);
    }
    hash.update(chunk);
  }

  /** A piece comes: before it everything up to here can be kept, and inflating begin at a frame. */
  #zstdPiece(sizeBytes: number, hash: ResumableSha256, checkpoints: LayerCheckpoints): void {
    const outputBytes = this.#tarBytes;
    const restart = this.#restart;
    if (restart !== undefined) {
      const { inputBytes, hashedBytes, hashState } = restart;
      const none = { bits: 0, lastByte: 0, window: NOTHING };
      checkpoints.restart(() => ({
        compression: 'zstd',
        ...{ hashedBytes, hashState },
        point: { ...none, inputBytes, outputBytes },
        dropBytes: outputBytes - restart.outputBytes,
      }));
    }
    this.#piece = { hashedBytes: sizeBytes, hashState: hash.state() };
  }

  /**
   * Unpacks what a chunk holds.
   * @throws dataLoss when it is damaged; what `onTar` throws. Then {@link onlyHash} takes the rest
   */
  push(chunk: Buffer): void {
    if (this.#isInflated) {
      this.#inflated(chunk);
      return;
    }
    if (this.#head !== undefined) {
      this.#head = Buffer.concat([this.#head, chunk]);
      if (this.#head.length >= MAGIC_BYTES) this.#start();
      return;
    }
    if (this.#resumesAt !== undefined) this.#openGzip(chunk.length);
    this.#unpack(chunk);
  }

  /** The same for a chunk of which only the digest matters, after a failure. */
  onlyHash(chunk: Uint8Array): void {
    this.#thread?.onlyHash(chunk);
  }

  #unpack(whole: Buffer): void {
    if (this.#thread !== undefined) {
      this.#thread.push(whole);
      const place = this.#options.checkpoints?.isAsked === true ? this.#thread.place() : undefined;
      if (place !== undefined) this.#options.checkpoints?.place(place);
      return;
    }
    const chunk = whole.subarray(this.#skip);
    this.#skip -= whole.length - chunk.length;
    if (this.#inflater === undefined) this.#inflated(chunk);
    else this.#inflater.push(chunk);
  }

  /** Enough bytes are here to tell the compression, or no more will come. */
  #start(): void {
    const head = this.#head ?? NOTHING;
    this.#head = undefined;
    this.#compression = detectCompression(head);
    if (this.#compression === 'gzip') this.#openGzip(head.length);
    if (this.#compression === 'zstd') {
      const start = { inputBytes: 0, outputBytes: 0 };
      if (this.#piece !== undefined) this.#restart = { ...this.#piece, ...start };
      this.#inflater = this.#openZstd(start, 0);
    }
    if (head.length > 0) this.#unpack(head);
  }

  #inflated(bytes: Buffer): void {
    if (this.hasPlainSum) this.#plainHash.update(bytes);
    this.#tar(bytes);
  }

  #tar(bytes: Buffer): void {
    this.#tarBytes += bytes.length;
    if (this.#tarBytes > LIMITS.layerBytesMax) {
      throw invalidArgument(`layer of more than ${LIMITS.layerBytesMax} bytes`);
    }
    this.#options.onTar(bytes);
  }

  /**
   * Without compression both digests are one; but where an earlier extraction is gone on with, the
   * blob's does not go over the files that are here.
   */
  get hasPlainSum(): boolean {
    return this.#compression !== 'none' || this.#options.from !== undefined;
  }

  /** No more bytes come. @throws the same, and dataLoss ("unexpected EOF") */
  end(): void {
    if (this.#head !== undefined && !this.#isInflated) this.#start();
    if (this.#resumesAt !== undefined) this.#openGzip(0);
    this.#thread?.end();
    this.#inflater?.end();
  }

  /** SHA-256 of the blob and of the tar; when all has come, or failed. */
  digests(): { readonly blob: Buffer; readonly plain: Buffer } {
    const states = this.#thread?.states();
    if (states !== undefined) {
      this.#blobHash = ResumableSha256.open(states.blob) ?? this.#blobHash;
      this.#plainHash = ResumableSha256.open(states.plain) ?? this.#plainHash;
    }
    const blob = this.#blobHash.digest();
    return { blob, plain: this.hasPlainSum ? this.#plainHash.digest() : blob };
  }

  [Symbol.dispose](): void {
    this.#thread?.[Symbol.dispose]();
    this.#inflater?.[Symbol.dispose]();
  }
}
