import { dataLoss, type EngineError, invalidArgument } from '../base/errors.ts';
import { LIMITS } from '../base/limits.ts';
import { asBuffer, type ByteString, byteString } from './byte-string.ts';
import {
  kindOf,
  makeEntry,
  storedBytesOf,
  type TarEntry,
  type TarKind,
  type TarMetadata,
} from './tar-entry.ts';
import {
  BLOCK_BYTES,
  decodeHeader,
  invalidHeader,
  isZeroBlock,
  parseNumber,
} from './tar-header.ts';
import { copyPax, noPaxRecords, type PaxRecords, parsePax, paxInteger } from './tar-pax.ts';
import {
  checkSegments,
  OLD_GNU,
  oldGnuSegments,
  paxSegments,
  type Segment,
  SparseMapReader,
} from './tar-sparse.ts';

/**
 * A push parser of tar: bytes in by chunks of any size, entries and slices of their content out.
 * Content is never copied or looked at. Reads ustar, GNU (long names, sparse, base-256), PAX (local
 * and global headers, GNU sparse 0.0, 0.1 and 1.0, xattrs of star and libarchive), star and v7.
 *
 * An archive ends with two blocks of zeros or, as Docker accepts too, with its last entry; whatever
 * follows the blocks of zeros belongs to the archive's bytes but not to its entries.
 */
export type TarSink = {
  /** An entry begins. Throwing stops the parser for good. */
  readonly entry: (entry: TarEntry) => void;
  /** The next bytes of its content and where in the file they belong. Only valid during the call. */
  readonly content: (bytes: Buffer, offset: number) => void;
  /** The entry is complete. */
  readonly entryEnd: () => void;
  /** All bytes of the archive that are not content, in order. Only valid during the call. */
  readonly raw?: (bytes: Buffer) => void;
};

/** What the block or blocks being gathered are. */
type Step = 'header' | 'oldSparse' | 'sparseMap' | 'metadata' | 'padding';

type Metadata = 'x' | 'g' | 'L' | 'K';

/** An entry whose content has yet to come. */
type Sparse = {
  readonly metadata: TarMetadata;
  readonly realBytes: number;
  readonly storedBytes: number;
  readonly segments: Segment[];
};

export class TarReader {
  readonly #sink: TarSink;
  #mode: 'gather' | 'content' | 'trailer' = 'gather';
  #step: Step = 'header';
  /** Bytes that the step wants as one block, and those that came in earlier chunks. */
  #need = BLOCK_BYTES;
  #buffer = Buffer.allocUnsafe(BLOCK_BYTES);
  #have = 0;

  #global: PaxRecords | undefined;
  #pax: PaxRecords | undefined;
  #longName: ByteString | undefined;
  #longLink: ByteString | undefined;
  #metadata: Metadata = 'x';
  #metadataBytes = 0;
  #sparse: Sparse | undefined;
  #map: SparseMapReader | undefined;

  #entry: TarEntry | undefined;
  /** Bytes of content in the archive that are still to come, and the segment they belong to. */
  #left = 0;
  #segment = 0;
  #offset = 0;

  #entries = 0;
  #zeroBlocks = 0;
  #trailerBytes = 0;

  constructor(sink: TarSink) {
    this.#sink = sink;
  }

  /** Entries so far. */
  get entries(): number {
    return this.#entries;
  }

  /** True once the two blocks of zeros have come. */
  get isComplete(): boolean {
    return this.#mode === 'trailer';
  }

  /**
   * Takes the next bytes of the archive.
   * @throws invalidArgument for what is not tar or exceeds a limit; what the sink throws
   */
  push(bytes: Uint8Array): void {
    const chunk = asBuffer(bytes);
    let at = 0;
    while (at < chunk.length) {
      if (this.#mode === 'content') at = this.#takeContent(chunk, at);
      else if (this.#mode === 'gather') at = this.#gather(chunk, at);
      else {
        this.#takeTrailer(chunk.subarray(at));
        return;
      }
    }
  }

  /**
   * The archive has no more bytes.
   * @param options.mayLackPadding docker's client ends a build context whose Dockerfile lies
   * elsewhere with the last byte of its last file
   * @throws dataLoss ("unexpected EOF") when an entry is incomplete
   */
  end(options: { readonly mayLackPadding?: boolean } = {}): void {
    const isGathering = this.#mode === 'gather';
    const atBoundary = isGathering && this.#step === 'header' && this.#have === 0;
    const inPadding = isGathering && this.#step === 'padding' && options.mayLackPadding === true;
    const isEnd = (atBoundary || inPadding) && !this.#hasPendingMetadata();
    const isDone = this.#mode === 'trailer' || isEnd;
    if (!isDone) throw unexpectedEof();
  }

  #hasPendingMetadata(): boolean {
    return this.#pax !== undefined || this.#longName !== undefined || this.#longLink !== undefined;
  }

  #gather(chunk: Buffer, at: number): number {
    if (this.#have === 0 && chunk.length - at >= this.#need) {
      const block = chunk.subarray(at, at + this.#need);
      this.#gathered(block);
      return at + block.length;
    }
    if (this.#buffer.length < this.#need) {
      const larger = Buffer.allocUnsafe(this.#need);
      this.#buffer.copy(larger, 0, 0, this.#have);
      this.#buffer = larger;
    }
    const taken = Math.min(this.#need - this.#have, chunk.length - at);
    chunk.copy(this.#buffer, this.#have, at, at + taken);
    this.#have += taken;
    if (this.#have === this.#need) {
      this.#have = 0;
      this.#gathered(this.#buffer.subarray(0, this.#need));
    }
    return at + taken;
  }

  #gathered(block: Buffer): void {
    this.#sink.raw?.(block);
    switch (this.#step) {
      case 'header':
        this.#header(block);
        break;
      case 'metadata':
        this.#takeMetadata(block.subarray(0, this.#metadataBytes));
        break;
      case 'oldSparse':
        this.#oldSparse(block);
        break;
      case 'sparseMap':
        this.#sparseMap(block);
        break;
      case 'padding':
        this.#want('header', BLOCK_BYTES);
        break;
    }
  }

  #want(step: Step, bytes: number): void {
    this.#mode = 'gather';
    this.#step = step;
    this.#need = bytes;
  }

  #header(block: Buffer): void {
    if (isZeroBlock(block)) {
      if (this.#hasPendingMetadata()) throw invalidHeader('a long name without an entry');
      this.#zeroBlocks += 1;
      if (this.#zeroBlocks === 2) this.#mode = 'trailer';
      return;
    }
    if (this.#zeroBlocks > 0) throw invalidHeader('an entry after a block of zeros');
    const header = decodeHeader(block);
    if (header.type === 'x' || header.type === 'g' || header.type === 'L' || header.type === 'K') {
      if (header.sizeBytes > LIMITS.tarMetadataBytesMax) {
        throw invalidArgument(`tar header of ${header.sizeBytes} bytes is too large`);
      }
      this.#metadata = header.type;
      this.#metadataBytes = header.sizeBytes;
      if (header.sizeBytes === 0) this.#takeMetadata(block.subarray(0, 0));
      else this.#want('metadata', Math.ceil(header.sizeBytes / BLOCK_BYTES) * BLOCK_BYTES);
      return;
    }
    const metadata: TarMetadata = {
      header,
      pax: this.#pax ?? this.#global ?? NO_PAX,
      longName: this.#longName,
      longLink: this.#longLink,
    };
    this.#pax = undefined;
    this.#longName = undefined;
    this.#longLink = undefined;
    this.#begin(metadata, block);
  }

  #takeMetadata(content: Buffer): void {
    if (this.#metadata === 'x') {
      this.#pax ??= this.#global === undefined ? noPaxRecords() : copyPax(this.#global);
      parsePax(content, this.#pax);
    } else if (this.#metadata === 'g') {
      this.#global ??= noPaxRecords();
      parsePax(content, this.#global);
      if (this.#global.values.size > LIMITS.tarXattrsMax) {
        throw invalidHeader('too many global PAX records');
      }
    } else {
      const whole = byteString(content);
      const end = whole.indexOf('\0');
      const name = (end < 0 ? whole : whole.slice(0, end)) as ByteString;
      if (this.#metadata === 'L') this.#longName = name;
      else this.#longLink = name;
    }
    this.#want('header', BLOCK_BYTES);
  }

  /** An entry's own header is here; find out about its holes before it is handed on. */
  #begin(metadata: TarMetadata, block: Buffer): void {
    this.#entries += 1;
    if (this.#entries > LIMITS.tarEntriesMax) {
      throw invalidArgument(`archive with more than ${LIMITS.tarEntriesMax} entries`);
    }
    const kind = kindOf(metadata);
    const storedBytes = storedBytesOf(metadata, kind);
    if (metadata.header.type === 'S') {
      const { header: at } = OLD_GNU;
      const realBytes = parseNumber(block, at.realSize, 12);
      const segments = oldGnuSegments(block, at.start, at.count);
      this.#sparse = { metadata, realBytes, storedBytes, segments };
      if (block[at.more] !== 0) this.#want('oldSparse', BLOCK_BYTES);
      else this.#startSparse(segments, storedBytes);
      return;
    }
    if (kind === 'file' && this.#beginPaxSparse(metadata, storedBytes)) return;
    this.#start(metadata, kind, { segments: undefined, storedBytes, realBytes: storedBytes });
  }

  /** False when PAX records say nothing of holes. */
  #beginPaxSparse(metadata: TarMetadata, storedBytes: number): boolean {
    const { values } = metadata.pax;
    if (values.size === 0 && metadata.pax.sparseOffsets.length === 0) return false;
    const real = values.get('GNU.sparse.realsize') ?? values.get('GNU.sparse.size');
    const realBytes = real === undefined ? storedBytes : paxInteger(real, 'GNU.sparse.size');
    if (values.get('GNU.sparse.major') === '1') {
      this.#sparse = { metadata, realBytes, storedBytes, segments: [] };
      this.#map = new SparseMapReader();
      this.#left = storedBytes;
      this.#wantMapBlock();
      return true;
    }
    const segments = paxSegments(metadata.pax);
    if (segments === undefined) return false;
    this.#sparse = { metadata, realBytes, storedBytes, segments };
    this.#startSparse(segments, storedBytes);
    return true;
  }

  #oldSparse(block: Buffer): void {
    const sparse = this.#sparse;
    if (sparse === undefined) throw new Error('assertion failed: no sparse entry');
    const { extension } = OLD_GNU;
    sparse.segments.push(...oldGnuSegments(block, extension.start, extension.count));
    if (sparse.segments.length * 24 > LIMITS.tarMetadataBytesMax) {
      throw invalidHeader('sparse map is too large');
    }
    if (block[extension.more] === 0) this.#startSparse(sparse.segments, sparse.storedBytes);
  }

  #wantMapBlock(): void {
    if (this.#left < BLOCK_BYTES) throw invalidHeader('sparse map is incomplete');
    this.#left -= BLOCK_BYTES;
    this.#want('sparseMap', BLOCK_BYTES);
  }

  #sparseMap(block: Buffer): void {
    const segments = this.#map?.push(block);
    if (segments === undefined) this.#wantMapBlock();
    else this.#startSparse(segments, this.#left);
  }

  #startSparse(segments: readonly Segment[], storedBytes: number): void {
    const sparse = this.#sparse;
    if (sparse === undefined) throw new Error('assertion failed: no sparse entry');
    this.#sparse = undefined;
    this.#map = undefined;
    const { metadata, realBytes } = sparse;
    const checked = checkSegments(segments, { realBytes, storedBytes });
    this.#start(metadata, 'file', { segments: checked, storedBytes, realBytes });
  }

  #start(
    metadata: TarMetadata,
    kind: TarKind,
    sparse: { segments: Segment[] | undefined; storedBytes: number; realBytes: number },
  ): void {
    if (sparse.realBytes > LIMITS.layerBytesMax) {
      throw invalidArgument(`tar entry of ${sparse.realBytes} bytes is too large`);
    }
    const entry = makeEntry(metadata, kind, sparse);
    this.#entry = entry;
    this.#left = entry.storedBytes;
    this.#segment = 0;
    this.#offset = entry.segments?.[0]?.offset ?? 0;
    this.#sink.entry(entry);
    if (this.#left === 0) this.#finish();
    else this.#mode = 'content';
  }

  #takeContent(chunk: Buffer, at: number): number {
    const segment = this.#entry?.segments?.[this.#segment];
    const room = segment === undefined ? this.#left : segment.offset + segment.bytes - this.#offset;
    const taken = Math.min(room, this.#left, chunk.length - at);
    this.#sink.content(chunk.subarray(at, at + taken), this.#offset);
    this.#left -= taken;
    this.#offset += taken;
    if (this.#left === 0) this.#finish();
    else if (taken === room) {
      this.#segment += 1;
      this.#offset = this.#entry?.segments?.[this.#segment]?.offset ?? this.#offset;
    }
    return at + taken;
  }

  #finish(): void {
    const padding = -(this.#entry?.storedBytes ?? 0) & (BLOCK_BYTES - 1);
    this.#entry = undefined;
    this.#sink.entryEnd();
    if (padding === 0) this.#want('header', BLOCK_BYTES);
    else this.#want('padding', padding);
  }

  #takeTrailer(bytes: Buffer): void {
    this.#trailerBytes += bytes.length;
    if (this.#trailerBytes > LIMITS.tarTrailerBytesMax) {
      throw invalidArgument(
        `archive with more than ${LIMITS.tarTrailerBytesMax} bytes after its last entry`,
      );
    }
    this.#sink.raw?.(bytes);
  }
}

const NO_PAX = noPaxRecords();

/** The error of input that stops in the middle; the text is Go's, which Docker's users know. */
export function unexpectedEof(): EngineError {
  return dataLoss('unexpected EOF');
}
